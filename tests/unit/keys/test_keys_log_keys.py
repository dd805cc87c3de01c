"""What a log's pairs of keys can be, and which of them must have signed at which size."""

from __future__ import annotations

import pytest
from audit_examples import ORIGIN, PEER, make_party

from psishare.errors import VerificationError
from psishare.keys.log_keys import MAX_PAIRS, KeyTerm, LogKeys

FIRST, SECOND, THIRD = (make_party(seed=seed).verifiers for seed in (1, 9, 17))
KEYS = LogKeys.of(FIRST).rotated(SECOND, 4).retired(7).rotated(THIRD, 9)


def test_pairs_have_the_sizes_that_the_entries_gave_them() -> None:
    assert KEYS.terms == (
        KeyTerm(FIRST, 0, 8),
        KeyTerm(SECOND, 5, None),
        KeyTerm(THIRD, 10, None),
    )
    assert KEYS.origin == ORIGIN
    assert KEYS.overlaps
    assert not KEYS.retired(11).overlaps


@pytest.mark.parametrize(
    ("size", "pairs"),
    [
        (0, [FIRST]),
        (4, [FIRST]),
        (5, [FIRST, SECOND]),
        (8, [FIRST, SECOND]),
        (9, [SECOND]),
        # The first of the third, the second signs in any case; how long it goes on nobody knows yet.
        (10, [SECOND, THIRD]),
        (11, [THIRD]),
        (99, [THIRD]),
    ],
)
def test_the_newest_pair_must_sign_and_each_older_one_as_far_as_it_is_known_to(
    size: int, pairs: list[object]
) -> None:
    assert [term.keys for term in KEYS.required(size)] == pairs


@pytest.mark.parametrize(
    "terms",
    [
        (),
        (KeyTerm(FIRST, 1),),
        (KeyTerm(FIRST, 0, 3),),
        (KeyTerm(FIRST[::-1]),),
        (KeyTerm(FIRST[:1]),),
        (KeyTerm((FIRST[0], make_party(PEER).verifiers[1])),),
        (KeyTerm(FIRST), KeyTerm(make_party(PEER, seed=9).verifiers, 5)),
        (KeyTerm(FIRST), KeyTerm(FIRST, 5)),
        (KeyTerm(FIRST), KeyTerm((SECOND[0], FIRST[1]), 5)),
        (KeyTerm(FIRST), KeyTerm(SECOND, 0)),
        (KeyTerm(FIRST, 0, 4), KeyTerm(SECOND, 5)),
        (KeyTerm(FIRST), KeyTerm(SECOND, 5, 9)),
        (KeyTerm(FIRST), KeyTerm(SECOND, 5), KeyTerm(THIRD, 9)),
        (KeyTerm(FIRST, 0, 9), KeyTerm(SECOND, 5), KeyTerm(THIRD, 9)),
        (KeyTerm(FIRST, 0, 6), KeyTerm(SECOND, 5, 8), KeyTerm(THIRD, 9)),
    ],
)
def test_what_no_log_can_have_is_refused(terms: tuple[KeyTerm, ...]) -> None:
    with pytest.raises(VerificationError) as caught:
        LogKeys(terms)
    assert caught.value.reason == "key_malformed"


def test_a_log_has_so_many_pairs_and_no_more() -> None:
    keys = LogKeys.of(FIRST)
    for n in range(1, MAX_PAIRS):
        pair = make_party(seed=20 + n).verifiers
        keys = keys.rotated(pair, 10 * n).retired(10 * n + 1)
    with pytest.raises(VerificationError):
        keys.rotated(SECOND, 1_000)


@pytest.mark.parametrize("size", range(13))
def test_a_log_of_so_many_entries_tells_of_the_keys_that_they_name(size: int) -> None:
    keys = LogKeys.of(FIRST)
    for index in range(size):
        if index in (4, 9):
            keys = keys.rotated(SECOND if index == 4 else THIRD, index)
        elif index in (7, 11):
            keys = keys.retired(index)
    full = KEYS.retired(11)
    assert full.told_by(size) == keys
    full.require_told_by(keys, size=size)
    # Of a log that ends in an overlap, both pairs have to sign.
    signing = [term.keys for term in full.binding(size).required(size)]
    pairs = [FIRST, SECOND, THIRD][: len(keys.terms)]
    assert signing == (pairs[-2:] if size in (5, 6, 7, 8, 10, 11, 12) else pairs[-1:])


def test_what_the_entries_tell_beyond_what_is_known_is_refused_too() -> None:
    for known, size in ((LogKeys.of(FIRST), 5), (KEYS, 12)):
        with pytest.raises(VerificationError) as caught:
            known.require_told_by(KEYS.retired(11).told_by(size), size=size)
        assert caught.value.reason == "log_keys_differ"


@pytest.mark.parametrize(
    ("known", "size", "kept"),
    [
        (LogKeys.of(FIRST), None, True),
        (LogKeys.of(FIRST).rotated(SECOND, 4), None, True),
        (KEYS, None, True),
        (KEYS.retired(12), None, False),
        # A log that goes no further than size 12 cannot tell what entry 12 says.
        (KEYS.retired(12), 12, True),
        (KEYS.retired(12), 13, False),
        (LogKeys.of(SECOND), None, False),
        (LogKeys.of(FIRST).rotated(SECOND, 3), None, False),
        (LogKeys.of(FIRST).rotated(SECOND, 4).retired(6), None, False),
        (LogKeys.of(FIRST).rotated(THIRD, 4), None, False),
        (LogKeys.of(FIRST).rotated(THIRD, 4), 4, True),
    ],
)
def test_later_knowledge_keeps_what_was_known_before(
    known: LogKeys, size: int | None, kept: bool
) -> None:
    if kept:
        known.require_kept_by(KEYS, size=size)
        return
    with pytest.raises(VerificationError) as caught:
        known.require_kept_by(KEYS, size=size)
    assert caught.value.reason == "log_keys_differ"
