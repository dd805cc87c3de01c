"""The parties of a measured exchange: homes that know each other, and a mandate for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.client import init_party
from psishare.exchange.document import now
from psishare.mandates.case_reference import CaseReference
from psishare.mandates.draft import draft
from psishare.mandates.envelope import new_envelope, sign_envelope
from psishare.parties.peers import Peers

if TYPE_CHECKING:
    from pathlib import Path

PLATFORM, AUTHORITY = "tele.example", "police.example"
ISSUER, VALIDATOR = "prosecutor.example", "court.example"
MAX_EXCHANGES = 1_000


def prepare_parties(folder: Path, max_rows: int) -> Path:
    """Make four homes that know each other, and a signed, standing mandate; none of it is timed."""
    roles = {PLATFORM: "platform", AUTHORITY: "authority", ISSUER: "issuer", VALIDATOR: "issuer"}
    homes = {
        name: init_party(folder / name, party_id=name, role=role, display_name=name)
        for name, role in roles.items()
    }
    for at, whom, trust in (
        (PLATFORM, AUTHORITY, []),
        (PLATFORM, ISSUER, ["issuer"]),
        (PLATFORM, VALIDATOR, ["validator"]),
        (AUTHORITY, PLATFORM, []),
    ):
        card = homes[whom].export_card()
        words = homes[whom].card.fingerprint()
        Peers(homes[at].peers_path).add(card, fingerprint=words, trusted_as=frozenset(trust))
    envelope = new_envelope(
        draft(
            issuer=ISSUER,
            validator=VALIDATOR,
            validator_role="judge",
            authority=AUTHORITY,
            platform=PLATFORM,
            kinds=["phone"],
            outputs=["matches"],
            max_rows_per_exchange=max_rows,
            max_rows_total=MAX_EXCHANGES * max_rows,
            max_exchanges=MAX_EXCHANGES,
            jurisdiction="XX",
            legal_basis="measurement",
            purpose="measurement",
            case=CaseReference.new("measurement"),
            not_before=now(),
            not_after=now().replace(year=now().year + 1),
            now=now(),
            standing=True,
        )
    )
    for name in (ISSUER, VALIDATOR):
        envelope = sign_envelope(envelope, homes[name].log_signer(), party=name)
    path = folder / "mandate.json"
    path.write_bytes(envelope)
    return path
