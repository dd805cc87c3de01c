"""What a platform serves at a moment; it can be exchanged for another while calls are answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.exchange.offering import EncodedOffering

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psishare.exchange.offering import Offering
    from psishare.psi import suite


class Catalogue:
    """Everything that is served, by name.

    Args:
        offerings: what is served; of several with one name and protocol, the last.
    """

    def __init__(self, offerings: Iterable[Offering]) -> None:
        self.replace(offerings)

    def replace(self, offerings: Iterable[Offering]) -> None:
        """Serve these from now on; an exchange that is open goes on with what it began with."""
        served = list(offerings)
        # Each name is bound once, so that a call that reads it meanwhile sees the old or the new.
        self._by_protocol = {(o.name, protocol): o for o in served for protocol in o.protocols}
        self._encoded = {o.name: o for o in served if isinstance(o, EncodedOffering)}

    @property
    def names(self) -> list[str]:
        """The names, sorted."""
        return sorted({name for name, _protocol in self._by_protocol})

    def find(self, name: str, protocol: suite.Protocol) -> Offering | None:
        """Return what is served under a name with a protocol, or None."""
        return self._by_protocol.get((name, protocol))

    def find_encoded(self, name: str) -> EncodedOffering | None:
        """Return the encoded set that is served under a name, or None."""
        return self._encoded.get(name)
