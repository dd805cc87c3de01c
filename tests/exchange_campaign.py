"""The chaos campaign: exchanges whose processes are killed and paused, and whose connections are cut.

    python tests/exchange_campaign.py [EXCHANGES] [SEED]

``serve`` and ``match`` are processes, with a breaking proxy between them. Whatever happens, every exchange
ends, gone on or closed; both logs tell the same; what was charged is what was asked, once; every result is
right, and there is none of an exchange that failed. The short form runs with the tests.
"""

from __future__ import annotations

import contextlib
import csv
import json
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from breaking_proxy import BreakingProxy
from cli_stage import AUTHORITY, PLATFORM, PROGRAM, Office, psi

import psishare

if TYPE_CHECKING:
    from collections.abc import Callable

EXCHANGES = 200
FRAME_ROWS = 40
N_OURS, N_THEIRS, N_COMMON = 400, 300, 120
FEWEST_BYTES, MOST_BYTES = 3_000, 130_000
"""Between them lies the byte at which a fault comes: from the first greeting to the last cosignature."""
RUNS_AT_MOST = 12
FAULTY_RUNS = 4
RUN_S = 120.0
READY_S = 60.0
GIVES_UP = 0.1
"""How likely an exchange is abandoned where it could go on."""
HOW = [
    ("customers", "oprf", "matches"),
    ("listed", "ecdh", "matches"),
    ("listed", "ecdh", "count"),
    ("listed", "ecdh", "both"),
]


def numbers(start: int, count: int) -> list[str]:
    """Return phone numbers, one after the other."""
    return [f"+4915112{index:06d}" for index in range(start, start + count)]


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@dataclass
class Tally:
    """What came of the exchanges, and which faults were made."""

    endings: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    resumed: int = 0


