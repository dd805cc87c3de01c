"""A message as bytes: its one size limit, and strict parsing.

Wire version 1 has no unknown fields: versions are agreed on in the greeting, so a field that a
receiver does not know is a fault and not the future.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from google.protobuf.message import DecodeError, EncodeError, Message

from psishare.errors import InternalError, ProtocolError

if TYPE_CHECKING:
    from typing import Final

MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
"""A request or a response, whole (exchange.md section 2)."""

MEND = "Both sides must run releases of psishare that agree on the wire; report it if they do."

AnyMessage = TypeVar("AnyMessage", bound=Message)


def serialise(message: Message, *, step: str) -> bytes:
    """Return a message's bytes.

    Args:
        message: ours.
        step: what it is, for the error.

    Raises:
        InternalError: it is over 4 MiB, or incomplete; whoever made it must keep to the limit.
    """
    try:
        data = message.SerializeToString(deterministic=True)
    except (EncodeError, ValueError) as error:
        raise InternalError(
            f"the message of {step} cannot be encoded ({type(error).__name__})",
            mend="Report this.",
            reason="message_not_encodable",
        ) from None
    if len(data) > MESSAGE_BYTES_MAX:
        raise InternalError(
            f"the message of {step} has {len(data)} bytes, over {MESSAGE_BYTES_MAX}",
            mend="Report this.",
            reason="message_too_large",
        )
    return data


def parse(kind: type[AnyMessage], data: bytes, *, step: str, party: str | None) -> AnyMessage:
    """Return the message that a peer sent.

    Fields may stand in any order, but each byte must carry meaning: what is left without unknown
    fields, repeated singular fields, padded integers and explicit defaults has the same length.

    Args:
        kind: the message's type.
        data: as received.
        step: what it is, for the error.
        party: whose message it is, where that is known.

    Raises:
        ProtocolError: ``message_too_large`` or ``message_malformed``.
    """
    if len(data) > MESSAGE_BYTES_MAX:
        raise too_large(step, party=party)
    message = kind()
    try:
        message.ParseFromString(data)
    except DecodeError:
        raise _malformed(step, "is not a message of its type", party) from None
    message.DiscardUnknownFields()
    if message.ByteSize() != len(data):
        raise _malformed(step, "holds unknown, repeated or padded fields", party)
    return message


def too_large(step: str, *, party: str | None) -> ProtocolError:
    """Return the error for a received message over 4 MiB."""
    return ProtocolError(
        f"the message of {step} is over {MESSAGE_BYTES_MAX} bytes",
        mend=MEND,
        reason="message_too_large",
        party=party,
    )


def _malformed(step: str, what: str, party: str | None) -> ProtocolError:
    return ProtocolError(
        f"the message of {step} {what}", mend=MEND, reason="message_malformed", party=party
    )
