"""``psishare serve``: the platform's side of paired sessions."""

import contextlib
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import psishare
from psishare.audit.entry import (
    DatasetDelivered,
    Entry,
    ExchangeAborted,
    ExchangeApproved,
    ExchangeClosed,
    ExchangeHeld,
    ExchangeOpened,
    ExchangeRefused,
    ExchangeRejected,
)
from psishare.cli.console import moment, number, print_json, say, short, tell
from psishare.cli.group import example, new_command
from psishare.cli.option import (
    AsText,
    Delimiter,
    Encoding,
    Format,
    HomeOfSettings,
    Json,
    Namespace,
    NoHeader,
    Region,
)
from psishare.cli.progress import shown
from psishare.cli.reading import Reading
from psishare.cli.row_counts import list_warning
from psishare.errors import PsishareError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psishare.client.server_log import ServerLog

app = new_command()


class LogFormat(StrEnum):
    """How ``serve`` tells of what it does."""

    TEXT = "text"
    JSON = "json"


@app.command(
    epilog=example(
        "psishare serve --home tele --listen 0.0.0.0:7447 --dataset customers",
        "psishare serve --home tele --listen 0.0.0.0:7447 \\",
        "    --data customers.csv --key phone=number --region DE --name customers",
    )
)
def serve(
    *,
    home: HomeOfSettings,
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
    grace: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0.0,
            max=3600.0,
            help="Told to stop, wait so long for open exchanges to end.",
        ),
    ] = 2.0,
    max_exchanges: Annotated[
        int, typer.Option(metavar="N", min=1, help="Exchanges that one authority may have open.")
    ] = 64,
    max_connections: Annotated[
        int, typer.Option(metavar="N", min=1, help="Connections at once, of all.")
    ] = 1024,
    max_calls: Annotated[
        int, typer.Option(metavar="N", min=1, help="Calls at once, of all; each takes a thread.")
    ] = 512,
    max_calls_per_authority: Annotated[
        int, typer.Option(metavar="N", min=1, help="Calls at once, of one authority.")
    ] = 256,
    max_mib: Annotated[
        int, typer.Option(metavar="MIB", min=8, help="Memory for messages under way, of all.")
    ] = 256,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Calls worked on at once; four a core, 16 at least, if absent."
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="Answer /healthz, /readyz and /metrics there; this machine's loopback only.",
        ),
    ] = None,
    log_format: Annotated[
        LogFormat,
        typer.Option(help="json: a JSON line for each event and entry, on standard error."),
    ] = LogFormat.TEXT,
    heartbeat: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=1.0,
            help="How often the log says that nothing happened, so that silence can be proved.",
        ),
    ] = 3600.0,
    format_: Format = None,
    encoding: Encoding = "utf-8",
    delimiter: Delimiter = ",",
    no_header: NoHeader = False,
    as_text: AsText = False,
    as_json: Json = False,
) -> None:
    """Serve datasets and lists to pinned authorities.

    Says in one line where it listens, once it does. SIGHUP reads certificate, policy, peers, datasets and lists again. SIGINT and SIGTERM let open exchanges end within --grace and leave the rest to the next start, after which they can go on; a second signal stops at once.
    """
    columns = [
        psishare.KeyColumn.parse(key, namespace=namespace, region=region) for key in keys or []
    ]
    _require_pairs(data or [], columns, names or [])
    reading = Reading(format_, encoding, delimiter, no_header, as_text)
    lists = [
        psishare.ListSource(
            reading.open(file, column.column),
            column,
            name,
        )
        for file, column, name in zip(data or [], columns, names or [], strict=True)
    ]
    from psishare.client.service import Service  # noqa: PLC0415  help must not load it

    with contextlib.ExitStack() as stack:
        lines = stack.enter_context(_json_log()) if log_format is LogFormat.JSON else None
        party = stack.enter_context(psishare.Party.open(home))
        with shown(quiet=as_json or lines is not None) as report:
            server = party.serve(
                listen,
                datasets=datasets or [],
                lists=lists,
                out=out,
                idle_timeout_s=idle_timeout,
                limits=psishare.Limits.of(
                    connections=max_connections,
                    calls=max_calls,
                    calls_per_caller=max_calls_per_authority,
                    mib_in_flight=max_mib,
                    workers=workers,
                ),
                exchanges_per_authority=max_exchanges,
                health=metrics,
                heartbeat_s=heartbeat,
                progress=report,
                logged=_teller(lines, as_json=as_json),
            )
        # Until here a signal ends the process as it ends any other.
        Service(_Told(lines, as_json=as_json), grace_s=grace).run(server)


