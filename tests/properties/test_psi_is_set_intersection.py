"""Every driver's answer is Python's set intersection, over odd sizes, none and full overlap."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_frames import MemoryFrames

from psishare import _native
from psishare.psi.ecdh import EcdhAuthority, EcdhPlatform
from psishare.psi.openmined import OpenminedAuthority, OpenminedPlatform
from psishare.psi.oprf import OprfAuthority, OprfPlatform
from psishare.psi.suite import Output

# Spellings of every script, and bytes that no text has.
IDENTIFIERS = st.binary(min_size=1, max_size=40) | st.text(min_size=1, max_size=20).map(str.encode)
# Ranges that overlap wholly, partly or not at all, either side the larger.
RANGES = st.tuples(st.integers(0, 60), st.integers(0, 45), st.integers(0, 45)).map(
    lambda t: (range(t[1]), range(t[0], t[0] + t[2]))
)
NUMBERED = RANGES.map(lambda pair: tuple([f"+49151{i:07d}".encode() for i in r] for r in pair))
FREE = st.tuples(st.lists(IDENTIFIERS, unique=True), st.lists(IDENTIFIERS, unique=True))
LISTS = NUMBERED | FREE
FRAME_ROWS = st.sampled_from([1, 2, 3, 7, 1000])


def ignore(_rows: int) -> None:
    """Take progress."""


def column(values: list[bytes]) -> pa.Array:
    return pa.array(values, pa.binary())


def expected(ours: list[bytes], theirs: list[bytes]) -> list[int]:
    common = set(ours) & set(theirs)
    return [i for i, value in enumerate(ours) if value in common]


@settings(deadline=None, max_examples=60)
@given(LISTS, FRAME_ROWS, st.sampled_from([64, 80, 85, 128]))
def test_oprf_is_set_intersection(
    lists: tuple[list[bytes], list[bytes]], frame_rows: int, bits: int
) -> None:
    ours, theirs = lists
    key = _native.OprfKey.generate()
    encoded = key.fingerprints(column(theirs), bits=bits)
    authority = OprfAuthority(
        seed=_native.Seed.generate(),
        public_key=key.public_key,
        bits=bits,
        lookup=lambda fingerprints: _native.contains(encoded, fingerprints),
    )
    frames = MemoryFrames(OprfPlatform(key), frame_rows=frame_rows, n_elements=0)
    assert authority.run(column(ours), frames, ignore).to_pylist() == expected(ours, theirs)


@settings(deadline=None, max_examples=60)
@given(LISTS, FRAME_ROWS, st.sampled_from(list(Output)))
def test_ecdh_is_set_intersection(
    lists: tuple[list[bytes], list[bytes]], frame_rows: int, output: Output
) -> None:
    ours, theirs = lists
    platform = EcdhPlatform(scalar=_native.Seed.generate().scalar(), identifiers=column(theirs))
    frames = MemoryFrames(platform, frame_rows=frame_rows, n_elements=len(theirs), output=output)
    authority = EcdhAuthority(scalar=_native.Seed.generate().scalar(), output=output)
    matched = authority.run(column(ours), frames, ignore).to_pylist()
    right = expected(ours, theirs)
    assert len(matched) == len(right)
    if output is not Output.COUNT:
        assert matched == right
    if output is Output.BOTH:
        theirs_matched = platform.matched(frames.answers, frames.returned)
        assert theirs_matched.to_pylist() == expected(theirs, ours)


@settings(deadline=None, max_examples=30)
@given(LISTS, FRAME_ROWS)
def test_openmined_is_set_intersection(
    lists: tuple[list[bytes], list[bytes]], frame_rows: int
) -> None:
    pytest.importorskip("private_set_intersection")
    ours, theirs = lists
    platform = OpenminedPlatform(seed=_native.Seed.generate(), identifiers=column(theirs))
    frames = MemoryFrames(platform, frame_rows=frame_rows, n_elements=len(theirs))
    authority = OpenminedAuthority(seed=_native.Seed.generate())
    assert authority.run(column(ours), frames, ignore).to_pylist() == expected(ours, theirs)
