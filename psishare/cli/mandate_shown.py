"""A mandate, as commands show it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psishare.cli.console import number, say_fields
from psishare.parties.field import write_time

if TYPE_CHECKING:
    from datetime import datetime

    from psishare.mandates.envelope import SignedBy
    from psishare.mandates.mandate import Mandate


def mandate_document(signed: SignedBy) -> dict[str, Any]:
    """Return what a command prints of a mandate with ``--json``."""
    return {
        "mandate": signed.mandate.model_dump(mode="json"),
        "payload_sha256": signed.mandate.sha256.hex(),
        "signatures": list(signed.key_ids),
    }


def say_mandate(mandate: Mandate, signatures: str) -> None:
    """Print a mandate for a person."""
    total, exchanges = number(mandate.max_rows_total), number(mandate.max_exchanges)
    say_fields(
        {
            "mandate": mandate.id,
            "issued by": mandate.issuer,
            "validated by": f"{mandate.validator}, as {mandate.validator_role}",
            "authority": mandate.authority,
            "platform": mandate.platform,
            "datasets": ", ".join(mandate.datasets) or "any",
            "kinds": ", ".join(mandate.kinds),
            "outputs": ", ".join(mandate.outputs),
            "protocols": ", ".join(mandate.protocols),
            "rows": f"{number(mandate.max_rows_per_exchange)} an exchange, {total} in all",
            "exchanges": f"{exchanges}{', standing' if mandate.standing else ''}",
            "valid": f"{write_time(mandate.not_before)} to {write_time(mandate.not_after)}",
            "jurisdiction": mandate.jurisdiction,
            "legal basis": mandate.legal_basis,
            "purpose": mandate.purpose,
            "necessity": mandate.necessity,
            "attachment": mandate.attachment_sha256,
            "retention": _when(mandate.retention_until),
            "erase by": _when(mandate.erase_by),
            "emergency": _emergency(mandate),
            "no notice": _delay(mandate),
            "supersedes": mandate.supersedes,
            "sealed request": _sealed(mandate),
            "input commitment": mandate.input_commitment,
            "court's key": "openings are sealed to it" if mandate.court_sealing_key else None,
            "signatures": signatures,
        }
    )


def _when(time: datetime | None) -> str | None:
    return None if time is None else write_time(time)


def _emergency(mandate: Mandate) -> str | None:
    found = mandate.emergency
    if found is None:
        return None
    return f"the validator signs by {write_time(found.validate_by)}: {found.ground}"


def _delay(mandate: Mandate) -> str | None:
    found = mandate.delayed_notification
    if found is None:
        return None
    return f"to the persons concerned until {write_time(found.until)}: {found.ground}"


def _sealed(mandate: Mandate) -> str | None:
    found = mandate.sealed_request
    if found is None:
        return None
    frames = number(len(found.frames))
    return f"{found.digest.hex()}: {number(found.rows)} elements in {frames} frames, and no others"
