"""The table of reasons: every way in which something ends, its class, exit code and log entry.

One table for the code, the logs and the documentation: docs/reasons.md is generated from it, and a
test holds it against every reason that the code raises.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psishare.errors import (
        PsishareError,
    )

REFUSED = "exchange.refused"
ABORTED = "exchange.aborted"


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason.

    Attributes:
        code: the stable name.
        error: the class that carries it.
        entry: the log entry that records it in an exchange, or None.
        sentence: what it means, for a person.
    """

    code: str
    error: type[PsishareError]
    entry: str | None
    sentence: str


def _group(
    error: type[PsishareError], entry: str | None, sentences: dict[str, str]
) -> Iterator[Reason]:
    for code, sentence in sentences.items():
        yield Reason(code, error, entry, sentence)
