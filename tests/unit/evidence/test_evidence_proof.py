"""The end of one exchange, proven by a file of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from evidence_stage import past, trust
from stage import AUTHORITY, PLATFORM, Stage

from psishare.audit.entry import ExchangeClosed
from psishare.audit.tlog_proof import LogProof
from psishare.errors import ConfigError, InputError, VerificationError
from psishare.evidence.proof import prove_ending, verify_proof

if TYPE_CHECKING:
    from psishare.exchange.authority import Outcome


def test_both_parties_can_prove_an_exchange_s_end(stage: Stage) -> None:
    first: Outcome = past(stage)["outcomes"][0]
    exchange_id = first.receipt.receipt.exchange_id
    for party in (PLATFORM, AUTHORITY):
        data = prove_ending(stage.homes[party], exchange_id)
        fact = verify_proof(data, trust(stage))
        assert isinstance(fact.entry, ExchangeClosed)
        assert (fact.entry.exchange_id, fact.checkpoint.origin) == (exchange_id, party)
        with pytest.raises(ConfigError):
            verify_proof(data, {})
        proof = LogProof.parse(data)
        bare = LogProof(proof.index, proof.hashes, proof.checkpoint).serialise()
        other = LogProof(proof.index + 1, proof.hashes, proof.checkpoint, proof.extra).serialise()
        for wrong in (bare, other):
            with pytest.raises(VerificationError):
                verify_proof(wrong, trust(stage))
    with pytest.raises(InputError):
        prove_ending(stage.homes[PLATFORM], "ab" * 32)
