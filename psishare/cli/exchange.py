"""``psishare exchange``: this party's exchanges, as it knows them."""

import contextlib
from datetime import datetime
from typing import Annotated, Any

import typer

import psishare
from psishare.cli.console import moment, number, print_json, say, say_fields, say_table, short
from psishare.cli.group import example, new_group
from psishare.cli.option import Home, Json
from psishare.errors import PsishareError, VerificationError
from psishare.exchange.document import write_time
from psishare.exchange.offer import Offer
from psishare.exchange.receipt import Receipt, SequenceTotals, verify_receipt
from psishare.exchange.register import Row

app = new_group(
    "List and show exchanges, and give one up.",
    "psishare exchange list --home police",
    "psishare exchange show 3f9a --home police",
    "psishare exchange abandon 3f9a --home police",
)


@app.command("list", epilog=example("psishare exchange list --home police"))
def list_(*, home: Home, as_json: Json = False) -> None:
    """List this party's exchanges, the newest first."""
    with psishare.Party.open(home) as party:
        rows, until = party.exchanges(), _until(party)
    if as_json:
        print_json({"exchanges": [_document(row, until) for row in rows]})
        return
    if not rows:
        say("No exchange yet.")
        return
    say_table(
        ("exchange", "with", "of", "#rows", "state", "since (UTC)"),
        [_line(row, _offer(row), until) for row in rows],
    )


@app.command(epilog=example("psishare exchange show 3f9a --home police"))
def show(
    exchange_id: Annotated[
        str, typer.Argument(metavar="ID", help="The exchange's id, or the beginning of it.")
    ],
    *,
    home: Home,
    as_json: Json = False,
) -> None:
    """Show one exchange: its receipt, both signatures, and the transcripts they cover."""
    with psishare.Party.open(home) as party:
        row, until = party.exchange(exchange_id), _until(party)
        signatures = _signatures(party, row)
    if as_json:
        print_json(_document(row, until) | {"receipt": _receipt(row), "signatures": signatures})
    else:
        _say(row, signatures, until)
    if "wrong" in signatures.values():
        raise VerificationError(
            "a signature of the receipt is wrong",
            mend="Reconcile both logs; do not rely on this receipt.",
            reason="receipt_invalid",
            party=row.peer,
        )


@app.command(epilog=example("psishare exchange abandon 3f9a --home police"))
def abandon(
    exchange_id: Annotated[
        str, typer.Argument(metavar="ID", help="The exchange's id, or the beginning of it.")
    ],
    *,
    home: Home,
    as_json: Json = False,
) -> None:
    """Give up an exchange that was left open; the log says so.

    What was charged stays charged, and there is no result. The other party's time-out ends it there, or the next connection between the two.
    """
    with psishare.Party.open(home) as party:
        row = party.abandon(exchange_id)
    if as_json:
        print_json(_document(row, {}))
    else:
        say(f"exchange {short(row.exchange_id.hex())} is {row.state}: {row.reason}")


Until = dict[bytes, datetime]
"""Until when exchanges can go on that were left open."""


def _until(party: "psishare.Party") -> Until:
    return {one.row.exchange_id: one.until for one in party.resumable()}


def _signatures(party: "psishare.Party", row: Row) -> dict[str, str]:
    """Return for each party whether its signature is good, wrong or missing, or its key unknown."""
    if row.receipt is None:
        return {}
    receipt = Receipt.parse(row.receipt)
    made = {receipt.authority: row.authority_signature, receipt.platform: row.platform_signature}
    keys = {party.home.id: party.home.card.log_key}
    keys |= {peer.id: peer.card.log_key for peer in party.peers}
    return {
        signer: _state(row.receipt, signature, keys.get(signer), signer)
        for signer, signature in made.items()
    }


def _state(receipt: bytes, signature: bytes | None, key: bytes | None, signer: str) -> str:
    if signature is None:
        return "missing"
    if key is None:
        return "not checked: no longer pinned"
    try:
        verify_receipt(receipt, signature, key, signer)
    except VerificationError:
        return "wrong"
    return "good"


def _offer(row: Row) -> Offer | None:
    """Return the offer, or None where it was refused because it cannot be read."""
    with contextlib.suppress(PsishareError):
        return Offer.parse(row.offer)
    return None


def _document(row: Row, until: Until) -> dict[str, Any]:
    offer = _offer(row)
    return {
        "exchange_id": row.exchange_id.hex(),
        "peer": row.peer,
        "state": row.state.value,
        "reason": row.reason,
        "protocol": offer and offer.protocol,
        "dataset": offer and offer.dataset,
        "kind": offer and offer.kind,
        "output": offer and offer.output,
        "rows": None if offer is None else offer.rows,
        "mandate_id": row.mandate_id,
        "started": row.started,
        "updated": row.updated,
        "resumable_until": None
        if (time := until.get(row.exchange_id)) is None
        else write_time(time),
    }


def _receipt(row: Row) -> dict[str, Any] | None:
    return None if row.receipt is None else Receipt.parse(row.receipt).model_dump(mode="json")


def _state_of(row: Row, until: Until) -> str:
    if row.exchange_id in until:
        return f"{row.state}, can go on until {moment(write_time(until[row.exchange_id]))}"
    return f"{row.state}: {row.reason}" if row.reason else row.state


def _line(row: Row, offer: Offer | None, until: Until) -> tuple[str, ...]:
    return (
        short(row.exchange_id.hex()),
        row.peer,
        offer.dataset if offer else "",
        number(offer.rows) if offer else "",
        _state_of(row, until),
        moment(row.started),
    )


def _say(row: Row, signatures: dict[str, str], until: Until) -> None:
    offer = _offer(row)
    say_fields(
        {
            "exchange": row.exchange_id.hex(),
            "with": row.peer,
            "state": _state_of(row, until),
            "asked": _asked(offer),
            "mandate": row.mandate_id,
            "started": row.started,
            "updated": row.updated,
        }
    )
    if row.receipt is None:
        return
    receipt = Receipt.parse(row.receipt)
    say()
    say_fields(
        {
            "receipt": receipt.sha256.hex(),
            "opened": receipt.opened,
            "closed": receipt.closed,
        }
        | {"signed by": ", ".join(f"{who}: {state}" for who, state in signatures.items())}
    )
    say()
    say_table(
        ("sequence", "#frames", "#rows", "transcript (whole with --json)"),
        [
            _totals("requests", receipt.requests),
            _totals("elements", receipt.elements),
            _totals("answers", receipt.answers),
            _totals("returns", receipt.returns),
        ],
    )


def _asked(offer: Offer | None) -> str | None:
    if offer is None:
        return None
    rows = f"{number(offer.rows)} rows of {offer.kind}"
    return f"{rows}, {offer.dataset}, by {offer.protocol}; output {offer.output}"


def _totals(name: str, totals: SequenceTotals) -> tuple[str, ...]:
    return name, number(totals.frames), number(totals.rows), totals.transcript[:32]