class Campaign:
    """Two parties, the platform's process, and the proxy before it.

    Args:
        folder: an empty folder.
        seed: draws every fault.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.draw = random.Random(seed)
        self.tally = Tally()
        self.office = Office(folder)
        self.theirs = self.office.table("customers.csv", "number", numbers(0, N_THEIRS))
        self.office.customers = self.theirs
        self.office.encode()
        ours = numbers(N_THEIRS - N_COMMON, N_OURS)
        self.draw.shuffle(ours)
        self.ours = self.office.table("suspects.csv", "phone", ours)
        held = set(numbers(0, N_THEIRS))
        self.expected = [row for row, number in enumerate(ours, 1) if number in held]
        self.mandate = self.office.mandate(max_rows_total=10_000_000, max_exchanges=10_000)
        self.results = folder / "results"
        self.results.mkdir()
        self.port = free_port()
        self.proxy = BreakingProxy(self.port)
        self._server: subprocess.Popen[str] | None = None
        self._match: subprocess.Popen[str] | None = None
        self._timers: list[threading.Timer] = []

    def close(self) -> None:
        """End every process and the proxy."""
        for timer in self._timers:
            timer.cancel()
        for process in (self._match, self._server):
            if process is not None:
                process.kill()
                process.communicate()
        self.proxy.close()

    # The platform.

    def serve(self, *, idle_timeout_s: float = 600.0) -> dict[str, Any]:
        """Start the platform's process, unless it is there, and return what it says when ready."""
        if self._server is not None and self._server.poll() is None:
            return {}
        self._server = subprocess.Popen(
            [
                *(*PROGRAM, "serve", "--home", str(self.office.home(PLATFORM)), "--json"),
                *("--listen", f"127.0.0.1:{self.port}", "--dataset", "customers"),
                *("--data", str(self.theirs), "--key", "phone=number", "--name", "listed"),
                *("--idle-timeout", str(idle_timeout_s), "--out", str(self.results / "theirs")),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._server.stdout is not None
        line = self._server.stdout.readline()
        assert line, f"serve ended with {self._server.wait()}"
        ready: dict[str, Any] = json.loads(line)
        return ready

    # Faults.

    def faults(self) -> list[tuple[int, Callable[[], None]]]:
        """Draw up to two faults, and the bytes at which they come."""
        kinds: list[tuple[str, Callable[[], None]]] = [
            ("connections cut", self.proxy.cut),
            ("connections held", self._hold),
            ("platform killed", lambda: self._signal(self._server, signal.SIGKILL)),
            ("authority killed", lambda: self._signal(self._match, signal.SIGKILL)),
            ("platform paused", lambda: self._pause(self._server)),
            ("authority paused", lambda: self._pause(self._match)),
        ]
        chosen = self.draw.choices(kinds, k=self.draw.randint(1, 2))
        return [
            (self.draw.randint(FEWEST_BYTES, MOST_BYTES), self._counted(name, fault))
            for name, fault in chosen
        ]

    def _counted(self, name: str, fault: Callable[[], None]) -> Callable[[], None]:
        def happen() -> None:
            self.tally.faults[name] += 1
            fault()

        return happen

    def _signal(self, process: subprocess.Popen[str] | None, signum: int) -> None:
        if process is not None and process.poll() is None:
            process.send_signal(signum)

    def _pause(self, process: subprocess.Popen[str] | None) -> None:
        self._signal(process, signal.SIGSTOP)
        self._later(lambda: self._signal(process, signal.SIGCONT))

    def _hold(self) -> None:
        self.proxy.hold()
        self._later(self.proxy.release)

    def _later(self, act: Callable[[], None]) -> None:
        timer = threading.Timer(self.draw.uniform(0.1, 1.5), act)
        timer.daemon = True
        self._timers.append(timer)
        timer.start()

    # The authority.

    def exchange(self, number: int) -> str:
        """Run one exchange to its end, whatever happens, and return how it ended."""
        dataset, protocol, output = self.draw.choice(HOW)
        out = self.results / f"{number}.csv"
        begin = [
            *("match", "--home", str(self.office.home(AUTHORITY)), "--platform", PLATFORM),
            *("--address", f"127.0.0.1:{self.proxy.port}", "--dataset", dataset),
            *("--mandate", str(self.mandate), "--data", str(self.ours), "--key", "phone=phone"),
            *("--protocol", protocol, "--output", output),
            *(() if output == "count" else ("--out", str(out))),
        ]
        before = self._known()
        arguments, exchange_id = begin, None
        for run in range(RUNS_AT_MOST):
            self.serve()
            self.proxy.schedule(self.faults() if run < FAULTY_RUNS else [])
            told = self._run(arguments)
            if told is not None and "exchange_id" in told:
                self._require_right(told, output, out)
                return "closed"
            new = self._known().keys() - before.keys()
            assert len(new) <= 1, "one command began two exchanges"
            exchange_id = next(iter(new), None)
            if exchange_id is None:
                continue
            state = self._known()[exchange_id]
            if state in {"aborted", "refused"}:
                assert not out.exists(), "a result of an exchange that failed"
                return f"{state}: {self._reason(exchange_id)}"
            if state in {"offered", "opened"} and self._gives_up(exchange_id):
                assert not out.exists(), "a result of an exchange that was given up"
                return "abandoned"
            self.tally.resumed += 1
            arguments = ["match", *self._home(AUTHORITY), "--resume", exchange_id]
        raise AssertionError(f"exchange {number} does not end: {exchange_id}, {told}")

    def _gives_up(self, exchange_id: str) -> bool:
        """Abandon an exchange that could go on, now and then."""
        abandoning = ("exchange", "abandon", exchange_id, *self._home(AUTHORITY))
        return self.draw.random() < GIVES_UP and psi(*abandoning).code == 0

    def _run(self, arguments: list[str]) -> dict[str, Any] | None:
        """Run ``match`` and return what it tells; None where it was killed."""
        program = [sys.executable, str(Path(__file__).with_name("small_frames.py"))]
        self._match = subprocess.Popen(
            [
                *program,
                str(FRAME_ROWS),
                *arguments,
                "--json",
                "--timeout",
                "10",
                "--retry-for",
                "60",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        keeper = threading.Thread(target=self._keep_serving, args=(self._match,), daemon=True)
        keeper.start()
        try:
            out, _err = self._match.communicate(timeout=RUN_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"match hangs: {arguments}") from None
        finally:
            keeper.join(READY_S)
        if self._match.returncode == -signal.SIGKILL:
            return None
        told: dict[str, Any] = json.loads(out)
        assert self._match.returncode != 70, told
        return told

    def _keep_serving(self, match: subprocess.Popen[str]) -> None:
        """Start the platform again whenever it was killed, as long as ``match`` runs."""
        while match.poll() is None:
            if self._server is not None and self._server.poll() is not None:
                self.serve()
            with contextlib.suppress(subprocess.TimeoutExpired):
                match.wait(0.1)

    def _home(self, party: str) -> tuple[str, str]:
        return "--home", str(self.office.home(party))

    def _known(self) -> dict[str, str]:
        """Return the authority's exchanges and their states."""
        with psishare.Party.open(self.office.home(AUTHORITY)) as party:
            return {row.exchange_id.hex(): row.state.value for row in party.exchanges()}

    def _reason(self, exchange_id: str) -> str | None:
        with psishare.Party.open(self.office.home(AUTHORITY)) as party:
            return party.exchange(exchange_id).reason

    def _require_right(self, told: dict[str, Any], output: str, out: Path) -> None:
        assert told["matched"] == N_COMMON, told
        assert told["asked"] == N_OURS, told
        if output == "count":
            assert not out.exists()
            return
        with out.open(encoding="utf-8", newline="") as file:
            assert [int(row["row"]) for row in csv.DictReader(file)] == self.expected

    # The end.

    def finish(self) -> None:
        """Let everything end that nobody went on with, and compare what both sides hold."""
        self.proxy.schedule([])
        self._stop_serving()
        self.serve(idle_timeout_s=1.0)
        deadline_s = time.monotonic() + READY_S
        while self._budget_open() and time.monotonic() < deadline_s:
            time.sleep(0.2)
        # The authority reaches the platform once more, and hears what has ended there.
        assert self._run(self._last())["exchange_id"]  # type: ignore[index]
        self._stop_serving()
        stories = {party: self._story(party) for party in (PLATFORM, AUTHORITY)}
        for exchange_id, there in stories[PLATFORM].items():
            here = stories[AUTHORITY].get(exchange_id)
            assert there["ending"] != "open", there
            if here is not None:
                assert here["ending"] != "open", here
                assert (here["ending"] == "closed") == (there["ending"] == "closed"), (here, there)
        reconciled = psi(
            *("audit", "reconcile", self.office.homes[AUTHORITY].log_path),
            *(self.office.homes[PLATFORM].log_path, "--json"),
            *("--trust", self.office.card(PLATFORM), "--trust", self.office.card(AUTHORITY)),
        )
        assert reconciled.code == 0, reconciled.out
        self._require_exact_budget(stories[PLATFORM])
        self._require_no_leftover(stories)

    def _last(self) -> list[str]:
        return [
            *("match", *self._home(AUTHORITY), "--platform", PLATFORM, "--dataset", "listed"),
            *("--address", f"127.0.0.1:{self.proxy.port}", "--mandate", str(self.mandate)),
            *("--data", str(self.ours), "--key", "phone=phone", "--protocol", "ecdh"),
            *("--output", "count"),
        ]

    def _stop_serving(self) -> None:
        assert self._server is not None
        self._signal(self._server, signal.SIGTERM)
        self._server.communicate(timeout=READY_S)

    def _story(self, party: str) -> dict[str, dict[str, Any]]:
        verified = self.office.verify(party)
        assert verified.code == 0, verified.out
        return {each["exchange_id"]: each for each in verified.document["exchanges"]}

    def _budget_open(self) -> int:
        return len(self._charged("released = 0"))

    def _charged(self, where: str = "1") -> dict[str, int]:
        database = sqlite3.connect(self.office.homes[PLATFORM].state_path, timeout=30)
        rows = database.execute(
            f"SELECT exchange_id, rows_charged FROM budget_exchanges WHERE {where}"
        ).fetchall()
        database.close()
        return {exchange_id.hex(): n_rows for exchange_id, n_rows in rows}

    def _require_exact_budget(self, story: dict[str, dict[str, Any]]) -> None:
        charged = self._charged()
        for exchange_id, told in story.items():
            if told["ending"] == "closed":
                assert charged[exchange_id] == N_OURS
            if told["ending"] != "refused":
                assert told["rows"] == charged.get(exchange_id, 0), told
        assert self._budget_open() == 0

    def _require_no_leftover(self, stories: dict[str, dict[str, dict[str, Any]]]) -> None:
        """Assert that neither party has a result of an exchange that is not closed."""
        closed = {i for i, told in stories[PLATFORM].items() if told["ending"] == "closed"}
        theirs = self.results / "theirs"
        if theirs.exists():
            assert {path.stem for path in theirs.iterdir()} <= closed
        assert not [p for p in self.results.rglob("*") if p.is_file() and p.suffix != ".csv"]
        folders = self.office.home(AUTHORITY) / "exchanges"
        kept = [*folders.glob("*/unfinished.sealed"), *folders.glob("*/task.sealed")]
        ended = [path for path in kept if path.parent.name in stories[AUTHORITY]]
        assert ended == [], "something of an exchange that is over is still kept"


def campaign(n_exchanges: int, folder: Path, seed: int) -> Tally:
    """Run so many exchanges among faults, and require what is promised; return what came of them."""
    running = Campaign(folder, seed)
    try:
        for number in range(n_exchanges):
            running.tally.endings[running.exchange(number)] += 1
            if (number + 1) % 20 == 0:
                print(f"{number + 1} exchanges: {dict(running.tally.endings)}", flush=True)
        running.finish()
    finally:
        running.close()
    return running.tally


def main() -> None:
    """Run the campaign with a seed that is printed, so that it can be run again."""
    n_exchanges = int(sys.argv[1]) if len(sys.argv) > 1 else EXCHANGES
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else time.time_ns() % 2**32
    began = time.monotonic()
    print(f"{n_exchanges} exchanges, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        tally = campaign(n_exchanges, Path(folder), seed)
    print(
        f"{n_exchanges} exchanges: {dict(sorted(tally.endings.items()))};"
        f" gone on {tally.resumed} times by --resume; faults {dict(sorted(tally.faults.items()))};"
        f" every result right, both logs reconcile, budgets exact; {time.monotonic() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
