"""The kinds of identifiers that there are, by name: the one place where a kind is registered.

A kind's module, and the library that defines it, is loaded when the kind is first asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

from psishare.errors import InputError

if TYPE_CHECKING:
    from psishare.identifiers.kind import Kind

_CLASSES = {
    "phone": ("phone", "Phone"),
    "email": ("email", "Email"),
    "ipv4": ("ipv4", "IPv4"),
    "ipv6": ("ipv6", "IPv6"),
    "domain": ("domain", "Domain"),
    "url": ("url", "Url"),
    "iban": ("iban", "Iban"),
    "card": ("card", "Card"),
    "imei": ("imei", "Imei"),
    "imsi": ("imsi", "Imsi"),
    "mac": ("mac", "Mac"),
    "cn-id": ("cn_id", "CnId"),
    "passport": ("passport", "Passport"),
    "bitcoin": ("bitcoin", "Bitcoin"),
    "ethereum": ("ethereum", "Ethereum"),
    "tron": ("tron", "Tron"),
    "sha256": ("sha256", "Sha256"),
    "account": ("account", "Account"),
}


class _Kinds(Mapping[str, "Kind"]):
    """The kinds by name, in the order in which they are listed."""

    def __init__(self) -> None:
        self._loaded: dict[str, Kind] = {}

    def __getitem__(self, name: str) -> Kind:
        if name not in self._loaded:
            module, class_name = _CLASSES[name]
            class_ = getattr(import_module(f"psishare.identifiers.{module}"), class_name)
            self._loaded[name] = class_()
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_CLASSES)

    def __len__(self) -> int:
        return len(_CLASSES)


KINDS: Mapping[str, Kind] = _Kinds()


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
