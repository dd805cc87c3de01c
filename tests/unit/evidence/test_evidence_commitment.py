"""Commitments: opened they prove a value; shredded they cannot be opened, and the log verifies."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from evidence_stage import SUSPECTS, past, trust
from stage import AUTHORITY, ISSUER, PLATFORM, Stage, column

from psishare.client import draft_mandate
from psishare.errors import ConfigError, VerificationError
from psishare.evidence.commitment import (
    open_case,
    open_operator,
    require_operator,
    shred_case,
    shred_operator,
)
from psishare.evidence.replay import replay, signed_requests
from psishare.evidence.verify import verify_log
from psishare.exchange.opening import unseal_opening

if TYPE_CHECKING:
    from pathlib import Path


def test_the_operator_of_an_exchange_is_proven_until_it_is_shredded(stage: Stage) -> None:
    outcome = past(stage)["outcomes"][0]
    home, exchange_id = stage.homes[AUTHORITY], outcome.receipt.receipt.exchange_id
    signed = signed_requests(stage.homes[PLATFORM].log_path, trust(stage), exchange_id)
    commitment = bytes.fromhex(signed.offer.operator_commitment)
    opened = open_operator(home, exchange_id, commitment)
    assert opened.value == "operator 1"
    for wrong in (replace(opened, value="operator 2"), replace(opened, salt=bytes(32))):
        with pytest.raises(VerificationError, match="committed"):
            require_operator(wrong)
    path = home.exchanges_path / exchange_id / "opening.sealed"
    before = path.read_bytes()
    assert shred_operator(home, exchange_id) is False
    assert path.read_bytes() != before
    with pytest.raises(ConfigError) as caught:
        open_operator(home, exchange_id, commitment)
    assert caught.value.reason == "commitment_shredded"
    # What was asked can still be proven, and both logs verify as before.
    opening = unseal_opening(path.read_bytes(), bytes.fromhex(exchange_id), home.sealing_key())
    assert replay(signed, opening, column(SUSPECTS)).fault is None
    for party in (PLATFORM, AUTHORITY):
        verify_log(stage.homes[party].log_path, trust(stage))


def test_a_case_reference_is_proven_until_it_is_shredded(stage: Stage, tmp_path: Path) -> None:
    home = stage.homes[ISSUER]
    template = stage.mandate()
    drafted = draft_mandate(
        home,
        "case 7",
        **{
            name: getattr(template, name)
            for name in (
                *("issuer", "validator", "validator_role", "authority", "platform", "kinds"),
                *("outputs", "max_rows_per_exchange", "max_rows_total", "max_exchanges"),
                *("jurisdiction", "legal_basis", "purpose", "not_before", "not_after"),
            )
        },
        now=template.created,
    )
    opened = open_case(home, drafted.mandate)
    assert (opened.value, opened.commitment.hex()) == ("case 7", drafted.mandate.case_commitment)
    shred_case(home, drafted.mandate)
    assert list(home.mandates_path.glob("*.case")) == []
    with pytest.raises(ConfigError):
        open_case(home, drafted.mandate)
