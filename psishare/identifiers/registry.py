"""The kinds of identifiers that there are, by name: the one place where a kind is registered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.errors import InputError
from psishare.identifiers.account import Account
from psishare.identifiers.bitcoin import Bitcoin
from psishare.identifiers.card import Card
from psishare.identifiers.cn_id import CnId
from psishare.identifiers.domain import Domain
from psishare.identifiers.email import Email
from psishare.identifiers.ethereum import Ethereum
from psishare.identifiers.iban import Iban
from psishare.identifiers.imei import Imei
from psishare.identifiers.imsi import Imsi
from psishare.identifiers.ipv4 import IPv4
from psishare.identifiers.ipv6 import IPv6
from psishare.identifiers.mac import Mac
from psishare.identifiers.passport import Passport
from psishare.identifiers.phone import Phone
from psishare.identifiers.sha256 import Sha256
from psishare.identifiers.tron import Tron
from psishare.identifiers.url import Url

if TYPE_CHECKING:
    from psishare.identifiers.kind import Kind

KINDS: dict[str, Kind] = {
    each.name: each
    for each in (
        Phone(),
        Email(),
        IPv4(),
        IPv6(),
        Domain(),
        Url(),
        Iban(),
        Card(),
        Imei(),
        Imsi(),
        Mac(),
        CnId(),
        Passport(),
        Bitcoin(),
        Ethereum(),
        Tron(),
        Sha256(),
        Account(),
    )
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
