"""No bytes make a parser raise anything but an error of ours, or take what it would not write."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from fuzz_targets import TARGETS, Target, feed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from psishare.errors import PsishareError
from psishare.keys import canonical

STRANGE: list[Any] = [
    *(None, True, False, 0, 1, -1, 2**53 - 1, 2**53, -(2**53), 2**64, 10**40),
    *("", "\x00", "\n", "\ud800", "٣", "a" * 70_000, "A===", "AA==", "2026-02-30T00:00:00Z"),
    *([], [[]], {}, {"a": {"a": []}}, [None], ["", ""]),
]


def edited(data: st.DataObject, example: bytes) -> bytes:
    """Return an example after a few of the edits that a hostile hand makes."""
    changed = bytearray(example)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(changed)))
        end = min(len(changed), place + data.draw(st.integers(0, 40)))
        other = data.draw(st.integers(0, len(changed)))
        match data.draw(st.sampled_from(["put", "flip", "cut", "repeat", "length"])):
            case "put":
                changed[place:end] = data.draw(st.binary(max_size=40))
            case "flip" if place < len(changed):
                changed[place] ^= data.draw(st.integers(1, 255))
            case "cut":
                del changed[place:end]
            case "repeat":
                changed[other:other] = changed[place:end]
            case "length":
                changed[place : place + 4] = data.draw(
                    st.sampled_from([b"\xff" * 4, bytes(4), b"\x00\x08\x00\x00", b"\n\n\n\n"])
                )
            case _:
                pass
    return bytes(changed)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path to every member of a JSON value."""
    found = [path] if path else []
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, member in items:
        found += places(member, (*path, key))
    return found


def reshaped(data: st.DataObject, example: bytes) -> bytes:
    """Return a canonical document with a member of another kind, gone, or under another name."""
    value = json.loads(example)
    for _ in range(data.draw(st.integers(1, 3))):
        there = places(value)
        if not there:
            break
        *above, last = data.draw(st.sampled_from(there))
        holder = value
        for key in above:
            holder = holder[key]
        match data.draw(st.sampled_from(["strange", "drop", "rename", "cut"])):
            case "strange":
                # A copy, for the next change may be made inside it.
                holder[last] = copy.deepcopy(data.draw(st.sampled_from(STRANGE)))
            case "drop":
                del holder[last]
            case "rename" if isinstance(holder, dict):
                holder[str(last) + "x"] = holder.pop(last)
            case "cut" if isinstance(holder[last], str):
                holder[last] = holder[last][:-1]
            case _:
                pass
    try:
        return canonical.dumps(value)
    except PsishareError:
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


FUZZED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_examples_are_taken(target: Target) -> None:
    for example in target.examples():
        if target.is_taken:
            target.parse(example)
        else:
            feed(target, example)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@given(data=st.data())
@FUZZED
def test_edited_bytes_are_refused_in_our_own_words(target: Target, data: st.DataObject) -> None:
    feed(target, edited(data, data.draw(st.sampled_from(target.examples()))))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@given(data=st.binary(max_size=400))
@FUZZED
def test_any_bytes_are_refused_in_our_own_words(target: Target, data: bytes) -> None:
    feed(target, data)


@pytest.mark.parametrize(
    "target", [each for each in TARGETS if each.is_json], ids=lambda target: target.name
)
@given(data=st.data())
@FUZZED
def test_reshaped_documents_are_refused_in_our_own_words(
    target: Target, data: st.DataObject
) -> None:
    feed(target, reshaped(data, data.draw(st.sampled_from(target.examples()))))
