from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from audit_examples import create_log, heartbeats, make_party

from psishare.audit.checkpoint import Checkpoint, parse_checkpoint
from psishare.audit.peer_view import verify_extension
from psishare.audit.signed_checkpoint import sign_checkpoint
from psishare.errors import VerificationError

if TYPE_CHECKING:
    from pathlib import Path

    from psishare.audit.log import Log

PARTY = make_party()


@pytest.fixture
def log(tmp_path: Path) -> Log:
    log = create_log(tmp_path / "log")
    for n in (2, 4, 3):
        log.append_all(heartbeats(n))
    return log


def head(log: Log, size: int) -> Checkpoint:
    return parse_checkpoint(log.checkpoint(size))


def refusal(old: Checkpoint | None, note: bytes, proof: list[bytes]) -> str:
    with pytest.raises(VerificationError) as caught:
        verify_extension(old, note, proof, PARTY.verifiers)
    assert caught.value.party == PARTY.name
    return caught.value.reason


def test_a_head_that_extends_the_known_one_is_accepted(log: Log) -> None:
    for old in (1, 3, 7, 10):
        proof = log.consistency_proof(old, 10)
        new = verify_extension(head(log, old), log.checkpoint(), proof, PARTY.verifiers)
        assert new == head(log, 10)


def test_a_first_head_is_accepted_without_a_proof(log: Log) -> None:
    assert verify_extension(None, log.checkpoint(), [], PARTY.verifiers).tree_size == 10
    assert verify_extension(head(log, 0), log.checkpoint(), [], PARTY.verifiers).tree_size == 10
    assert refusal(None, log.checkpoint(), [bytes(32)]) == "log_inconsistent"


def test_a_head_that_goes_back_is_refused(log: Log) -> None:
    assert refusal(head(log, 10), log.checkpoint(7), []) == "log_rolled_back"
    assert refusal(head(log, 7), log.checkpoint(0), []) == "log_rolled_back"


def test_a_fork_is_refused(log: Log) -> None:
    forked = sign_checkpoint(
        Checkpoint(PARTY.name, 10, b"f" * 32), PARTY.signer, PARTY.pq_signer, time=1
    ).serialise()
    assert refusal(head(log, 10), forked, []) == "log_inconsistent"
    assert refusal(head(log, 7), forked, log.consistency_proof(7, 10)) == "log_inconsistent"


def test_a_proof_that_is_missing_or_another_s_is_refused(log: Log) -> None:
    for proof in ([], log.consistency_proof(3, 10), log.consistency_proof(7, 10)[1:], [b""]):
        assert refusal(head(log, 7), log.checkpoint(), proof) == "log_inconsistent"


def test_another_log_s_head_is_no_extension(log: Log) -> None:
    other = Checkpoint("other.example", 7, head(log, 7).root_hash)
    assert refusal(other, log.checkpoint(), log.consistency_proof(7, 10)) == "log_inconsistent"


def test_a_head_that_is_not_signed_is_refused(log: Log) -> None:
    note = log.checkpoint().replace(b"\n10\n", b"\n11\n")
    assert refusal(head(log, 10), note, []) == "checkpoint_invalid"
