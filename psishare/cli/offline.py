"""``psishare offline``: an exchange by files, between machines that share no network."""

from pathlib import Path
from typing import Annotated, Any

import typer

import psishare
from psishare.cli.console import number, print_json, say, say_fields
from psishare.cli.group import example, new_group
from psishare.cli.match import STANDARD_OUTPUT, require_out, say_match
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
    Overwrite,
    Region,
)
from psishare.cli.progress import shown
from psishare.cli.reading import Reading
from psishare.psi.suite import Output, Protocol

EXPORT = (
    "psishare offline export customers --home tele --authority police.example \\",
    "    --mandate case.mandate --out customers.parcel",
)
REQUEST = (
    "psishare offline request --home police --platform tele.example \\",
    "    --dataset customers --mandate case.mandate \\",
    "    --data suspects.csv --key phone=number --out request.parcel",
)
ANSWER = (
    "psishare offline answer request.parcel --home tele --dataset customers \\",
    "    --out answer.parcel",
)
FINISH = ("psishare offline finish answer.parcel --home police --out receipt.parcel",)
CONFIRM = (
    "psishare offline confirm receipt.parcel --home tele --dataset customers \\",
    "    --out confirmation.parcel",
)
RELEASE = ("psishare offline release confirmation.parcel --home police --out matches.csv",)

app = new_group(
    "Exchange by files, across an air gap: export, sync, request, answer, finish, confirm, release.",
    *EXPORT,
    "psishare offline sync customers.parcel --home police --mandate case.mandate",
    *REQUEST,
    *ANSWER,
    *FINISH,
    *CONFIRM,
    *RELEASE,
)

ParcelFile = Annotated[
    Path, typer.Argument(metavar="PARCEL", help="The file that the other party made.")
]
Out = Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the parcel goes.")]
Mandate = Annotated[Path, typer.Option(metavar="FILE", help="The signed mandate.")]
Data = Annotated[
    Path, typer.Option(metavar="FILE", help="Your list: a file, a folder or a pattern.")
]
Moved = Annotated[
    Path | None,
    typer.Option(
        "--data", metavar="FILE", help="Your list, unchanged, if it does not lie where it lay."
    ),
]
Datasets = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset",
        metavar="NAME|DIR",
        help="A dataset, or the folder of one of its epochs, for oprf. Repeatable.",
    ),
]
Lists = Annotated[
    list[Path] | None,
    typer.Option(
        "--data",
        metavar="FILE",
        help="A list, for ecdh and openmined, with --key and --name. Repeatable.",
    ),
]
Keys = Annotated[
    list[str] | None,
    typer.Option("--key", metavar="KIND=COLUMN", help="The key column of each --data."),
]
Names = Annotated[
    list[str] | None,
    typer.Option("--name", metavar="NAME", help="What exchanges call each --data."),
]


