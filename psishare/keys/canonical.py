"""Canonical JSON (RFC 8785), the one form of every document that psishare signs or digests.

Objects, arrays, strings, integers within ±(2^53 - 1), booleans and null; no floating point, so
that no two implementations can differ on a number. Reading is strict by round trip.
"""

from __future__ import annotations

import json
from typing import Any, Never

import rfc8785

from psishare.errors import InputError, VerificationError

MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 32


def dumps(value: object) -> bytes:
    """Serialise a value canonically (RFC 8785).

    Args:
        value: dict with string keys, list, str, int, bool or None, nested at most 32 deep.

    Raises:
        InputError: the value holds something else: a float, an integer beyond ±(2^53 - 1), a lone
            surrogate, another type.
    """
    _require_plain(value, depth=0)
    # Of plain values in ASCII the standard library writes the same bytes, in a tenth of the time.
    text = _ENCODER.encode(value)
    if text.isascii():
        return text.encode("ascii")
    try:
        return rfc8785.dumps(value)  # type: ignore[arg-type]  # _require_plain has narrowed it
    except ValueError:
        raise _not_plain("text that is not valid Unicode") from None


def loads(data: bytes, *, max_bytes: int, what: str) -> dict[str, Any]:
    """Parse a canonical JSON object, refusing every other spelling of it.

    Args:
        data: the document's bytes.
        max_bytes: the longest document to look at.
        what: the document's name for error messages, as in "the receipt".

    Raises:
        VerificationError: too long, not UTF-8, not an object, a repeated key, a float, nested too
            deep, or not in canonical form. Never quotes the content.
    """
    value = read_object(data, max_bytes=max_bytes, what=what)
    try:
        canonical = dumps(value)
    except InputError:
        raise _malformed(what, "holds a value that is not permitted") from None
    if canonical != data:
        raise _malformed(what, "is not in canonical form")
    return value


def read_object(data: bytes, *, max_bytes: int, what: str) -> dict[str, Any]:
    """Parse a JSON object, whether or not it is in canonical form: the caller compares what it makes of it.

    Args:
        data: the document's bytes.
        max_bytes: the longest document to look at.
        what: the document's name for error messages, as in "the receipt".

    Raises:
        VerificationError: too long, not UTF-8, not an object, a repeated key or a float.
    """
    if len(data) > max_bytes:
        raise _malformed(what, f"is longer than {max_bytes} bytes")
    try:
        value: object = _DECODER.decode(data.decode("utf-8"))
    except (ValueError, RecursionError):
        raise _malformed(what, "is not JSON of the permitted kinds") from None
    if not isinstance(value, dict):
        raise _malformed(what, "is not a JSON object")
    return value


def _require_plain(value: object, *, depth: int) -> None:
    """Refuse what RFC 8785 would write but psishare does not allow."""
    if depth > MAX_DEPTH:
        raise _not_plain("more than 32 levels")
    if isinstance(value, dict):
        if any(type(key) is not str for key in value):
            raise _not_plain("a key that is not a string")
        _require_plain(list(value.values()), depth=depth)
    elif isinstance(value, list):
        # Most members are strings, and a call for each would cost more than the rest of it.
        for member in [each for each in value if type(each) is not str]:
            _require_plain(member, depth=depth + 1)
    elif type(value) is int:
        if abs(value) > MAX_INTEGER:
            raise _not_plain("an integer beyond 2^53 - 1")
    elif value is not None and type(value) is not bool and not isinstance(value, str):
        raise _not_plain(f"a {type(value).__name__}")


def _object_without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        # The round trip would find it too; said here because the last value would win until then.
        raise ValueError("repeated key")
    return members


def _refuse_number(_text: str) -> Never:
    raise ValueError("not an integer")


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)
_DECODER = json.JSONDecoder(
    object_pairs_hook=_object_without_repeats,
    parse_float=_refuse_number,
    parse_constant=_refuse_number,
)


def _not_plain(what: str) -> InputError:
    return InputError(
        f"a document cannot hold {what}",
        mend="Use strings, integers within 2^53 - 1, booleans, null, lists and objects only.",
        reason="document_unwritable",
    )


def _malformed(what: str, fault: str) -> VerificationError:
    return VerificationError(
        f"{what} {fault}",
        mend="Get the document again from its author; it must not be reformatted on the way.",
        reason="document_malformed",
    )
