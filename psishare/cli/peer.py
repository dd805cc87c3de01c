"""``psishare peer``: whom this party has pinned, and what it trusts each as."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

import psishare
from psishare.cli.console import print_json, say, tell, tell_warnings
from psishare.cli.file import read
from psishare.cli.group import example, new_group
from psishare.cli.option import Home, Json
from psishare.cli.party import spoken
from psishare.errors import ConfigError
from psishare.parties import home as parties
from psishare.parties.card import Card, parse_card
from psishare.parties.expiry import Expiry
from psishare.parties.field import write_time
from psishare.parties.peers import Peer, Peers
from psishare.parties.succession import is_succession

ADD = (
    "psishare peer add court.card --home tele --trust validator \\",
    '    --fingerprint "TWELVE WORDS"',
)

app = new_group("Pin other parties by their cards.", *ADD, "psishare peer list --home tele")


class Trust(StrEnum):
    """The roles in which a party's signature can count: on a mandate, or on a held offer."""

    APPROVER = "approver"
    ISSUER = "issuer"
    VALIDATOR = "validator"


@app.command(epilog=example("psishare peer add police.card --home tele", *ADD))
def add(
    card: Annotated[Path, typer.Argument(metavar="CARD", help="The card file of the other party.")],
    *,
    home: Home,
    fingerprint: Annotated[
        str | None,
        typer.Option(
            metavar="WORDS",
            help="The twelve words, as its owner read them to you. Asked if absent.",
        ),
    ] = None,
    trust: Annotated[
        list[Trust] | None,
        typer.Option(
            metavar="issuer|validator|approver",
            help="Let its signature count: on mandates as issuer or validator, on held offers"
            " as approver. Repeatable; replaces what it was trusted as.",
        ),
    ] = None,
    reinstate: Annotated[
        bool, typer.Option("--reinstate", help="Let a party that was revoked come back.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Pin a party, or take a newer card of one that is pinned.

    Get the fingerprint by a way that you trust: have its owner read it to you, do not copy it from
    where the card came from. A newer card of a pinned party needs none, nor does the file of its
    successor: the pinned key has signed them.
    """
    opened = parties.Home.open(home)
    data = read(card, "the card")
    if is_succession(data):
        if fingerprint or trust or reinstate:
            raise typer.BadParameter("a succession is taken as the pinned party vouches for it")
        _say_pinned(psishare.pin_successor(opened, data), as_json=as_json)
        return
    shown = parse_card(data)
    before = _pinned(opened, shown.id)
    words = fingerprint
    if words is None and before is None:
        words = _compared(shown)
    peer = psishare.pin_peer(
        opened,
        data,
        fingerprint=words,
        trusted_as=None if trust is None else frozenset(role.value for role in trust),
        reinstate=reinstate,
    )
    _say_pinned(peer, as_json=as_json)
    if not as_json and before is not None and before.serial < peer.card.serial:
        say(
            f"Card serial {peer.card.serial} replaces serial {before.serial}; the same fingerprint."
        )


@app.command("list", epilog=example("psishare peer list --home tele"))
def list_(*, home: Home, as_json: Json = False) -> None:
    """List the pinned parties, those that were revoked, and certificates that expire soon."""
    opened = parties.Home.open(home)
    peers = Peers(opened.peers_path)
    warnings = psishare.certificate_warnings(opened, peers)
    if as_json:
        print_json(
            {
                "peers": [_document(peer) for peer in peers],
                "revoked": [{"id": gone.id, "revoked": gone.revoked} for gone in peers.revoked()],
                "warnings": warnings,
            }
        )
        return
    if not len(peers):
        say("No party is pinned yet; see `psishare peer add`.")
    for peer in peers:
        trusted = _trusted(peer, ", trusted as ")
        say(peer.id, style="bold")
        say(f"  {peer.card.role}{trusted}; pinned {peer.added.partition('T')[0]}")
        say(f"  certificate until {_expires(peer).partition('T')[0]}")
        say(spoken(peer.card.fingerprint(), indent="  "))
    for gone in peers.revoked():
        say(gone.id, style="bold")
        say(f"  {gone.card.role}; revoked {gone.revoked.partition('T')[0]}, refused since")
    tell_warnings(warnings)


@app.command(epilog=example("psishare peer remove police.example --home tele"))
def remove(
    party_id: Annotated[str, typer.Argument(metavar="ID", help="The party's id.")],
    *,
    home: Home,
    as_json: Json = False,
) -> None:
    """Forget a pinned party: its connections and its signatures no longer count.

    It can be added again. To keep it out, `psishare peer revoke`.
    """
    peer = psishare.unpin_peer(parties.Home.open(home), party_id)
    if as_json:
        print_json({"removed": peer.id})
        return
    say(f"{peer.id} is no longer pinned.")


@app.command(epilog=example("psishare peer revoke police.example --home tele"))
def revoke(
    party_id: Annotated[str, typer.Argument(metavar="ID", help="The party's id.")],
    *,
    home: Home,
    as_json: Json = False,
) -> None:
    """Refuse a pinned party from now on, in running servers too, and keep it from coming back.

    Its connections and its signatures no longer count, nor do its newer cards. What was logged with
    it can still be verified.
    """
    gone = psishare.revoke_peer(parties.Home.open(home), party_id)
    if as_json:
        print_json({"revoked": gone.id, "time": gone.revoked})
        return
    say(f"{gone.id} is revoked, and refused from now on.")


def _say_pinned(peer: Peer, *, as_json: bool) -> None:
    if as_json:
        print_json(_document(peer))
        return
    say(f"{peer.id} ({peer.card.role}) is pinned{_trusted(peer, ', and trusted as ')}.")


def _pinned(home: parties.Home, party_id: str) -> Card | None:
    """Return the card that is pinned of a party, whose key answers for its newer ones; or None."""
    found = [peer.card for peer in Peers(home.peers_path) if peer.id == party_id]
    return found[0] if found else None


def _expires(peer: Peer) -> str:
    return write_time(Expiry.of(peer.card).last)


def _compared(card: Card) -> str:
    """Show the fingerprint and ask whether it is what its owner read out."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise ConfigError(
            "there is no terminal to compare the fingerprint on",
            mend="Give the twelve words, as the card's owner read them to you, with --fingerprint.",
            reason="fingerprint_missing",
            party=card.id,
        )
    tell(f"The card says: {card.id}, {card.role}, {card.display_name}")
    tell("Its fingerprint:")
    tell(spoken(card.fingerprint(), indent="  "))
    if not typer.confirm("Did its owner read the same twelve words to you?", err=True):
        raise ConfigError(
            f"the fingerprint of {card.id} was not confirmed",
            mend="Do not use this card. Reach its owner by a way that you trust and compare again.",
            reason="fingerprint_mismatch",
            party=card.id,
        )
    return card.fingerprint()


def _document(peer: Peer) -> dict[str, Any]:
    card = peer.card
    return {
        "id": card.id,
        "role": card.role,
        "display_name": card.display_name,
        "trusted_as": sorted(peer.trusted_as),
        "serial": card.serial,
        "added": peer.added,
        "expires": _expires(peer),
        "fingerprint": card.fingerprint(),
    }


def _trusted(peer: Peer, before: str = "") -> str:
    return before + ", ".join(sorted(peer.trusted_as)) if peer.trusted_as else ""