@app.command(epilog=example(*EXPORT))
def export(
    dataset: Annotated[str, typer.Argument(metavar="NAME", help="The dataset's name.")],
    *,
    home: Home,
    authority: Annotated[str, typer.Option(metavar="ID", help="The pinned authority it is for.")],
    mandate: Mandate,
    out: Out,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Platform: write a dataset for an authority, under its mandate, and log the delivery."""
    with psishare.Party.open(home) as party, shown(quiet=as_json) as report:
        psishare.AirGap(party).export(
            dataset,
            mandate=mandate,
            authority=authority,
            out=out,
            overwrite=overwrite,
            progress=report,
        )
    if as_json:
        print_json({"dataset": dataset, "authority": authority, "parcel": str(out)})
        return
    say(f"{out} holds the dataset {dataset}, sealed to {authority}; the delivery is in your log")


@app.command(epilog=example("psishare offline sync customers.parcel --home police"))
def sync(
    parcel: ParcelFile,
    *,
    home: Home,
    mandate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The mandate it was exported under, if it is not known here yet."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Authority: take a dataset that a platform exported, verify it, and log the delivery."""
    with psishare.Party.open(home) as party, shown(quiet=as_json) as report:
        signed = psishare.AirGap(party).synchronise(parcel, mandate=mandate, progress=report)
    manifest = signed.manifest
    if as_json:
        print_json(
            {
                "platform": manifest.platform,
                "dataset": manifest.dataset,
                "epoch": manifest.epoch,
                "items": manifest.items,
                "manifest_sha256": signed.sha256.hex(),
            }
        )
        return
    say(
        f"{manifest.dataset} of {manifest.platform}, epoch {manifest.epoch}: "
        f"{number(manifest.items)} items, verified"
    )


@app.command(epilog=example(*REQUEST))
def request(
    *,
    home: Home,
    platform: Annotated[str, typer.Option(metavar="ID", help="The pinned platform to ask.")],
    dataset: Annotated[str, typer.Option(metavar="NAME", help="The platform's dataset.")],
    mandate: Mandate,
    data: Data,
    key: Key,
    out: Out,
    namespace: Namespace = "",
    region: Region = None,
    protocol: Annotated[Protocol, typer.Option(help="How to compare the lists.")] = Protocol.OPRF,
    output: Annotated[
        Output,
        typer.Option(
            help="What to learn: your matches, their number, or the matches on both sides."
        ),
    ] = Output.MATCHES,
    operator: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Who you are, for your records; your login if absent."),
    ] = None,
    days: Annotated[
        int,
        typer.Option(metavar="N", min=1, max=366, help="For how many days it can go on."),
    ] = 30,
    overwrite: Overwrite = False,
    format_: Format = None,
    encoding: Encoding = "utf-8",
    delimiter: Delimiter = ",",
    no_header: NoHeader = False,
    as_text: AsText = False,
    as_json: Json = False,
) -> None:
    """Authority, step 1: write the offer and every blinded identifier into a parcel."""
    column = psishare.KeyColumn.parse(key, namespace=namespace, region=region)
    reading = Reading(format_, encoding, delimiter, no_header, as_text)
    table = reading.open(data, column.column)
    with psishare.Party.open(home) as party, shown(quiet=as_json) as report:
        written = psishare.AirGap(party).request(
            table,
            key=column,
            platform=platform,
            dataset=dataset,
            mandate=mandate,
            out=out,
            protocol=protocol,
            output=output,
            operator=operator,
            expires_days=days,
            overwrite=overwrite,
            progress=report,
        )
    if as_json:
        print_json(
            {
                "exchange_id": written.exchange_id,
                "parcel": str(written.parcel),
                "expires": written.expires,
                "rows": written.rows,
                "rejected": written.rejected,
                "distinct": written.distinct,
            }
        )
        return
    say_fields(
        {
            "parcel": f"{written.parcel}, for {platform}",
            "rows": number(written.rows),
            "rejected": number(sum(written.rejected.values())),
            "asked": f"{number(written.distinct)} distinct",
            "expires": written.expires,
            "exchange": written.exchange_id,
        }
    )


