"""``psishare exchange``: this party's exchanges, as it knows them."""

import contextlib
from typing import Annotated, Any

import typer

import psishare
from psishare.cli.console import moment, number, print_json, say, say_fields, say_table, short
from psishare.cli.group import example, new_group
from psishare.cli.option import Home, Json
from psishare.errors import PsishareError, VerificationError
from psishare.exchange.offer import Offer
from psishare.exchange.receipt import Receipt, SequenceTotals, verify_receipt
from psishare.exchange.register import Row

app = new_group(
    "List and show exchanges.",
    "psishare exchange list --home police",
    "psishare exchange show 3f9a --home police",
)


@app.command("list", epilog=example("psishare exchange list --home police"))
def list_(*, home: Home, as_json: Json = False) -> None:
    """List this party's exchanges, the newest first."""
    with psishare.Party.open(home) as party:
        rows = party.exchanges()
    if as_json:
        print_json({"exchanges": [_document(row) for row in rows]})
        return
    if not rows:
        say("No exchange yet.")
        return
    say_table(
        ("exchange", "with", "of", "#rows", "state", "since (UTC)"),
        [_line(row, _offer(row)) for row in rows],
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
        row = party.exchange(exchange_id)
        signatures = _signatures(party, row)
    if as_json:
        print_json(_document(row) | {"receipt": _receipt(row), "signatures": signatures})
    else:
        _say(row, signatures)
    if "wrong" in signatures.values():
        raise VerificationError(
            "a signature of the receipt is wrong",
            mend="Reconcile both logs; do not rely on this receipt.",
            reason="receipt_invalid",
            party=row.peer,
        )


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


def _document(row: Row) -> dict[str, Any]:
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
    }


def _receipt(row: Row) -> dict[str, Any] | None:
    return None if row.receipt is None else Receipt.parse(row.receipt).model_dump(mode="json")


def _line(row: Row, offer: Offer | None) -> tuple[str, ...]:
    return (
        short(row.exchange_id.hex()),
        row.peer,
        offer.dataset if offer else "",
        number(offer.rows) if offer else "",
        f"{row.state}: {row.reason}" if row.reason else row.state,
        moment(row.started),
    )


def _say(row: Row, signatures: dict[str, str]) -> None:
    offer = _offer(row)
    say_fields(
        {
            "exchange": row.exchange_id.hex(),
            "with": row.peer,
            "state": f"{row.state}: {row.reason}" if row.reason else row.state,
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
