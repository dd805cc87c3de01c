from __future__ import annotations

import hashlib

from psishare.evidence import digest_set
from psishare.evidence.digest_set import DigestSet

DIGESTS = [
    hashlib.sha256(str(number).encode()).digest() for number in range(3 * digest_set._KEPT + 5)
]


def test_what_was_added_is_in_it_however_many_there_are() -> None:
    known = DigestSet()
    for digest in DIGESTS:
        assert digest not in known
        known.add(digest)
        known.add(digest)
    assert len(known._newest) < digest_set._KEPT
    assert all(digest in known for digest in DIGESTS)
    assert all(hashlib.sha256(digest).digest() not in known for digest in DIGESTS)
    known.close()


def test_a_mark_that_two_digests_share_does_not_make_them_one() -> None:
    known = DigestSet()
    for digest in DIGESTS:
        known.add(digest)
    known._marks = bytearray(b"\xff" * len(known._marks))
    assert all(digest in known for digest in DIGESTS)
    assert all(hashlib.sha256(digest).digest() not in known for digest in DIGESTS[:100])
    known.close()
