"""Why a value has no canonical form (identifiers.md, section 2), and which rows were rejected."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


class Reason(StrEnum):
    """The stable reason codes of rejected values."""

    MISSING = "missing"
    TOO_LONG = "too_long"
    MALFORMED = "malformed"
    AMBIGUOUS = "ambiguous"
    NO_COUNTRY = "no_country"
    LETTERS = "letters"
    EXTENSION = "extension"
    NOT_POSSIBLE = "not_possible"
    LOCAL_ONLY = "local_only"
    LEADING_ZERO = "leading_zero"
    ZONE_ID = "zone_id"
    SINGLE_LABEL = "single_label"
    IP_ADDRESS = "ip_address"
    CONTROL = "control"
    CHECKSUM = "checksum"
    UNKNOWN_ISSUER = "unknown_issuer"
    NO_ISSUER = "no_issuer"
    NO_SUCH_DATE = "no_such_date"
    PLACEHOLDER = "placeholder"
    NO_SCHEME = "no_scheme"
    USER_INFO = "user_info"

    @property
    def sentence(self) -> str:
        """What is wrong with the value, as a sentence for a person."""
        return _SENTENCES[self]


_SENTENCES = {
    Reason.MISSING: "the value is null, empty or only white space",
    Reason.TOO_LONG: "the value is longer than an identifier may be",
    Reason.MALFORMED: "the value is not of this kind",
    Reason.AMBIGUOUS: "the value reads differently when it is read again",
    Reason.NO_COUNTRY: "the number has no known country calling code, and no region was given",
    Reason.LETTERS: "the number is written with letters",
    Reason.EXTENSION: "the number has an extension",
    Reason.NOT_POSSIBLE: "the number has a length that its country does not use",
    Reason.LOCAL_ONLY: "the number lacks its area code",
    Reason.LEADING_ZERO: "a number in the address starts with 0, which some read as octal",
    Reason.ZONE_ID: "the address has a zone",
    Reason.SINGLE_LABEL: "the name has one label only",
    Reason.IP_ADDRESS: "the value is an IP address, not a domain",
    Reason.CONTROL: "the value holds a control, invisible or unassigned character",
    Reason.CHECKSUM: "the check digits do not fit the rest: a character is wrong",
    Reason.UNKNOWN_ISSUER: "the value names a country, network or state that does not exist",
    Reason.NO_ISSUER: "the value does not say who issued it, and no region was given",
    Reason.NO_SUCH_DATE: "the date of birth in the number does not exist",
    Reason.PLACEHOLDER: "the value is a filler that names nothing",
    Reason.NO_SCHEME: "the address does not start with http:// or https://",
    Reason.USER_INFO: "the address holds a user name or a password",
}


class Unacceptable(Exception):  # noqa: N818  not a fault: one value's answer, never leaves the room
    """A value has no canonical form. Carries the reason and nothing of the value."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Rejects:
    """The rejected rows of a column.

    Attributes:
        rows: ``uint64``, shape ``(r,)``, ascending: row numbers within the column, from 0.
        reasons: ``dictionary<int8, string>``, shape ``(r,)``: a ``Reason`` for each of them.
    """

    rows: pa.Array
    reasons: pa.DictionaryArray

    def __len__(self) -> int:
        """How many rows were rejected."""
        return len(self.rows)
