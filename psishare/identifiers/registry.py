"""The kinds of identifiers that there are, by name: the one place where a kind is registered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.errors import InputError
from psishare.identifiers.account import Account
from psishare.identifiers.domain import Domain
from psishare.identifiers.email import Email
from psishare.identifiers.ipv4 import IPv4
from psishare.identifiers.ipv6 import IPv6
from psishare.identifiers.phone import Phone

if TYPE_CHECKING:
    from psishare.identifiers.kind import Kind

KINDS: dict[str, Kind] = {
    each.name: each for each in (Phone(), Email(), IPv4(), IPv6(), Domain(), Account())
}


def kind(name: str) -> Kind:
    """Return the kind of that name.

    Raises:
        InputError: ``kind_unknown``.
    """
    if name not in KINDS:
        raise InputError(
            "there is no such kind of identifier",
            mend=f"Choose one of {', '.join(KINDS)}.",
            reason="kind_unknown",
        )
    return KINDS[name]
