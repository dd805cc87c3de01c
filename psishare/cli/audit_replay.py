"""``psishare audit replay``: whether what was asked was exactly a list."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

import psishare
from psishare.cli.console import number, print_json, say, say_fields, short
from psishare.cli.option import (
    AsText,
    Delimiter,
    Encoding,
    Format,
    Home,
    Json,
    Key,
    Namespace,
    NoHeader,
    Region,
)
from psishare.cli.reading import Reading
from psishare.cli.trust import Trust, read_cards
from psishare.errors import ConfigError, ExitCode
from psishare.evidence.replay import Replay, replay, signed_requests
from psishare.exchange.opening import FILE_NAME, unseal_opening
from psishare.mandates.archive import MandateArchive
from psishare.mandates.envelope import read_envelope
from psishare.parties.home import Home as PartyHome

EXAMPLE = "psishare audit replay tele.bundle ID --home police --data list.csv ..."

_FAULTS = {
    "opening_differs": "the opening is not the one that the offer committed to",
    "input_differs": "the list that was asked is not the one that the mandate commits to",
    "list_differs": "the list is not the one that the opening is about",
    "requests_differ": "the list was committed to, but something else was asked",
}


def replay_exchange(
    evidence: Annotated[
        Path, typer.Argument(metavar="BUNDLE|LOGDIR", help="Either party's evidence.")
    ],
    exchange_id: Annotated[str, typer.Argument(metavar="ID", help="The exchange's whole id.")],
    *,
    home: Home,
    data: Annotated[Path, typer.Option(metavar="FILE", help="The list that was to be asked.")],
    key: Key,
    trust: Trust,
    namespace: Namespace = "",
    region: Region = None,
    opening: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The sealed opening; the home's own where absent."),
    ] = None,
    elements: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The elements sent; the home's own where absent."),
    ] = None,
    request: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The prepared list of a mandate that commits to one; the home's own where absent.",
        ),
    ] = None,
    format_: Format = None,
    encoding: Encoding = "utf-8",
    delimiter: Delimiter = ",",
    no_header: NoHeader = False,
    as_text: AsText = False,
    as_json: Json = False,
) -> None:
    """Prove from a sealed opening that exactly this list was asked, or name where it was not.

    Every blinded element is computed again and compared with the transcript that both parties signed.
    The home is of whom the opening was sealed to: the authority, or the court that the mandate names.
    Ends with exit code 0 if the list was asked as it is, 8 if not.
    """
    from psishare.exchange.prepared_list import prepare  # noqa: PLC0415  it loads what is native

    cards = read_cards(trust)
    party = PartyHome.open(home)
    signed = signed_requests(evidence, cards, exchange_id)
    folder = party.exchanges_path / exchange_id
    sealed = _read(opening or folder / FILE_NAME, "the opening")
    opened = unseal_opening(sealed, bytes.fromhex(exchange_id), party.sealing_key())
    kept = elements or folder / "elements"
    column = psishare.KeyColumn.parse(key, namespace=namespace, region=region)
    reading = Reading(format_, encoding, delimiter, no_header, as_text)
    prepared = prepare(reading.open(data, column.column), column, lambda _rows: None)
    commitment = signed.input_commitment or _kept_commitment(party, signed.offer.mandate_sha256)
    result = replay(
        replace(signed, input_commitment=commitment),
        opened,
        prepared.distinct,
        input_salt=_salt(party, commitment, request),
        elements=_read(kept, "the elements") if elements or kept.is_file() else None,
    )
    row = None if result.index is None else prepared.rows.index(result.index).as_py()
    if as_json:
        print_json({"replays": result.fault is None, "row": row, **asdict(result)})
    else:
        _say(result, row, commitment)
    if result.fault is not None:
        raise typer.Exit(int(ExitCode.AUDIT))


def _input(result: Replay, commitment: str | None) -> str | None:
    if commitment is None:
        return None
    return "compared" if result.input_checked else "not compared: give --request"


def _say(result: Replay, row: int | None, commitment: str | None) -> None:
    say_fields(
        {
            "exchange": f"{short(result.exchange_id)}, {result.protocol}, {result.ending}",
            "asked": f"{number(result.rows)} identifiers in {number(result.frames)} frames",
            "listed": f"{number(result.listed)} identifiers",
            "the mandate's list": _input(result, commitment),
            "first row that differs": None if row is None else f"{number(row)}, counted from 0",
            "first frame that differs": None if result.frame is None else number(result.frame),
        }
    )
    say()
    if result.fault is None:
        say("What was asked is this list, up to the last signed frame.", style="green")
    else:
        say(f"It does not replay: {_FAULTS[result.fault]}.", style="red")


def _kept_commitment(party: PartyHome, mandate_sha256: str) -> str | None:
    """Return what the mandate that the offer names commits to, where this home keeps it."""
    envelope = MandateArchive(party.mandates_path).get(mandate_sha256)
    return None if envelope is None else read_envelope(envelope).mandate.input_commitment


def _salt(party: PartyHome, commitment: str | None, request: Path | None) -> bytes | None:
    """Return the salt of the mandate's commitment: as sealed to this party, or as it kept it."""
    from psishare.exchange.prepared_request import recall  # noqa: PLC0415  it loads what is native
    from psishare.exchange.request_file import open_request  # noqa: PLC0415

    if commitment is None:
        return None
    if request is not None:
        data = _read(request, "the request")
        return open_request(data, party.id, party.sealing_key()).secret
    try:
        return recall(party, bytes.fromhex(commitment))[0]
    except ConfigError:
        # Whoever has not prepared it replays the exchange without this check, and is told so.
        return None


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{what} {path} cannot be read: {error.strerror or type(error).__name__}",
            mend="Name the file; a destroyed opening counts as a failed replay.",
            reason="opening_missing",
        ) from error
