"""Drafting: a new mandate from what a person states, with an id of its own."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, NamedTuple, get_args

from pydantic import ValidationError

from psishare.errors import InputError
from psishare.mandates.mandate import (
    MANDATE_VERSION,
    DelayedNotification,
    Emergency,
    Mandate,
    Protocol,
    wrong_fields,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from psishare.mandates.case_reference import CaseReference
    from psishare.mandates.sealed_request import SealedRequest

SPECIFIED = "Correct it; protocols/specs/mandate.md says what each field may hold."
_PARTY = "is a party id: 1 to 64 of a-z, 0-9, dots, slashes and hyphens"
RULES = {
    **dict.fromkeys(("issuer", "validator", "authority", "platform"), _PARTY),
    "kinds": "are names that `psishare identifiers list` shows",
    "datasets": "are dataset names: 1 to 64 of a-z, 0-9, dots and hyphens",
    "validity": "ends after it begins, and what is kept or postponed ends after it",
}
"""What a field of a draft has to be, where a person most likely spells it otherwise."""
ALL_PROTOCOLS: tuple[str, ...] = get_args(Protocol)


class Grounds(NamedTuple):
    """A ground for an exception, and the time until which it lasts.

    Attributes:
        ground: plain text, 1 to 512 characters.
        until: with a time zone.
    """

    ground: str
    until: datetime


def draft(
    *,
    issuer: str,
    validator: str,
    validator_role: str,
    authority: str,
    platform: str,
    kinds: Iterable[str],
    outputs: Iterable[str],
    max_rows_per_exchange: int,
    max_rows_total: int,
    max_exchanges: int,
    jurisdiction: str,
    legal_basis: str,
    purpose: str,
    case: CaseReference,
    not_before: datetime,
    not_after: datetime,
    now: datetime,
    datasets: Iterable[str] = (),
    protocols: Iterable[str] = ALL_PROTOCOLS,
    standing: bool = False,
    necessity: str | None = None,
    attachment_sha256: str | None = None,
    retention_until: datetime | None = None,
    erase_by: datetime | None = None,
    court_sealing_key: bytes | None = None,
    emergency: Grounds | None = None,
    delayed_notification: Grounds | None = None,
    supersedes: str | None = None,
    input_commitment: str | None = None,
    sealed_request: SealedRequest | None = None,
) -> Mandate:
    """Draft a mandate; times are cut to whole seconds, lists are sorted.

    Every keyword is the field of that name in protocols/specs/mandate.md, section 2, but for ``case``,
    of which only the commitment enters the mandate, and ``now``, the time of drafting. Times need a
    time zone; ``court_sealing_key`` is 1,216 bytes; ``emergency`` and ``delayed_notification`` are a
    ground and the time that it lasts.

    Raises:
        InputError: ``mandate_invalid``, a field is not what protocols/specs/mandate.md allows.
            Names the field.
    """
    if issuer == validator:
        raise _invalid("the validator must be another party than the issuer")
    try:
        return Mandate.model_validate(
            {
                "version": MANDATE_VERSION,
                "id": uuid.uuid4().hex,
                "issuer": issuer,
                "validator": validator,
                "validator_role": validator_role,
                "authority": authority,
                "platform": platform,
                "datasets": _sorted_set(datasets),
                "kinds": _sorted_set(kinds),
                "outputs": _sorted_set(outputs),
                "protocols": _sorted_set(protocols),
                "max_rows_per_exchange": max_rows_per_exchange,
                "max_rows_total": max_rows_total,
                "max_exchanges": max_exchanges,
                "standing": standing,
                "jurisdiction": jurisdiction,
                "legal_basis": legal_basis,
                "purpose": purpose,
                "necessity": necessity,
                "case_commitment": case.commitment.hex(),
                "attachment_sha256": attachment_sha256,
                "created": _whole_second(now),
                "not_before": _whole_second(not_before),
                "not_after": _whole_second(not_after),
                "retention_until": retention_until and _whole_second(retention_until),
                "erase_by": erase_by and _whole_second(erase_by),
                "court_sealing_key": court_sealing_key,
                "input_commitment": input_commitment,
                "sealed_request": sealed_request,
                "emergency": emergency and _emergency(emergency),
                "delayed_notification": delayed_notification and _delayed(delayed_notification),
                "supersedes": supersedes,
            }
        )
    except ValidationError as error:
        raise _wrong(wrong_fields(error)) from None


def _emergency(grounds: Grounds) -> Emergency:
    return Emergency(ground=grounds.ground, validate_by=_whole_second(grounds.until))


def _delayed(grounds: Grounds) -> DelayedNotification:
    return DelayedNotification(ground=grounds.ground, until=_whole_second(grounds.until))


def _sorted_set(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(values)))


def _whole_second(time: datetime) -> datetime:
    return time.replace(microsecond=0)


def _wrong(fields: list[str]) -> InputError:
    rules = "; ".join(f"{name} {RULES[name]}" for name in fields if name in RULES)
    message = f"a mandate cannot hold what was given as {', '.join(fields)}"
    return _invalid(message, mend=f"Correct it: {rules}." if rules else SPECIFIED)


def _invalid(message: str, *, mend: str = SPECIFIED) -> InputError:
    return InputError(message, mend=mend, reason="mandate_invalid")
