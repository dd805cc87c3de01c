"""``psishare serve``: the platform's side of paired sessions."""

import signal
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

import psishare
from psishare.audit.entry import (
    DatasetDelivered,
    Entry,
    ExchangeAborted,
    ExchangeClosed,
    ExchangeOpened,
    ExchangeRefused,
)
from psishare.cli.console import moment, number, print_json, say, short, tell
from psishare.cli.group import example, new_command
from psishare.cli.option import (
    AsText,
    Delimiter,
    Encoding,
    Format,
    Home,
    Json,
    Namespace,
    NoHeader,
    Region,
)
from psishare.cli.progress import shown

app = new_command()


@app.command(
    epilog=example(
        "psishare serve --home tele --listen 0.0.0.0:7447 --dataset customers",
        "psishare serve --home tele --listen 0.0.0.0:7447 \\",
        "    --data customers.csv --key phone=number --name customers",
    )
)
def serve(
    *,
    home: Home,
    listen: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="Where to listen; port 0 takes a free one."),
    ],
    datasets: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            metavar="NAME|DIR",
            help="A dataset, or the folder of one of its epochs, for oprf. Repeatable.",
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="A list, for ecdh and openmined, with --key and --name. Repeatable.",
        ),
    ] = None,
    keys: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="KIND=COLUMN", help="The key column of each --data."),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option("--name", metavar="NAME", help="What exchanges call each --data."),
    ] = None,
    namespace: Namespace = "",
    region: Region = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="With output both: the folder for this side's matches, a file an exchange.",
        ),
    ] = None,
    idle_timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=1.0, help="Abort an exchange that stands still for so long."
        ),
    ] = 300.0,
    format_: Format = None,
    encoding: Encoding = "utf-8",
    delimiter: Delimiter = ",",
    no_header: NoHeader = False,
    as_text: AsText = False,
    as_json: Json = False,
) -> None:
    """Serve datasets and lists to pinned authorities.

    Says in one line where it listens, once it does. SIGINT and SIGTERM end it within seconds:
    exchanges that are still open are aborted, and the log says so.
    """
    columns = [
        psishare.KeyColumn.parse(key, namespace=namespace, region=region) for key in keys or []
    ]
    _require_pairs(data or [], columns, names or [])
    lists = [
        psishare.ListSource(
            psishare.open_table(
                file,
                format=format_,
                encoding=encoding,
                delimiter=delimiter,
                header=not no_header,
                as_text=[column.column] if as_text else (),
            ),
            column,
            name,
        )
        for file, column, name in zip(data or [], columns, names or [], strict=True)
    ]
    stopped = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopped.set()

    with psishare.Party.open(home) as party:
        with shown(quiet=as_json) as report:
            server = party.serve(
                listen,
                datasets=datasets or [],
                lists=lists,
                out=out,
                idle_timeout_s=idle_timeout,
                progress=report,
                logged=_tell_logged if _watched(as_json=as_json) else None,
            )
        # Until here a signal ends the process as it ends any other.
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, stop)
        with server:
            _say_ready(server, as_json=as_json)
            stopped.wait()


def _require_pairs(data: list[Path], columns: "list[psishare.KeyColumn]", names: list[str]) -> None:
    if not len(data) == len(columns) == len(names):
        raise typer.BadParameter("each --data needs a --key and a --name")


def _watched(*, as_json: bool) -> bool:
    return sys.stderr.isatty() and not as_json


def _tell_logged(entry: Entry) -> None:
    """Tell whoever watches of what has entered the log."""
    match entry:
        case ExchangeOpened():
            asked = (
                f"{number(entry.rows)} rows of {entry.kind}, {entry.dataset}, by {entry.protocol}"
            )
            text = f"exchange {short(entry.exchange_id)} opened with {entry.peer}: {asked}"
        case ExchangeClosed():
            text = f"exchange {short(entry.exchange_id)} closed: the receipt is signed by both"
        case ExchangeAborted():
            text = f"exchange {short(entry.exchange_id)} aborted: {entry.reason}"
        case ExchangeRefused():
            text = f"exchange {short(entry.exchange_id)} of {entry.peer} refused: {entry.reason}"
        case DatasetDelivered():
            text = f"dataset {entry.dataset}, epoch {entry.epoch}, delivered to {entry.peer}"
        case _:
            text = entry.type
    tell(f"{moment(entry.time)}  {text}")


def _say_ready(server: "psishare.Server", *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "listening": server.address,
                "datasets": server.datasets,
                "recovered": server.recovered,
            }
        )
        return
    if server.recovered:
        tell(_recovered(server.recovered))
    say(f"listening on {server.address}")


def _recovered(n_exchanges: int) -> str:
    if n_exchanges == 1:
        return "1 exchange of a process that ended is recorded as aborted"
    return f"{number(n_exchanges)} exchanges of a process that ended are recorded as aborted"