@app.command(epilog=example(*ANSWER))
def answer(
    parcel: ParcelFile,
    *,
    home: Home,
    out: Out,
    datasets: Datasets = None,
    data: Lists = None,
    keys: Keys = None,
    names: Names = None,
    namespace: Namespace = "",
    region: Region = None,
    format_: Format = None,
    encoding: Encoding = "utf-8",
    delimiter: Delimiter = ",",
    no_header: NoHeader = False,
    as_text: AsText = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Platform, step 2: check a request and answer it, or refuse it; the log says which.

    A refusal travels in the parcel, too. The same request again gets the same bytes.
    """
    reading = Reading(format_, encoding, delimiter, no_header, as_text)
    lists = _lists(data, keys, names, reading, namespace=namespace, region=region)
    with psishare.Party.open(home) as party, shown(quiet=as_json) as report:
        answered = psishare.AirGap(party).answer(
            parcel,
            out=out,
            datasets=datasets or [],
            lists=lists,
            overwrite=overwrite,
            progress=report,
        )
    _say_answered(answered, as_json=as_json)


@app.command(epilog=example(*FINISH))
def finish(
    parcel: ParcelFile,
    *,
    home: Home,
    out: Out,
    data: Moved = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Authority, step 3: verify the answers and sign the receipt; no result is told yet."""
    with psishare.Party.open(home) as party, shown(quiet=as_json) as report:
        exchange_id = psishare.AirGap(party).finish(
            parcel, out=out, data=data, overwrite=overwrite, progress=report
        )
    if as_json:
        print_json({"exchange_id": exchange_id, "parcel": str(out)})
        return
    say_fields({"parcel": f"{out}, with your signed receipt", "exchange": exchange_id})


@app.command(epilog=example(*CONFIRM))
def confirm(
    parcel: ParcelFile,
    *,
    home: Home,
    out: Out,
    datasets: Datasets = None,
    data: Lists = None,
    keys: Keys = None,
    names: Names = None,
    namespace: Namespace = "",
    region: Region = None,
    matches: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="With output both: the folder for this side's matches, a file an exchange.",
        ),
    ] = None,
    format_: Format = None,
    encoding: Encoding = "utf-8",
    delimiter: Delimiter = ",",
    no_header: NoHeader = False,
    as_text: AsText = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Platform, step 4: compare the receipt with your record, log it, and countersign it.

    Name the datasets and lists that the request was answered from.
    """
    reading = Reading(format_, encoding, delimiter, no_header, as_text)
    lists = _lists(data, keys, names, reading, namespace=namespace, region=region)
    with psishare.Party.open(home) as party, shown(quiet=as_json) as report:
        answered = psishare.AirGap(party).confirm(
            parcel,
            out=out,
            datasets=datasets or [],
            lists=lists,
            matches=matches,
            overwrite=overwrite,
            progress=report,
        )
    _say_answered(answered, as_json=as_json)


@app.command(epilog=example(*RELEASE))
def release(
    parcel: ParcelFile,
    *,
    home: Home,
    out: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Where the matching rows go: csv, parquet, arrow, jsonl; `-`: standard output.",
        ),
    ] = None,
    data: Moved = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Authority, step 5: verify the countersignature, log it, and get the result."""
    with psishare.Party.open(home) as party, shown(quiet=as_json) as report:
        gap = psishare.AirGap(party)
        require_out(out, Output(gap.output(parcel)))
        if as_json and out == STANDARD_OUTPUT:
            raise typer.BadParameter("--json and --out - both want standard output")
        found = gap.release(parcel, out=out, data=data, overwrite=overwrite, progress=report)
    say_match(found, as_json=as_json)


def _lists(
    data: list[Path] | None,
    keys: list[str] | None,
    names: list[str] | None,
    reading: Reading,
    *,
    namespace: str,
    region: str | None,
) -> "list[psishare.ListSource]":
    files, given, called = data or [], keys or [], names or []
    if not len(files) == len(given) == len(called):
        raise typer.BadParameter("each --data needs a --key and a --name")
    columns = [psishare.KeyColumn.parse(key, namespace=namespace, region=region) for key in given]
    return [
        psishare.ListSource(reading.open(file, column.column), column, name)
        for file, column, name in zip(files, columns, called, strict=True)
    ]


def _say_answered(answered: "psishare.OfflineAnswer", *, as_json: bool) -> None:
    fields: dict[str, Any] = {
        "exchange_id": answered.exchange_id,
        "authority": answered.authority,
        "state": answered.state,
        "reason": answered.reason,
        "repeated": answered.repeated,
        "parcel": str(answered.parcel),
    }
    if as_json:
        print_json(fields)
        return
    again = "; it was answered before, with the same bytes" if answered.repeated else ""
    say_fields(
        {
            "parcel": f"{answered.parcel}, for {answered.authority}{again}",
            "exchange": answered.exchange_id,
            "state": answered.state
            if answered.reason is None
            else f"{answered.state}: {answered.reason}",
        }
    )
