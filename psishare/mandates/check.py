"""Whether a mandate covers what is asked for: pure functions, the first rule that fails.

The order of the rules is the order of the reasons (protocols/specs/mandate.md, section 6).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING

from psishare.errors import AuthorisationError
from psishare.mandates.rule import Rule

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psishare.mandates.envelope import VerifiedMandate
    from psishare.mandates.mandate import Mandate

CLOCK_TOLERANCE_S = 300
DELIVERY_PROTOCOL = "oprf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An exchange that is asked for.

    Attributes:
        authority, platform: party ids of who asks and who is asked.
        protocol: ``oprf``, ``ecdh`` or ``openmined``.
        dataset: the platform's name for the set, or None where it has none.
        kind: the kind of the identifiers.
        output: ``matches``, ``count`` or ``both``.
        rows: distinct identifiers that are asked about.
        namespace: of the identifiers.
        ruleset_sha256: the digest of their canonical form, hexadecimal.
        frame_rows: rows of a frame.
    """

    authority: str
    platform: str
    protocol: str
    dataset: str | None
    kind: str
    output: str
    rows: int
    namespace: str = ""
    ruleset_sha256: str | None = None
    frame_rows: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A dataset's encoded set that is asked for.

    Attributes:
        authority, platform: party ids of who asks and who delivers.
        dataset, kind: the dataset and the kind of its identifiers.
        newer: whether it replaces one that the authority has had under this mandate.
    """

    authority: str
    platform: str
    dataset: str
    kind: str
    newer: bool


def check_mandate(
    mandate: Mandate,
    request: Request,
    *,
    now: datetime,
    clock_tolerance_s: int = CLOCK_TOLERANCE_S,
) -> None:
    """Check that a verified mandate covers an exchange.

    Args:
        mandate: verified by ``verify_envelope``.
        request: what is asked for.
        now: the platform's clock, with a time zone.
        clock_tolerance_s: by how much clocks may differ at both ends of the validity.

    Raises:
        AuthorisationError: the first rule that fails, as its reason.
    """
    _require(mandate_rules(mandate, request, now=now, clock_tolerance_s=clock_tolerance_s))


def mandate_rules(
    mandate: Mandate,
    request: Request,
    *,
    now: datetime,
    clock_tolerance_s: int = CLOCK_TOLERANCE_S,
) -> Iterator[Rule]:
    """Yield every rule of a mandate for an exchange, in order, whether or not it passes."""
    yield from _addressees(mandate, request)
    yield from _subject(mandate, request.dataset, request.kind)
    yield from _learning(mandate, request.output)
    yield from _protocol(mandate, request.protocol)
    yield from _validity(mandate, now, timedelta(seconds=clock_tolerance_s))
    yield from _rows(mandate, request.rows)
    yield from _sealed(mandate, request)


def check_validation(
    verified: VerifiedMandate,
    *,
    allow_emergency: bool,
    now: datetime,
    clock_tolerance_s: int = CLOCK_TOLERANCE_S,
) -> None:
    """Check that a mandate that its validator has not signed may be used all the same, and still.

    Args:
        verified: by ``verify_envelope``, with ``allow_unvalidated``.
        allow_emergency: whether the platform's policy takes emergencies.
        now: the platform's clock, with a time zone.
        clock_tolerance_s: by how much clocks may differ.

    Raises:
        AuthorisationError: ``policy_emergency`` or ``mandate_validation_overdue``.
    """
    tolerance = timedelta(seconds=clock_tolerance_s)
    _require(
        validation_rules(verified, allow_emergency=allow_emergency, now=now, tolerance=tolerance)
    )


def validation_rules(
    verified: VerifiedMandate, *, allow_emergency: bool, now: datetime, tolerance: timedelta
) -> Iterator[Rule]:
    """Yield the rules for a mandate that its validator has not signed; none where it has."""
    emergency = verified.mandate.emergency
    if verified.validated or emergency is None:
        return
    yield Rule(
        allow_emergency,
        "policy_emergency",
        "the platform takes no mandate on its issuer's signature alone, emergency or not",
    )
    yield Rule(
        now - tolerance <= emergency.validate_by,
        "mandate_validation_overdue",
        f"the validator should have signed by {emergency.validate_by:%Y-%m-%dT%H:%M:%SZ}",
    )


def check_delivery(
    mandate: Mandate,
    delivery: Delivery,
    *,
    now: datetime,
    clock_tolerance_s: int = CLOCK_TOLERANCE_S,
) -> None:
    """Check that a verified mandate covers the delivery of a dataset.

    Raises:
        AuthorisationError: the first rule that fails, as its reason.
    """
    _require(_addressees(mandate, delivery))
    _require(_subject(mandate, delivery.dataset, delivery.kind))
    _require(_protocol(mandate, DELIVERY_PROTOCOL))
    _require(_validity(mandate, now, timedelta(seconds=clock_tolerance_s)))
    _require(_standing(mandate, delivery))


def _require(rules: Iterator[Rule]) -> None:
    for rule in rules:
        if not rule.passes:
            raise AuthorisationError(
                rule.message,
                mend="Ask the issuer for a mandate that covers it, or ask for what this one covers.",
                reason=rule.reason,
            )


def _addressees(mandate: Mandate, asked: Request | Delivery) -> Iterator[Rule]:
    yield Rule(
        asked.authority == mandate.authority,
        "mandate_other_authority",
        f"the mandate is for another authority than {asked.authority}",
    )
    yield Rule(
        asked.platform == mandate.platform,
        "mandate_other_platform",
        f"the mandate is addressed to another platform than {asked.platform}",
    )


def _subject(mandate: Mandate, dataset: str | None, kind: str) -> Iterator[Rule]:
    yield Rule(
        not mandate.datasets or dataset in mandate.datasets,
        "mandate_other_dataset",
        "the mandate does not name this dataset",
    )
    yield Rule(
        kind in mandate.kinds,
        "mandate_other_kind",
        f"the mandate allows {', '.join(mandate.kinds)}, not this kind",
    )


def _learning(mandate: Mandate, output: str) -> Iterator[Rule]:
    yield Rule(
        output in mandate.outputs,
        "mandate_other_output",
        f"the mandate allows the output {', '.join(mandate.outputs)}, not the one asked for",
    )


def _protocol(mandate: Mandate, protocol: str) -> Iterator[Rule]:
    yield Rule(
        protocol in mandate.protocols,
        "mandate_other_protocol",
        f"the mandate allows the protocol {', '.join(mandate.protocols)}, not the one asked for",
    )


def _validity(mandate: Mandate, now: datetime, tolerance: timedelta) -> Iterator[Rule]:
    # The tolerance is taken from now and not added to the mandate's times, which may lie at the
    # very end of the calendar.
    yield Rule(
        now + tolerance >= mandate.not_before,
        "mandate_not_yet_valid",
        f"the mandate is valid from {_written(mandate.not_before)} on",
    )
    yield Rule(
        now - tolerance <= mandate.not_after,
        "mandate_expired",
        f"the mandate expired at {_written(mandate.not_after)}",
    )


@lru_cache(64)
def _written(time: datetime) -> str:
    """Return a mandate's time as text; an auditor asks for those of few mandates very often."""
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _rows(mandate: Mandate, rows: int) -> Iterator[Rule]:
    yield Rule(
        rows <= mandate.max_rows_per_exchange,
        "mandate_over_rows",
        f"{rows} rows are asked for; the mandate allows {mandate.max_rows_per_exchange} an exchange",
    )


def _sealed(mandate: Mandate, request: Request) -> Iterator[Rule]:
    sealed = mandate.sealed_request
    if sealed is None:
        return
    approved = (sealed.rows, sealed.frame_rows, sealed.namespace, sealed.ruleset.digest)
    asked = (request.rows, request.frame_rows, request.namespace, request.ruleset_sha256)
    yield Rule(
        asked == approved,
        "sealed_request_differs",
        f"the mandate approves one list of {sealed.rows} rows, and this is not how it is asked",
    )


def _standing(mandate: Mandate, delivery: Delivery) -> Iterator[Rule]:
    yield Rule(
        mandate.standing or not delivery.newer,
        "mandate_not_standing",
        "the mandate is not standing: it covers no newer version of the dataset",
    )
