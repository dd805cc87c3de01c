"""The budget campaign: concurrent exchanges under one mandate, servers killed meanwhile.

    python tests/budget_campaign.py [EXCHANGES [KILLS [ROUNDS]]]

Several server processes of one home answer them. However they are killed, never is one row charged over
the mandate, by the state, by the log, or by what authority and platform have signed; and no reservation
is lost for good: what is left at the end can be spent to the last row. The short form runs with the tests.
"""

from __future__ import annotations

import base64
import itertools
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from stage import AUTHORITY, PLATFORM, Stage

import psishare
from psishare.audit.entry import ExchangeAborted, ExchangeClosed, ExchangeOpened, parse_entry
from psishare.errors import PsishareError
from psishare.evidence.verify import verify_log
from psishare.exchange.receipt import Receipt
from psishare.mandates.budget import Budget

if TYPE_CHECKING:
    from collections.abc import Callable

SERVERS = 3
ROWS = 20
NAME = "list"
PATIENCE_S = 90.0
TRIES = 5
UNANSWERED = ("peer_unreachable", "peer_silent", "channel_closed")
"""A server was killed: another one is asked, with another offer; the first stays open, to be settled."""
NUMBERS = pa.table({"number": [f"+4915112{n:06d}" for n in range(40)]})
KEY = psishare.KeyColumn("phone", "number")
SERVE = """
import sys, threading
import psishare
from budget_campaign import KEY, NAME, NUMBERS
with psishare.Party.open(sys.argv[1]) as party:
    lists = [psishare.ListSource(NUMBERS, KEY, NAME)]
    with party.serve("127.0.0.1:0", lists=lists, idle_timeout_s=float(sys.argv[2])) as server:
        print(server.address, flush=True)
        threading.Event().wait()
"""


