"""Where a server listens: ``host:port``, or ``[address]:port`` for IPv6.

gRPC's own target strings name resolvers, sockets and proxies as well; none of that is let through.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Self

from psishare.errors import ConfigError

if TYPE_CHECKING:
    from typing import Final

HOST: Final = re.compile(
    r"(?=.{1,253}\Z)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z",
    re.IGNORECASE | re.ASCII,
)
PORT: Final = re.compile(r"(?:0|[1-9][0-9]{0,4})\Z", re.ASCII)
PORT_MAX: Final = 65_535


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port.

    Attributes:
        host: a name, an IPv4 address, or an IPv6 address without brackets.
        port: 0 to 65,535; 0 lets a server take a free one.
    """

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the address that the text spells.

        Raises:
            ConfigError: ``address_invalid``.
        """
        host, separator, port = text.rpartition(":")
        if not separator or not PORT.match(port) or int(port) > PORT_MAX:
            raise _invalid()
        if host.startswith("[") and host.endswith("]"):
            return cls(_ipv6(host[1:-1]), int(port))
        if not HOST.match(host) or (_all_numeric(host) and not _is_ipv4(host)):
            raise _invalid()
        return cls(host, int(port))

    def __str__(self) -> str:
        """Return the text that ``parse`` reads."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def target(self) -> str:
        """The name that gRPC knows it by; only a host name is ever resolved."""
        if ":" in self.host:
            return f"ipv6:{self}"
        return f"ipv4:{self}" if _is_ipv4(self.host) else f"dns:///{self}"


def _all_numeric(host: str) -> bool:
    return host.rpartition(".")[2].isdigit()


def _is_ipv4(host: str) -> bool:
    try:
        IPv4Address(host)
    except AddressValueError:
        return False
    return True


def _ipv6(text: str) -> str:
    try:
        address = IPv6Address(text)
    except AddressValueError:
        raise _invalid() from None
    if address.scope_id is not None:
        raise _invalid()
    return str(address)


def _invalid() -> ConfigError:
    return ConfigError(
        "the address is not host:port",
        mend="Write for example platform.example:8443, 192.0.2.7:8443 or [2001:db8::7]:8443.",
        reason="address_invalid",
    )
