"""The answering end of every transport: bytes in, bytes or one of our errors out.

Both transports answer through here, so a test in memory sees what a peer on the network would.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from psishare.errors import InternalError, PsishareError
from psishare.transport import fault
from psishare.transport.message import parse, serialise

if TYPE_CHECKING:
    from collections.abc import Callable

    from google.protobuf.message import Message

    from psishare.transport.channel import Call, Caller, Responder

_logger = logging.getLogger(__name__)


def answer(responder: Responder, call: Call, request: bytes, caller: Callable[[], Caller]) -> bytes:
    """Answer one call.

    Args:
        responder: who knows the answer.
        call: which.
        request: as received.
        caller: says whose call it is, or refuses it; asked first.

    Returns:
        The serialised answer, at most 4 MiB.

    Raises:
        PsishareError: the refusal, whatever went wrong. Where the caller is not to learn its
            sentences, they have gone to this process's operational log.
    """
    try:
        whose = caller()
        message = parse(call.request, request, step=call.step, party=None)
        response = responder.answer(call, message, whose)
        return _serialised(call, response)
    except PsishareError as error:
        _record(call, error)
        raise
    except Exception as error:
        _record_foreign(call, error)
        raise InternalError(f"{call.step} could not be answered", mend="Report this.") from error


def _serialised(call: Call, response: Message) -> bytes:
    if not isinstance(response, call.response):
        raise InternalError(
            f"{call.step} was answered with a {type(response).__name__}", mend="Report this."
        )
    return serialise(response, step=call.step)


def _record(call: Call, error: PsishareError) -> None:
    if not fault.tells(error):
        _logger.error("%s failed: %s [%s]", call.step, error.message, error.reason)


def _record_foreign(call: Call, error: Exception) -> None:
    """Note where it happened, never its text: it may quote the data that it choked on."""
    place = "an unknown place"
    traceback = error.__traceback__
    while traceback is not None:
        place = f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    _logger.error("%s failed: %s at %s", call.step, type(error).__name__, place)
