"""Asks ``python-stdnum`` about a number, and answers in this room's reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stdnum.exceptions import InvalidChecksum, InvalidComponent, ValidationError

from psishare.identifiers.reject import Reason, Unacceptable

if TYPE_CHECKING:
    from collections.abc import Callable


def standard_number(validate: Callable[[str], str], number: str) -> str:
    """Return what a module of ``stdnum`` makes of a number.

    Args:
        validate: the module's function.
        number: ASCII letters and digits; without grouping.

    Raises:
        Unacceptable: ``checksum``, ``unknown_issuer`` or ``malformed``.
    """
    try:
        return validate(number)
    except InvalidChecksum:
        reason = Reason.CHECKSUM
    except InvalidComponent:
        reason = Reason.UNKNOWN_ISSUER
    except ValidationError:
        reason = Reason.MALFORMED
    raise Unacceptable(reason)
