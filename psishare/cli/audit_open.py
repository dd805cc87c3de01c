"""``psishare audit open`` and ``shred``: what a log commits to with a salt."""

from pathlib import Path
from typing import Annotated, Any

import typer

from psishare.cli.console import print_json, say, say_fields
from psishare.cli.file import read
from psishare.cli.option import Home, Json
from psishare.errors import InputError
from psishare.evidence.commitment import (
    Opened,
    open_case,
    open_operator,
    shred_case,
    shred_operator,
)
from psishare.exchange.offer import Offer
from psishare.exchange.register import Register
from psishare.mandates.envelope import read_envelope
from psishare.mandates.mandate import Mandate
from psishare.parties.home import Home as PartyHome

OPEN_EXAMPLE = "psishare audit open --exchange ID --home police"
SHRED_EXAMPLE = "psishare audit shred --case case.mandate --home prosecutor"

Exchange = Annotated[
    str | None, typer.Option(metavar="ID", help="The operator of an exchange; its whole id.")
]
Case = Annotated[
    Path | None, typer.Option(metavar="MANDATE", help="The case reference of a mandate's file.")
]


def open_(
    *, home: Home, exchange: Exchange = None, case: Case = None, as_json: Json = False
) -> None:
    """Open a commitment: show the value and the salt that prove it.

    The operator of an exchange at the authority, the case reference at whoever drafted the mandate.
    """
    party = PartyHome.open(home)
    opened = _opened(party, exchange, case)
    told = {
        "what": "operator" if exchange else "case",
        "value": opened.value,
        "salt": opened.salt.hex(),
        "commitment": opened.commitment.hex(),
    }
    if as_json:
        print_json(told)
        return
    say_fields(told)


def shred(
    *, home: Home, exchange: Exchange = None, case: Case = None, as_json: Json = False
) -> None:
    """Destroy the salt of a commitment, for good.

    The log verifies as before, and the value can no longer be found by trying. Copies elsewhere, such
    as backups, have to be destroyed by themselves.
    """
    party = PartyHome.open(home)
    left: dict[str, Any] = {"what": "operator" if exchange else "case", "court_copy": False}
    if exchange is not None and case is None:
        left["court_copy"] = shred_operator(party, _identity(exchange))
    else:
        shred_case(party, _mandate(exchange, case))
    if as_json:
        print_json(left)
        return
    say(f"The {left['what']}'s salt is destroyed.")
    if left["court_copy"]:
        say("A copy is sealed to the court that the mandate names; only the court can open it.")


def _opened(party: PartyHome, exchange: str | None, case: Path | None) -> Opened:
    if exchange is None or case is not None:
        return open_case(party, _mandate(exchange, case))
    identity = _identity(exchange)
    register = Register(party.state_path, party.path / "run")
    try:
        row = register.get(bytes.fromhex(identity))
    finally:
        register.close()
    if row is None:
        raise _unreadable("this home has no exchange of that id")
    commitment = bytes.fromhex(Offer.parse(row.offer).operator_commitment)
    return open_operator(party, identity, commitment)


def _mandate(exchange: str | None, case: Path | None) -> Mandate:
    if case is None or exchange is not None:
        raise _unreadable("one of --exchange and --case is needed, and only one")
    return read_envelope(read(case, "the mandate")).mandate


def _identity(exchange: str) -> str:
    if len(exchange) != 64 or set(exchange) - set("0123456789abcdef"):
        raise _unreadable("an exchange's id is 64 hexadecimal digits")
    return exchange


def _unreadable(fault: str) -> InputError:
    return InputError(fault, mend="See `psishare audit open --help`.", reason="commitment_unknown")
