"""The checks in their order: a home that does not open is looked at no further."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.client.doctor import machine, own, reach, records, trade
from psishare.client.doctor.finding import Diagnosis, Finding
from psishare.client.opened_home import LOGGING_ROLES
from psishare.errors import PsishareError
from psishare.parties.home import Home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    Check = Callable[[Home], Iterable[Finding]]

OF_ANY: dict[str, Check] = {
    "files": own.files,
    "keys": own.keys,
    "certificate": own.certificate,
    "peers": own.peers,
    "clock": machine.clock,
}
OF_LOGGING: dict[str, Check] = {
    "log": records.log,
    "state": records.state,
    "exchanges": records.exchanges,
    "settings": trade.settings,
    "protocols": machine.protocols,
}
OF_AUTHORITY: dict[str, Check] = {
    "erasure": records.erasure,
}
OF_PLATFORM: dict[str, Check] = {
    "policy": trade.policy,
    "datasets": trade.datasets,
    "open files": machine.open_files,
}


def examine(
    path: Path, *, peer: str | None = None, address: str | None = None, timeout_s: float = 10.0
) -> Diagnosis:
    """Look at a home folder and what is around it; at a peer, too, where one is named.

    Args:
        path: the home folder.
        peer: the party id of a pinned platform to reach.
        address: where it listens, ``host:port``.
        timeout_s: seconds for each call to it.
    """
    findings = [machine.disk(path)]
    try:
        home = Home.open(path)
    except PsishareError as error:
        findings += [Finding.of_error("home", error), _unseen()]
        return Diagnosis(tuple(findings))
    findings.append(Finding.fine("home", f"{home.id}, a party of role {home.card.role}"))
    checks = dict(OF_ANY)
    if home.card.role in LOGGING_ROLES:
        checks |= OF_LOGGING
    if home.card.role == "authority":
        checks |= OF_AUTHORITY
    if home.card.role == "platform":
        checks |= OF_PLATFORM
    for name, check in checks.items():
        findings += _found(name, check, home)
    if peer is not None and address is not None:
        findings += _found(
            "reach", lambda home: reach.platform(home, peer, address, timeout_s), home
        )
    return Diagnosis(tuple(findings))


def _found(name: str, check: Check, home: Home) -> Iterator[Finding]:
    """Yield what a check finds, and what it stumbles over as a fault of its own."""
    try:
        yield from check(home)
    except PsishareError as error:
        yield Finding.of_error(name, error)


def _unseen() -> Finding:
    return Finding.warning(
        "rest",
        "not_looked_at",
        "nothing else could be looked at",
        mend="Mend the home folder first, then run this again.",
    )
