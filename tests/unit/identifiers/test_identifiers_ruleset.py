"""Ruleset digests: stable, per kind, and a function of outcomes alone."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

import idna
import phonenumbers
import pytest

from psishare.errors import InputError
from psishare.identifiers import KINDS, ruleset, ruleset_digest, ruleset_version

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _fresh_digests() -> Iterator[None]:
    ruleset_digest.cache_clear()
    yield
    ruleset_digest.cache_clear()


def test_digests_are_of_each_kind_alone() -> None:
    digests = [ruleset_digest(name) for name in KINDS]
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)
    assert len(set(digests)) == len(KINDS)


@pytest.mark.parametrize("name", list(KINDS))
def test_digest_is_what_the_specification_says(name: str) -> None:
    digest = hashlib.sha256(b"psishare/ruleset/v1\x00\x00\x00\x00\x01" + name.encode() + b"\x00")
    for vector in ruleset.vectors(name):
        if vector.canonical is None:
            digest.update(b"\x00")
        else:
            identifier = b"\x00".join([name.encode(), b"", vector.canonical.encode()])
            digest.update(b"\x01" + len(identifier).to_bytes(4, "big") + identifier)
    assert ruleset_digest(name) == digest.hexdigest()


def test_library_that_answers_otherwise_changes_the_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: ruleset_digest(name) for name in KINDS}
    ruleset_digest.cache_clear()
    remap = idna.uts46_remap
    monkeypatch.setattr(
        idna, "uts46_remap", lambda text, **options: remap(text, **options).replace("ß", "ss")
    )
    monkeypatch.setattr(phonenumbers, "format_number", lambda *_: "+1")
    after = {name: ruleset_digest(name) for name in KINDS}
    changed = {name for name in KINDS if before[name] != after[name]}
    assert {"phone", "domain"} <= changed
    assert not changed & {"ipv4", "ipv6", "account"}


def test_version_is_the_specification_number() -> None:
    assert {ruleset_version(name) for name in KINDS} == {1}


def test_unknown_kind_has_neither_version_nor_digest() -> None:
    for ask in (ruleset_version, ruleset_digest):
        with pytest.raises(InputError) as caught:
            ask("no-such-kind")
        assert caught.value.reason == "kind_unknown"
