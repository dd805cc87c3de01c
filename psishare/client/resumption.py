"""Going on with an exchange that was left open, and giving one up."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from psishare.client.platform_rooms import platform_rooms
from psishare.errors import InputError
from psishare.exchange.left_open import LeftOpen, not_resumable
from psishare.exchange.offer import Offer
from psishare.exchange.platform import Platform
from psishare.exchange.prepared_list import KeyColumn
from psishare.exchange.task import InputFile, Task, read_task
from psishare.mandates.budget import Budget
from psishare.tables.table import Origin, Table

if TYPE_CHECKING:
    from psishare.client.party import Party
    from psishare.exchange.register import Row

STANDARD_OUTPUT = "-"


def task_of(
    table: Table, key: KeyColumn, address: str | None, out: Path | str | None, *, overwrite: bool
) -> Task:
    """Return what another process has to know to go on with an exchange."""
    source, origin = None, table.origin
    if origin is not None:
        source = InputFile(
            path=str(origin.path),
            format=origin.format,
            encoding=origin.encoding,
            delimiter=origin.delimiter,
            header=origin.header,
            as_text=list(origin.as_text),
        )
    # Standard output is another process's own.
    file = None if out is None or str(out) == STANDARD_OUTPUT else str(Path(out).absolute())
    return Task(
        address=address,
        source=source,
        column=key.column,
        region=key.region,
        out=file,
        overwrite=overwrite,
    )


def task_again(party: Party, row: Row) -> Task:
    """Return what an exchange was to do.

    Raises:
        InputError: ``exchange_finished``: it has ended, and nothing of it is kept.
    """
    folder = party.home.exchange_path(row.exchange_id)
    task = read_task(folder, row.exchange_id, party.home.sealing_key())
    if task is None:
        raise not_resumable(row)
    return task


def key_again(task: Task, row: Row) -> KeyColumn:
    """Return the key column that an exchange was begun with."""
    offer = Offer.parse(row.offer)
    return KeyColumn(offer.kind, task.column, namespace=offer.namespace, region=task.region)


def table_again(task: Task) -> Table:
    """Open the list of an exchange again.

    Raises:
        InputError: ``input_unreadable``: it was read from no file, or the file is gone.
    """
    source = task.source
    if source is None:
        raise InputError(
            "the list of this exchange was read from no file that could be read again",
            mend="Give the same list once more.",
            reason="input_unreadable",
        )
    origin = Origin(
        Path(source.path),
        source.format,
        source.encoding,
        source.delimiter,
        source.header,
        tuple(source.as_text),
    )
    return origin.open()


def left_open(party: Party) -> LeftOpen:
    """Return the exchanges that an authority has left open."""
    return LeftOpen(party.home, party.log, party.register)


def abandon(party: Party, row: Row) -> None:
    """Give up an exchange that no process works on; log that it is aborted.

    Raises:
        InputError: ``exchange_running``; ``exchange_finished``.
        AuditError: the log cannot take the entry.
    """
    if party.home.card.role == "authority":
        left_open(party).abandon(row)
        return
    with contextlib.closing(Budget(party.home.state_path)) as budget:
        rooms = platform_rooms(party, budget)
        Platform(rooms, ()).abandon(row.exchange_id)
