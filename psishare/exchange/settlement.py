"""What became at the platform of the exchanges that an authority left open (exchange.md, section 13)."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from psishare.errors import InputError, ProtocolError
from psishare.exchange.left_open import LeftOpen, is_unclosed
from psishare.exchange.reasons import recorded
from psishare.exchange.register import Register, Row, State
from psishare.exchange.signed_frames import ENDED
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from psishare.exchange.patient_channel import PatientChannel

RESTORED, UNKNOWN = "exchange_restored", "exchange_unknown"


class Settlement:
    """Asks one platform about the exchanges that were left open with it.

    Args:
        register: the authority's exchanges.
        channel: to the platform.
        platform: its party id.
        left: ends what has ended there.
        close: closes an exchange, given its id, the receipt signed before, and that signature.
    """

    def __init__(
        self,
        register: Register,
        channel: PatientChannel,
        platform: str,
        left: LeftOpen,
        *,
        close: Callable[[bytes, bytes, bytes], None],
    ) -> None:
        self._register = register
        self._channel = channel
        self._platform = platform
        self._left = left
        self._close = close

    def settle(self) -> None:
        """Ask what became of the exchanges with this platform that were left open (section 13)."""
        for row in self._register.unattended():
            if row.peer != self._platform or row.state is State.HELD:
                continue
            with contextlib.ExitStack() as stack:
                try:
                    stack.enter_context(self._register.attending(row.exchange_id))
                except InputError:
                    continue  # another process has begun to work on it
                if row.state is State.PENDING:
                    self.receipt(row)
                else:
                    self._left_open(row)

    def receipt(self, row: Row) -> bool:
        """Ask again for a receipt that an earlier connection did not bring back.

        Returns:
            Whether the exchange is closed now. It is not where the platform has to be gone on with
            first, nor where it has ended there, which is logged then.
        """
        if row.receipt is None or row.authority_signature is None:
            return False
        try:
            self._close(row.exchange_id, row.receipt, row.authority_signature)
        except ProtocolError as error:
            if error.reason == RESTORED:
                return False
            known = self._register.get(row.exchange_id)
            if known is None or not is_unclosed(known, error):
                raise
            self._left.abort(known, recorded(error), self._platform, self._left.requested(known))
            return False
        return True

    def _left_open(self, row: Row) -> None:
        """Abort an exchange that has ended at the platform; leave one that can go on."""
        request = wire.ResumeRequest(exchange_id=row.exchange_id)
        try:
            self._channel.call(Call.RESUME, request)
        except ProtocolError as error:
            # An offer that never arrived can be made again as long as it is timely.
            if error.reason == ENDED or (error.reason == UNKNOWN and row.state is State.OPENED):
                last = self._left.requested(row)
                self._left.abort(row, error.reason, self._platform, last)
