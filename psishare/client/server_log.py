"""What a server does, as JSON lines: one object a line, each with ``event``, ``level`` and ``timestamp``.

Promises: of an audit entry only fields from a closed list are written, none of which can hold an
identifier; warnings of the package come as the same kind of lines.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from typing import TextIO

    from structlog.typing import Processor

    from psishare.audit.entry import Entry

PACKAGE = "psishare"
EVENTS = "psishare.serve"
SHOWN = (
    *("exchange_id", "peer", "protocol", "dataset", "epoch", "kind", "output", "rows", "frames"),
    *("mandate_id", "reason", "at_fault", "role", "failed_handshakes"),
)
"""The fields of entries that are written."""

_SHARED: list[Processor] = [
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


class ServerLog:
    """Writes JSON lines until it is closed.

    Args:
        stream: where to.
    """

    def __init__(self, stream: TextIO) -> None:
        formatter = structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_SHARED,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(sort_keys=True),
            ],
        )
        self._handler = logging.StreamHandler(stream)
        self._handler.setFormatter(formatter)
        self._package = logging.getLogger(PACKAGE)
        self._before = (self._package.level, self._package.propagate)
        self._package.addHandler(self._handler)
        self._package.setLevel(logging.INFO)
        self._package.propagate = False
        self._events = structlog.wrap_logger(
            logging.getLogger(EVENTS),
            processors=[*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
            wrapper_class=structlog.stdlib.BoundLogger,
        )

    def event(self, name: str, **fields: Any) -> None:
        """Write that something happened."""
        self._events.info(name, **fields)

    def failure(self, name: str, **fields: Any) -> None:
        """Write that something went wrong."""
        self._events.error(name, **fields)

    def entry(self, entry: Entry) -> None:
        """Write what came into the audit log."""
        fields = entry.fields
        shown = {name: fields[name] for name in SHOWN if fields.get(name) is not None}
        self._events.info(entry.type, entered=entry.time, **shown)

    def close(self) -> None:
        """Write no more, and leave the package's logging as it was."""
        self._package.removeHandler(self._handler)
        level, self._package.propagate = self._before
        self._package.setLevel(level)
