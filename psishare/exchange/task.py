"""What an authority was asked to do, kept sealed so that it can go on after an interruption."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from psishare.errors import AuditError
from psishare.exchange.document import Document
from psishare.exchange.opening import read_opening
from psishare.keys.durable_file import write_durably
from psishare.keys.sealing import SealingKeys, seal

if TYPE_CHECKING:
    from pathlib import Path

INFO = b"psishare/task/v1"
FILE_NAME = "task.sealed"

_Text = Annotated[str, Field(max_length=4096)]


class InputFile(Document):
    """Where the list lies and how it is read (``tables.open_table``)."""

    path: _Text
    format: _Text | None
    encoding: _Text
    delimiter: _Text
    header: bool
    as_text: list[_Text]


class Task(Document):
    """Where the list lies, which column is asked about, and what is to become of the result."""

    version: Literal[1] = 1
    address: _Text | None
    source: InputFile | None
    column: _Text
    region: _Text | None
    out: _Text | None
    overwrite: bool


def keep_task(folder: Path, task: Task, exchange_id: bytes, public_key: bytes) -> None:
    """Seal a task to a party's own key, bound to the exchange, and keep it durably.

    Raises:
        AuditError: ``state_write_failed``: the disk is full or fails.
    """
    sealed = seal(public_key, task.document(), info=INFO, aad=exchange_id)
    write_durably(folder / FILE_NAME, sealed, error=AuditError, reason="state_write_failed")


def read_task(folder: Path, exchange_id: bytes, key: SealingKeys) -> Task | None:
    """Return the task of an exchange, or None where none is kept.

    Raises:
        VerificationError: it was sealed to another key or for another exchange, or is damaged.
    """
    path = folder / FILE_NAME
    if not path.exists():
        return None
    return Task.parse(key.open(read_opening(path), info=INFO, aad=exchange_id))
