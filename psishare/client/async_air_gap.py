"""Exchanges by files, for programs with an event loop: the same steps, as coroutines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.client.air_gap import AirGap
from psishare.client.background import in_background

if TYPE_CHECKING:
    from psishare.client.async_party import AsyncParty

NOTE = """

        Does not block the event loop. Where the task is cancelled, the work is stopped and waited for,
        and no file is left. An exchange whose request was being made, or whose answers were being
        verified, is then aborted in this party's log; every other step can be made again. ``progress``
        is called in the event loop.

"""


class AsyncAirGap:
    """One party's side of exchanges by files, for an event loop (protocols/specs/offline.md).

    Each method does what the one of ``AirGap`` does, in a thread of its own.

    Args:
        party: opened.

    Attributes:
        blocking: the ``AirGap`` that does the work.
    """

    def __init__(self, party: AsyncParty) -> None:
        self.blocking = AirGap(party.blocking)

    request = in_background(AirGap.request, note=NOTE)
    finish = in_background(AirGap.finish, note=NOTE)
    release = in_background(AirGap.release, note=NOTE)
    output = in_background(AirGap.output, note=NOTE)
    synchronise = in_background(AirGap.synchronise, note=NOTE)
    export = in_background(AirGap.export, note=NOTE)
    answer = in_background(AirGap.answer, note=NOTE)
    confirm = in_background(AirGap.confirm, note=NOTE)
