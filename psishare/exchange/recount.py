"""What the log tells that was spent and delivered, for a state whose file may be older than the log.

A ``state.db`` that was lost, or restored from an old copy, gives nothing back: an exchange that the log
has opened counts, with the rows that the log says it was charged, or all that it offered where the log
does not tell of its end; and what was delivered under a mandate was delivered. Source:
protocols/specs/mandate.md, section 8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.audit.entry import (
    DatasetDelivered,
    ExchangeAborted,
    ExchangeClosed,
    ExchangeOpened,
    parse_entry,
)
from psishare.exchange.document import read_time
from psishare.mandates.budget import Budget, Ended, Opened
from psishare.mandates.envelope import read_envelope

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psishare.audit.log import Log
    from psishare.exchange.register import Register
    from psishare.mandates.archive import MandateArchive

_MARK = b'"exchange.'
_DELIVERED = b'"dataset.delivered"'


def recount(log: Log, budget: Budget) -> int:
    """Count into the budget what the platform's log tells beyond it.

    Only entries that are newer than the last count are read.

    Returns:
        How many exchanges had been missing or too cheap in the budget.

    Raises:
        AuditError: the log cannot be read, or the state not be written.
        VerificationError: ``entry_malformed``: an entry is not what its type demands.
    """
    size = log.size
    return budget.recount(_told(log, _start(log, budget), size), counted=size)


def recall_deliveries(
    log: Log, budget: Budget, register: Register, mandates: MandateArchive
) -> None:
    """Enter into the register what the platform's log tells of deliveries, before it is recounted.

    Raises:
        AuditError: the log or a kept mandate cannot be read, or the state not be written.
        VerificationError: an entry, or a kept mandate, is not what it must be.
    """
    for data in log.entries(_start(log, budget), log.size):
        if _DELIVERED not in data:
            continue
        entry = parse_entry(data)
        if not isinstance(entry, DatasetDelivered):
            continue
        manifest = bytes.fromhex(entry.manifest_sha256)
        digests = {bytes.fromhex(entry.mandate_sha256)}
        envelope = mandates.get(entry.mandate_sha256)
        if envelope is not None:
            # An emergency that is validated later has another envelope, and is the same mandate.
            digests.add(read_envelope(envelope).mandate.sha256)
        for digest in digests:
            register.delivered(entry.peer, digest, entry.dataset, manifest)


def _start(log: Log, budget: Budget) -> int:
    """Return from which entry on the log has not been counted."""
    counted = budget.counted()
    return counted if counted <= log.size else 0


def _told(log: Log, start: int, end: int) -> Iterator[Opened | Ended]:
    """Yield what each exchange cost; memory holds those that are open at a time."""
    open_: dict[str, ExchangeOpened] = {}
    for data in log.entries(start, end):
        if _MARK not in data:
            continue
        match entry := parse_entry(data):
            case ExchangeOpened():
                open_[entry.exchange_id] = entry
            case ExchangeClosed() | ExchangeAborted():
                exchange_id = bytes.fromhex(entry.exchange_id)
                known = open_.pop(entry.exchange_id, None)
                yield (
                    Ended(exchange_id=exchange_id, charged=entry.rows)
                    if known is None
                    else _opened(known, entry.rows)
                )
            case _:
                pass
    for left in open_.values():
        yield _opened(left, None)


def _opened(entry: ExchangeOpened, charged: int | None) -> Opened:
    return Opened(
        exchange_id=bytes.fromhex(entry.exchange_id),
        mandate_id=entry.mandate_id,
        authority=entry.peer,
        kind=entry.kind,
        rows=entry.rows,
        opened_at=read_time(entry.time),
        charged=charged,
    )