@dataclass
class Told:
    """What came of a round.

    Attributes:
        outcomes: how many exchanges ended how: ``matched``, or a reason.
        most: the most rows that were ever seen reserved and charged.
        charged: rows charged at the end, before what was left was spent.
        kills: servers killed while an exchange was open.
        seconds: how long it took.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    most: int = 0
    charged: int = 0
    kills: int = 0
    seconds: float = 0.0


class Servers:
    """Server processes of one home; each that is killed makes way for a new one."""

    def __init__(self, home: Path, n_servers: int, *, idle_timeout_s: float) -> None:
        self._home = home
        self._idle_timeout_s = idle_timeout_s
        self._lock = threading.Lock()
        self._running = [self._start() for _ in range(n_servers)]
        self._turn = itertools.count()

    def address(self) -> str:
        """Return where one of them listens, each in its turn."""
        with self._lock:
            return self._running[next(self._turn) % len(self._running)][1]

    def kill(self, numbers: random.Random) -> None:
        """Kill one of them and start another one in its place."""
        which = numbers.randrange(len(self._running))
        process, _address = self._running[which]
        process.kill()
        process.wait()
        fresh = self._start()
        with self._lock:
            self._running[which] = fresh

    def stop(self) -> None:
        """Kill them all: none of them says good-bye."""
        for process, _address in self._running:
            process.kill()
            process.wait()

    def _start(self) -> tuple[Popen[str], str]:
        tests = Path(__file__).resolve().parent
        path = f"{tests}:{tests.parent}"
        process = Popen(
            [sys.executable, "-c", SERVE, str(self._home), str(self._idle_timeout_s)],
            stdout=PIPE,
            text=True,
            env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin"},
        )
        assert process.stdout is not None
        with process.stdout as output:
            address = output.readline().strip()
        assert address, "a server did not start"
        return process, address


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until something is so."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"in vain for {what}"
        time.sleep(0.01)


def campaign(
    folder: Path, *, exchanges: int, kills: int, seed: int, n_servers: int = SERVERS
) -> Told:
    """Run one round in an empty folder and assert what must hold throughout."""
    started = time.monotonic()
    stage = Stage(folder)
    # Six in ten can be opened: the rest has to be refused, whatever is killed.
    cap = exchanges * ROWS * 6 // 10
    mandate = stage.mandate(max_rows_total=cap, max_exchanges=10 * exchanges)
    envelope = stage.signed(mandate)
    stage.close()
    home, told = stage.homes[PLATFORM], Told()
    with ExitStack() as stack:
        budget = stack.enter_context(Budget(home.state_path))
        servers = Servers(home.path, n_servers, idle_timeout_s=60.0)
        stack.callback(servers.stop)
        done = threading.Event()
        party = stack.enter_context(psishare.Party.open(stage.homes[AUTHORITY].path))
        killer = threading.Thread(
            target=kill,
            args=(servers, budget, mandate.id, told, done),
            kwargs={"kills": kills, "seed": seed},
        )
        killer.start()
        with ThreadPoolExecutor(exchanges) as pool:
            told.outcomes.update(
                pool.map(lambda _n: ask(party, servers, envelope, ROWS), range(exchanges))
            )
        done.set()
        killer.join()
        servers.stop()
    settle(stage, envelope, mandate.id, cap, told)
    told.seconds = time.monotonic() - started
    return told


def ask(party: psishare.Party, servers: Servers, envelope: bytes, rows: int) -> str:
    """Run one exchange, as an operator would; return how it ended."""
    for _ in range(TRIES):
        outcome = ask_once(party, servers, envelope, rows)
        if outcome not in UNANSWERED:
            break
    return outcome


def ask_once(party: psishare.Party, servers: Servers, envelope: bytes, rows: int) -> str:
    try:
        with party.connect(PLATFORM, servers.address(), timeout_s=30.0, retry_for_s=0.0) as session:
            session.match(
                NUMBERS.slice(0, rows),
                key=KEY,
                dataset=NAME,
                mandate=envelope,
                protocol="ecdh",
                operator="one",
            )
    except PsishareError as error:
        return error.reason
    return "matched"


def kill(
    servers: Servers,
    budget: Budget,
    mandate_id: str,
    told: Told,
    done: threading.Event,
    *,
    kills: int,
    seed: int,
) -> None:
    """Kill a server whenever some more exchanges have opened, and look at the budget always."""
    numbers = random.Random(seed)
    due = numbers.randrange(1, 6)
    while not done.is_set():
        usage = budget.usage(mandate_id)
        told.most = max(told.most, usage.rows)
        if told.kills < kills and usage.exchanges >= due and budget.open_exchanges():
            servers.kill(numbers)
            told.kills += 1
            due = usage.exchanges + numbers.randrange(1, 6)
        time.sleep(0.001)


def settle(stage: Stage, envelope: bytes, mandate_id: str, cap: int, told: Told) -> None:
    """Start once more, let everything end, and assert what is left of the mandate."""
    home = stage.homes[PLATFORM]
    servers = Servers(home.path, 1, idle_timeout_s=1.0)
    try:
        with (
            Budget(home.state_path) as budget,
            psishare.Party.open(stage.homes[AUTHORITY].path) as party,
        ):
            # Nothing stays reserved for good.
            until(lambda: not budget.open_exchanges(), "the last reservation to be freed")
            told.charged = budget.usage(mandate_id).rows
            assert told.charged <= told.most <= cap
            assert told.charged == charged_by_log(stage, mandate_id)
            assert signed_by_both(stage) <= told.charged
            left = cap - told.charged
            while left:
                rows = min(left, ROWS)
                assert ask(party, servers, envelope, rows) == "matched"
                left -= rows
            assert ask(party, servers, envelope, 1) == "budget_rows_exhausted"
            assert budget.usage(mandate_id).rows == cap
    finally:
        servers.stop()
    trust = {name: party.card for name, party in stage.homes.items()}
    for name in (PLATFORM, AUTHORITY):
        verify_log(stage.homes[name].log_path, trust)


def entries(stage: Stage, party: str) -> list[Any]:
    log = psishare.client.opened_home.open_log(stage.homes[party])
    return [parse_entry(data) for data in log.entries(0, log.size)]


def charged_by_log(stage: Stage, mandate_id: str) -> int:
    """Add up what the platform's log says was charged, each exchange by its end."""
    opened, rows = set(), 0
    for entry in entries(stage, PLATFORM):
        match entry:
            case ExchangeOpened() if entry.mandate_id == mandate_id:
                opened.add(entry.exchange_id)
            case ExchangeClosed() | ExchangeAborted() if entry.exchange_id in opened:
                opened.remove(entry.exchange_id)
                rows += entry.rows
            case _:
                pass
    assert opened == set()
    return rows


def signed_by_both(stage: Stage) -> int:
    """Add up the rows of the receipts that the authority's log holds."""
    return sum(
        Receipt.parse(base64.b64decode(entry.receipt)).requests.rows
        for entry in entries(stage, AUTHORITY)
        if isinstance(entry, ExchangeClosed)
    )


def main(arguments: list[str]) -> None:
    """Run the rounds and print what came of each."""
    given = [int(n) for n in arguments]
    exchanges, kills, rounds = (*given, *(50, 12, 10)[len(given) :])
    for seed in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            told = campaign(Path(folder), exchanges=exchanges, kills=kills, seed=seed)
        print(
            f"round {seed}: {exchanges} exchanges, {told.kills} kills, {dict(told.outcomes)}, at most"
            f" {told.most} rows reserved, {told.charged} charged of {exchanges * ROWS * 6 // 10},"
            f" {told.seconds:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main(sys.argv[1:])
