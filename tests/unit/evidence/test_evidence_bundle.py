"""Bundles: what is exported verifies with trusted cards alone, and holds what its scope says."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from evidence_stage import CUSTOMERS, SUSPECTS, exported, past, trust
from stage import AUTHORITY, ISSUER, PLATFORM, CopiedStage, Stage

from psishare.errors import ConfigError, InputError, VerificationError
from psishare.evidence.bundle import BundleReader
from psishare.evidence.export import Scope, export_bundle
from psishare.evidence.verify import Verdict, verify_evidence, verify_log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def lived(
    homes: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stage, dict[str, Any]]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _descriptor: None)
        stage = CopiedStage(homes, tmp_path_factory.mktemp("lived"))
        told = past(stage)
    yield stage, told
    stage.close()


def verified(stage: Stage, path: Path, **options: Any) -> Verdict:
    return verify_evidence(path, trust(stage), **options)


def story(verdict: Verdict) -> list[tuple[str, str | None, str]]:
    return [(e.ending.value, e.reason, e.mandate) for e in verdict.exchanges]


WHOLE = [
    ("closed", None, "covers"),
    ("refused", "mandate_other_kind", "not_seen"),
    ("closed", None, "covers"),
]


@pytest.mark.parametrize("party", [PLATFORM, AUTHORITY])
def test_a_bundle_of_a_whole_log_tells_what_the_folder_tells(
    lived: tuple[Stage, dict[str, Any]], tmp_path: Path, party: str
) -> None:
    stage, _told = lived
    verdict = verified(stage, exported(stage, party, tmp_path / "all.bundle"))
    folder = verify_log(stage.homes[party].log_path, trust(stage))
    assert story(verdict) == WHOLE
    assert (verdict.n_exchanges, verdict.n_uncovered) == (3, 0)
    assert verdict.log.head == folder.log.head
    assert verdict.log.entries_by_type == folder.log.entries_by_type
    assert verdict.log.cosigners == folder.log.cosigners
    assert [e.exchange_id for e in verdict.exchanges] == [e.exchange_id for e in folder.exchanges]
    checked = verified(stage, tmp_path / "all.bundle", all_checkpoints=True)
    assert checked.log.cosigners == folder.log.cosigners


def test_every_checkpoint_can_be_exported_and_verified(
    lived: tuple[Stage, dict[str, Any]], tmp_path: Path
) -> None:
    stage, _told = lived
    path = tmp_path / "all.bundle"
    export_bundle(stage.homes[PLATFORM], path, Scope(), all_checkpoints=True)
    folder = verify_log(stage.homes[PLATFORM].log_path, trust(stage))
    every = verified(stage, path, all_checkpoints=True).log
    assert every.n_checkpoints == folder.log.n_checkpoints
    assert verified(stage, path).log.n_checkpoints == 2
    assert verified(stage, path).log.cosigners == every.cosigners == folder.log.cosigners


@pytest.mark.parametrize("party", [PLATFORM, AUTHORITY])
def test_a_bundle_of_one_exchange_tells_that_one_whole(
    lived: tuple[Stage, dict[str, Any]], tmp_path: Path, party: str
) -> None:
    stage, told = lived
    for outcome in told["outcomes"]:
        exchange_id = outcome.receipt.receipt.exchange_id
        path = tmp_path / f"{exchange_id}.bundle"
        verdict = verified(stage, exported(stage, party, path, Scope(exchange_id=exchange_id)))
        assert [(e.exchange_id, e.mandate) for e in verdict.exchanges] == [(exchange_id, "covers")]


@pytest.mark.parametrize("party", [PLATFORM, AUTHORITY])
def test_a_bundle_of_a_mandate_tells_what_was_done_under_it(
    lived: tuple[Stage, dict[str, Any]], tmp_path: Path, party: str
) -> None:
    stage, told = lived
    mandate_id = told["outcomes"][0].receipt.receipt.mandate_id
    path = exported(stage, party, tmp_path / "m.bundle", Scope(mandate_id=mandate_id))
    verdict = verified(stage, path)
    assert [e.mandate_id for e in verdict.exchanges] == [mandate_id] * 2
    assert "heartbeat" not in verdict.log.entries_by_type


def test_a_bundle_of_a_period_shows_silence_by_its_neighbours(
    lived: tuple[Stage, dict[str, Any]], tmp_path: Path
) -> None:
    stage, _told = lived
    scope = Scope(since="2001-01-01T00:00:00Z", until="2002-01-01T00:00:00Z")
    verdict = verified(stage, exported(stage, PLATFORM, tmp_path / "p.bundle", scope))
    assert (verdict.n_exchanges, verdict.log.entries_by_type) == (0, {"log.created": 1})
    assert verdict.header is not None
    assert (verdict.header.first, verdict.header.end) == (0, 0)
    scope = Scope(since="2001-01-01T00:00:00Z", until="2999-01-01T00:00:00Z")
    verdict = verified(stage, exported(stage, PLATFORM, tmp_path / "q.bundle", scope))
    assert story(verdict) == WHOLE


def test_what_is_not_there_cannot_be_exported(
    lived: tuple[Stage, dict[str, Any]], tmp_path: Path
) -> None:
    stage, _told = lived
    with pytest.raises(InputError) as caught:
        exported(stage, PLATFORM, tmp_path / "none.bundle", Scope(exchange_id="ab" * 32))
    assert caught.value.reason == "scope_empty"
    (tmp_path / "there").write_bytes(b"x")
    with pytest.raises(InputError, match="there already"):
        exported(stage, PLATFORM, tmp_path / "there")
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_bundle_holds_no_identifier_and_no_secret(
    lived: tuple[Stage, dict[str, Any]], tmp_path: Path
) -> None:
    stage, _told = lived
    for party in (PLATFORM, AUTHORITY):
        data = exported(stage, party, tmp_path / f"{party}.bundle").read_bytes()
        for value in (*CUSTOMERS, *SUSPECTS, b"operator 1", b"case 1"):
            assert value not in data
        for name in ("log_ed25519", "sealing", "tls"):
            secret = (stage.homes[party].path / "keys" / f"{name}.json").read_bytes()
            assert secret not in data


def test_keys_come_from_the_verifier_and_never_from_the_bundle(
    lived: tuple[Stage, dict[str, Any]], tmp_path: Path
) -> None:
    stage, _told = lived
    path = exported(stage, PLATFORM, tmp_path / "all.bundle")
    for missing in (PLATFORM, AUTHORITY, ISSUER):
        cards = {name: card for name, card in trust(stage).items() if name != missing}
        with pytest.raises(ConfigError) as caught:
            verify_evidence(path, cards)
        assert (caught.value.reason, caught.value.party) == ("card_missing", missing)


def test_a_bundle_without_its_mandate_leaves_the_exchange_uncovered(
    lived: tuple[Stage, dict[str, Any]], tmp_path: Path
) -> None:
    stage, told = lived
    for file in stage.homes[PLATFORM].mandates_path.glob("*.mandate"):
        file.rename(file.with_suffix(".hidden"))
    try:
        done = export_bundle(stage.homes[PLATFORM], tmp_path / "all.bundle", Scope())
    finally:
        for file in stage.homes[PLATFORM].mandates_path.glob("*.hidden"):
            file.rename(file.with_suffix(".mandate"))
    assert len(done.missing_mandates) == 1
    assert verified(stage, tmp_path / "all.bundle").n_uncovered == 2
    given = verified(stage, tmp_path / "all.bundle", mandates=[told["mandate"]])
    assert given.n_uncovered == 0


def test_every_flipped_byte_and_every_cut_is_refused(
    lived: tuple[Stage, dict[str, Any]], tmp_path: Path
) -> None:
    stage, told = lived
    exchange_id = told["outcomes"][1].receipt.receipt.exchange_id
    path = exported(stage, PLATFORM, tmp_path / "a.bundle", Scope(exchange_id=exchange_id))
    data = path.read_bytes()
    for place in range(0, len(data), 97):
        changed = bytearray(data)
        changed[place] ^= 0x21
        path.write_bytes(changed)
        with pytest.raises((VerificationError, ConfigError)):
            verified(stage, path)
    for end in (0, 5, 19, 24, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:end])
        with pytest.raises(VerificationError) as caught:
            verified(stage, path)
        assert caught.value.reason == "bundle_malformed"
    path.write_bytes(data + b"\0")
    with pytest.raises(VerificationError, match="after its end"):
        verified(stage, path)


def test_reading_is_the_inverse_of_writing(
    lived: tuple[Stage, dict[str, Any]], tmp_path: Path
) -> None:
    stage, _told = lived
    path = exported(stage, AUTHORITY, tmp_path / "all.bundle")
    with path.open("rb") as file:
        reader = BundleReader(file)
        assert reader.header.party == AUTHORITY
        assert len(list(reader.cards())) == 2
        assert len(list(reader.mandates())) == 1
        list(reader.checkpoints())
        indices = [proven.index for proven in reader.entries()]
    assert indices == list(range(reader.header.entries))
