"""Proof files: their bytes, strictly, and what they prove."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from audit_examples import create_log, heartbeats, make_party

from psishare.audit.tlog_proof import LogProof
from psishare.errors import VerificationError

if TYPE_CHECKING:
    from pathlib import Path

PARTY = make_party()


@pytest.fixture
def proof(tmp_path: Path) -> LogProof:
    log = create_log(tmp_path / "log")
    log.append_all(heartbeats(9))
    return LogProof(4, tuple(log.inclusion_proof(4, 10)), log.checkpoint(), log.entry(4))


def test_a_proof_file_has_the_lines_that_c2sp_gives_it(proof: LogProof) -> None:
    lines = proof.serialise().decode().split("\n")
    assert proof.extra is not None
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert lines[1] == "extra " + base64.b64encode(proof.extra).decode()
    assert lines[2] == "index 4"
    assert [base64.b64decode(line) for line in lines[3:7]] == list(proof.hashes)
    assert lines[7:10] == ["", "police.example/log", "10"]
    assert LogProof.parse(proof.serialise()) == proof


def test_a_proof_without_extra_and_without_hashes_is_read(tmp_path: Path) -> None:
    log = create_log(tmp_path / "log")
    alone = LogProof(0, (), log.checkpoint())
    assert LogProof.parse(alone.serialise()) == alone
    assert alone.verify(log.entry(0), PARTY.verifiers).tree_size == 1


def test_a_proof_shows_its_entry_at_its_place_and_nothing_else(proof: LogProof) -> None:
    entry = proof.extra or b""
    assert proof.verify(entry, PARTY.verifiers).tree_size == 10
    for wrong, data in (
        (proof, entry + b" "),
        (LogProof(5, proof.hashes, proof.checkpoint), entry),
        (LogProof(14, proof.hashes, proof.checkpoint), entry),
        (LogProof(4, proof.hashes[:-1], proof.checkpoint), entry),
        (LogProof(4, (*proof.hashes, bytes(32)), proof.checkpoint), entry),
    ):
        with pytest.raises(VerificationError):
            wrong.verify(data, PARTY.verifiers)
    with pytest.raises(VerificationError):
        proof.verify(entry, make_party(seed=9).verifiers)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"index 4", b"index 04"),
        (b"index 4", b"index +4"),
        (b"index 4", b"index 9223372036854775807"),
        (b"index 4", b"index 4\nindex 4"),
        (b"proof@v1", b"proof@v2"),
        (b"extra ", b"extra  "),
        (b"extra ", b"extra =\nextra "),
        (b"extra ", b"Extra "),
        (b"\n\npolice", b"\npolice"),
        (b"index 4\n", b"index 4\r\n"),
        (b"index 4", "index ٤".encode()),
    ],
)
def test_another_spelling_is_refused(proof: LogProof, old: bytes, new: bytes) -> None:
    data = proof.serialise()
    assert old in data
    with pytest.raises(VerificationError) as caught:
        LogProof.parse(data.replace(old, new, 1))
    assert caught.value.reason == "proof_malformed"
