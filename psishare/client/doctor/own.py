"""What a party has of its own: files, keys, certificate, and whom it has pinned."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from psishare.client.doctor.finding import Finding
from psishare.errors import ExitCode, PsishareError
from psishare.parties.expiry import Expiry
from psishare.parties.peers import Peers
from psishare.parties.tls import validity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psishare.parties.home import Home
    from psishare.parties.peers import Peer


WANTED: dict[str, tuple[str, ...]] = {
    "platform": ("authority", "trusted issuer", "trusted validator"),
    "authority": ("platform",),
}
"""As what somebody has to be pinned, by the role of whoever pins."""


def files(home: Home) -> Iterator[Finding]:
    """Look whether every file is this user's, so that all can be read and replaced."""
    owner = os.geteuid()
    others = sorted(
        str(path.relative_to(home.path))
        for path in home.path.rglob("*")
        if path.lstat().st_uid != owner
    )
    if others:
        yield Finding.fault(
            "files",
            "files_of_another_user",
            f"{len(others)} files of the home belong to another user, the first is {others[0]}",
            mend="A command was run as another user, perhaps root: give the home back with `chown -R`.",
        )
        return
    yield Finding.fine("files", "the home and all in it are this user's alone")


def keys(home: Home) -> Iterator[Finding]:
    """Look whether each key opens and is the one that the card names."""
    home.unlock()
    readers: dict[str, Callable[[], object]] = {
        "signing key": home.log_signer,
        "post-quantum key": home.pq_signer,
        "checkpoint keys": home.check_checkpoint_keys,
        "sealing key": home.sealing_key,
        "TLS key": home.tls_identity,
    }
    right = []
    for name, read in readers.items():
        try:
            read()
        except PsishareError as error:
            yield Finding.of_error("keys", error)
        else:
            right.append(name)
    if not home.vault.is_locked:
        yield Finding.warning(
            "keys",
            "keys_in_the_clear",
            "the keys are not encrypted: permissions and the disk are all that guards them",
            mend="Encrypt them with `psishare party passphrase`, or see that the disk is encrypted.",
        )
    if len(right) == len(readers):
        yield Finding.fine("keys", "all are the card's")


def certificate(home: Home) -> Iterator[Finding]:
    """Look whether this party's certificate is in force, and for how long."""
    now = datetime.now(UTC)
    begins, ends = validity(home.card.certificates()[0])
    if not begins <= now <= ends:
        early = now < begins
        yield Finding.fault(
            "certificate",
            "tls_identity_not_yet_valid" if early else "tls_identity_expired",
            f"it is in force from {begins:%Y-%m-%d} to {ends:%Y-%m-%d}, and today is {now:%Y-%m-%d}",
            mend="Set the clock: the certificate is for later."
            if early
            else "Renew it with `psishare party renew`, and give the new card to your peers.",
        )
        return
    warning = Expiry.of(home.card).own_warning(now)
    if warning is not None:
        message, _colon, mend = warning.partition(": ")
        yield Finding.warning(
            "certificate", "certificate_expiring", message, mend=f"{mend[:1].upper()}{mend[1:]}."
        )
        return
    yield Finding.fine("certificate", f"in force until {ends:%Y-%m-%d}")


def peers(home: Home) -> Iterator[Finding]:
    """Look whether those are pinned whom this party needs, and their certificates are in force."""
    pinned = list(Peers(home.peers_path))
    yield from (found for peer in pinned for found in _certificates(peer))
    missing = _missing(home, pinned)
    if missing:
        yield Finding.fault(
            "peers",
            "peers_missing",
            f"nobody is pinned as {' or as '.join(missing)}",
            mend="Get their cards and fingerprints, and add them with `psishare peer add`; those whose"
            " signatures on mandates are to count with `--trust`.",
        )
        return
    yield Finding.fine("peers", f"{len(pinned)} are pinned")


def _missing(home: Home, pinned: list[Peer]) -> list[str]:
    there: set[str] = {peer.card.role for peer in pinned}
    there |= {f"trusted {trust}" for peer in pinned for trust in peer.trusted_as}
    return [name for name in WANTED.get(home.card.role, ()) if name not in there]


def _certificates(peer: Peer) -> Iterator[Finding]:
    now = datetime.now(UTC)
    warning = Expiry.of(peer.card).peer_warning(now)
    if warning is None:
        return
    message, mend = warning.partition(": ")[0], f"Ask {peer.id} for its newer card, and add it."
    if Expiry.of(peer.card).last < now:
        yield Finding.fault(
            "peers",
            "peer_certificate_expired",
            message,
            mend=mend,
            exit_code=ExitCode.PEER,
            party=peer.id,
        )
    else:
        yield Finding.warning("peers", "peer_certificate_expiring", message, mend=mend)
