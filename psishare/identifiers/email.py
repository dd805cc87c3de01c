"""E-mail addresses, by syntax alone: nothing is asked of the network (identifiers.md, 4)."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING

import email_validator
import pyarrow.compute as pc

from psishare.identifiers.kind import Kind
from psishare.identifiers.reject import Reason, Unacceptable

if TYPE_CHECKING:
    import pyarrow as pa

_ATOM = "[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = "[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_LAST = "(?:[a-z0-9][a-z0-9-]*)?[a-z]"
_ADDRESS = rf"\A{_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+{_LAST}\z"
_MAX_ADDRESS = 254


class Email(Kind):
    """An e-mail address."""

    name = "email"
    summary = "e-mail address; case dropped, dots and tags kept"
    note = (
        "Dots and +tags are kept, for what they mean differs from provider to provider. "
        "Nothing is asked of the network."
    )

    def is_canonical(self, values: pa.Array) -> pa.Array:
        """Take lower-case ASCII addresses whose domain has neither A-labels nor a reserved name."""
        form = pc.match_substring_regex(values, _ADDRESS)
        doubtful = pc.match_substring_regex(values, _doubtful())
        short = pc.less_equal(pc.binary_length(values), _MAX_ADDRESS)
        return pc.and_(pc.and_(form, short), pc.invert(doubtful))

    def canonical(self, value: str, region: str | None) -> str:  # noqa: ARG002  the kind's interface
        """Return the address as ``email-validator`` normalises it, in lower case, with A-labels."""
        address = _validated(value)
        if address is None:
            raise Unacceptable(Reason.MALFORMED)
        local = unicodedata.normalize("NFC", address.local_part.lower())
        return f"{local}@{address.ascii_domain}"


def _validated(value: str) -> email_validator.ValidatedEmail | None:
    # Every option is given: the library's defaults are globals that any other code may change, and
    # its default asks the DNS.
    try:
        return email_validator.validate_email(
            value,
            check_deliverability=False,
            allow_smtputf8=True,
            allow_empty_local=False,
            allow_quoted_local=False,
            allow_domain_literal=False,
            allow_display_name=False,
            strict=False,
            test_environment=False,
            globally_deliverable=True,
        )
    except (email_validator.EmailNotValidError, UnicodeError):
        return None


@cache
def _doubtful() -> str:
    reserved = "|".join(re.escape(name) for name in email_validator.SPECIAL_USE_DOMAIN_NAMES)
    # From the ``@`` on: a label of 64 or more, one with hyphens in its third and fourth place, and a
    # domain of more than 253 is left to the library, as are the reserved names.
    return rf"@.*(?:[^.@]{{64}})|@(?:.*\.)?[^.]{{2}}--|@(?:.*\.)?(?:{reserved})\z|@.{{254}}"
