"""``psishare audit prove`` and ``check-proof``: one exchange's end, as a small file by itself."""

from pathlib import Path
from typing import Annotated

import typer

from psishare.cli.console import number, print_json, say, say_fields
from psishare.cli.file import read, write_new
from psishare.cli.option import Home, Json, Overwrite
from psishare.cli.trust import Trust, read_cards
from psishare.errors import InputError
from psishare.evidence.proof import prove_ending, verify_proof
from psishare.evidence.quorum import Quorum
from psishare.parties.home import Home as PartyHome

PROVE_EXAMPLE = "psishare audit prove ID end.tlog-proof --home tele"
CHECK_EXAMPLE = "psishare audit check-proof end.tlog-proof --trust tele.card"

_TOLD = ("exchange_id", "peer", "mandate_id", "rows", "reason", "receipt_sha256")


def prove(
    exchange_id: Annotated[str, typer.Argument(metavar="ID", help="The exchange's whole id.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to write.")],
    *,
    home: Home,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a proof that an exchange's end stands in this party's log.

    The file is C2SP's tlog-proof: the entry, its place, the hashes and the newest checkpoint. It holds no
    secret and no identifier.
    """
    if len(exchange_id) != 64 or set(exchange_id) - set("0123456789abcdef"):
        raise InputError(
            "an exchange's id is 64 hexadecimal digits",
            mend="See the ids with `psishare exchange list --json`.",
            reason="exchange_not_found",
        )
    data = prove_ending(PartyHome.open(home), exchange_id)
    write_new(file, data, overwrite=overwrite)
    if as_json:
        print_json({"file": str(file), "exchange_id": exchange_id, "bytes": len(data)})
    else:
        say_fields({"proof": str(file), "bytes": number(len(data))})


def check_proof(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A proof file.")],
    *,
    trust: Trust,
    policy: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Which witnesses must have cosigned (C2SP tlog-policy)."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify a proof, with no key but those in the cards that you give.

    Ends with exit code 0 if the entry stands in its log, 8 if not, 3 if a card lacks.
    """
    fact = verify_proof(
        read(file, "the proof"),
        read_cards(trust),
        quorum=None if policy is None else Quorum(read(policy, "the policy")),
    )
    entry = fact.entry.fields
    told = {name: entry[name] for name in _TOLD if entry.get(name) is not None}
    head = fact.checkpoint
    if as_json:
        print_json(
            {
                "verified": True,
                "party": head.origin,
                "tree_size": head.tree_size,
                "index": fact.index,
                "type": fact.entry.type,
                "time": fact.entry.time,
                **told,
            }
        )
        return
    place = f"{number(fact.index)} of {number(head.tree_size)}"
    fields = {name.replace("_", " "): str(value) for name, value in told.items()}
    say_fields({"log of": head.origin, "entry": place, "type": fact.entry.type, **fields})
    say()
    say("The entry stands in that log.", style="green")
