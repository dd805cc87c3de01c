"""How much a server takes on at once, of all its callers together and of each one."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from psishare.errors import TransportError
from psishare.transport.message import MESSAGE_BYTES_MAX

if TYPE_CHECKING:
    from typing import Final

MIB: Final = 1024 * 1024
WORKERS_MIN: Final = 16
"""A call that waits for its turn within an exchange holds a worker, so there are more than cores."""

WORKERS_PER_CORE: Final = 4
BUSY: Final = "peer_busy"
STOPPING: Final = "peer_stopping"


def default_workers() -> int:
    """Return how many calls are worked on at once on this machine, unless an operator says."""
    return max(WORKERS_MIN, WORKERS_PER_CORE * (os.cpu_count() or 1))


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server takes on; what is above waits, or is told to come again.

    Attributes:
        connections: open at once, strangers' included while they shake hands.
        calls: taken at once, of all callers; each waits in a thread of its own.
        calls_per_caller: of these, of one certificate.
        bytes_in_flight: of messages received, awaited or not yet taken by their reader. A message whose
            length is not known yet counts as 4 MiB. Answers may exceed it by 4 MiB a worker.
        workers: calls worked on at once, of all callers.
        receive_s: seconds for which a request may be on its way once its call has begun.
        send_s: seconds that a caller has to take its answer.
        wait_s: seconds that a call may wait for room or for a worker.
    """

    connections: int = 1024
    calls: int = 512
    calls_per_caller: int = 256
    bytes_in_flight: int = 256 * MIB
    workers: int = field(default_factory=default_workers)
    receive_s: float = 30.0
    send_s: float = 30.0
    wait_s: float = 30.0

    @classmethod
    def of(
        cls,
        *,
        connections: int,
        calls: int,
        calls_per_caller: int,
        mib_in_flight: int,
        workers: int | None,
    ) -> Self:
        """Return limits as an operator sets them.

        Args:
            connections: how many may be open at once.
            calls: how many are taken at once, of all callers.
            calls_per_caller: of these, how many of one certificate.
            mib_in_flight: MiB of messages received, awaited or not yet taken by their reader.
            workers: how many calls are worked on at once; by the number of cores where None.
        """
        return cls(
            connections=connections,
            calls=calls,
            calls_per_caller=calls_per_caller,
            bytes_in_flight=mib_in_flight * MIB,
            workers=workers or default_workers(),
        )

    @property
    def workers_per_caller(self) -> int:
        """Of the workers, those that one caller may hold: some are always left to the others."""
        return max(1, self.workers - self.workers // 4)

    @property
    def bytes_per_caller(self) -> int:
        """Of the bytes, those that one caller may hold; room for one message at least."""
        return max(MESSAGE_BYTES_MAX, self.bytes_in_flight // 2)


def busy(what: str) -> TransportError:
    """Return the error that tells a caller to come again when there is less to do.

    Args:
        what: the limit that is reached, as a noun phrase.
    """
    return TransportError(
        f"it has {what} already",
        mend="Try again later, or run fewer exchanges at once.",
        reason="peer_busy",
    )