class _Told:
    """Tells of what happens to the service, as lines for people or as JSON lines."""

    def __init__(self, lines: "ServerLog | None", *, as_json: bool) -> None:
        self._lines = lines
        self._as_json = as_json

    def started(self, server: "psishare.Server") -> None:
        if self._lines is not None:
            self._lines.event(
                "serve.started",
                address=server.address,
                health=server.health_address,
                datasets=server.datasets,
                recovered=server.recovered,
                restored=server.restored,
                lists=_lists(server),
            )
        else:
            _warn_of_lists(server)
        _say_ready(server, as_json=self._as_json)

    def reloaded(self, server: "psishare.Server") -> None:
        text = f"reloaded: serving {', '.join(server.datasets)}"
        self._tell("serve.reloaded", text, lists=_lists(server))
        if self._lines is None:
            _warn_of_lists(server)

    def reload_failed(self, error: PsishareError) -> None:
        if self._lines is not None:
            self._lines.failure("serve.reload_failed", reason=error.reason, message=error.message)
        else:
            tell(f"error: not reloaded, all is as it was before: {error.diagnostics()}")

    def stopping(self, grace_s: float) -> None:
        text = f"stopping: exchanges that are open have {grace_s:g} s to end"
        self._tell("serve.stopping", text, grace_s=grace_s)

    def stopped(self, n_left: int) -> None:
        self._tell("serve.stopped", f"stopped; exchanges left open: {n_left}", left=n_left)

    def _tell(self, event: str, text: str, **fields: object) -> None:
        if self._lines is not None:
            self._lines.event(event, **fields)
        elif _watched(as_json=self._as_json):
            tell(text)


@contextlib.contextmanager
def _json_log() -> "Iterator[ServerLog]":
    from psishare.client.server_log import ServerLog  # noqa: PLC0415  help must not load it

    with contextlib.closing(ServerLog(sys.stderr)) as lines:
        yield lines


def _teller(lines: "ServerLog | None", *, as_json: bool) -> "Callable[[Entry], None] | None":
    """Return what hears of each entry of the log, where anybody listens."""
    if lines is not None:
        return lines.entry
    return _tell_logged if _watched(as_json=as_json) else None


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
        case ExchangeHeld():
            text = f"exchange {short(entry.exchange_id)} of {entry.peer} held until {entry.expires}"
        case ExchangeApproved() | ExchangeRejected():
            text = f"exchange {short(entry.exchange_id)} {_decided(entry)} by {entry.operator}"
        case DatasetDelivered():
            text = f"dataset {entry.dataset}, epoch {entry.epoch}, delivered to {entry.peer}"
        case _:
            text = entry.type
    tell(f"{moment(entry.time)}  {text}")


def _decided(entry: ExchangeApproved | ExchangeRejected) -> str:
    return "approved" if isinstance(entry, ExchangeApproved) else "rejected"


def _say_ready(server: "psishare.Server", *, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "listening": server.address,
                "datasets": server.datasets,
                "health": server.health_address,
                "recovered": server.recovered,
                "restored": server.restored,
                "lists": _lists(server),
            }
        )
        return
    if server.recovered:
        tell(_exchanges(server.recovered, "recorded as aborted"))
    if server.restored:
        tell(_exchanges(server.restored, "open again"))
    if server.health_address is not None:
        tell(f"health and metrics on {server.health_address}")
    say(f"listening on {server.address}")


def _lists(server: "psishare.Server") -> dict[str, dict[str, object]]:
    """Return the rows of each list in figures, and how many are left out for which reason."""
    return {
        name: {"rows": counts.rows, "rejected": counts.rejected}
        for name, counts in server.lists.items()
    }


def _warn_of_lists(server: "psishare.Server") -> None:
    for name, counts in server.lists.items():
        warning = list_warning(name, counts)
        if warning is not None:
            tell(warning)


def _exchanges(n_exchanges: int, what: str) -> str:
    if n_exchanges == 1:
        return f"1 exchange of a process that ended is {what}"
    return f"{number(n_exchanges)} exchanges of a process that ended are {what}"
