"""Many exchanges at once against one ``serve``, beside one client on its own.

``python -m benchmarks.concurrency`` starts one platform and four authorities, each a process that runs
25 exchanges at once, 100 in all; before that, one of them runs some one after the other. It prints rows
per second of both, the peak memory of ``serve``, and fails unless every exchange ended with the right
number of matches and stands in both logs as closed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

import psishare
from psishare.audit.entry import ExchangeAborted, ExchangeClosed, parse_entry
from psishare.mandates.envelope import sign_envelope

if TYPE_CHECKING:
    from collections.abc import Sequence

PLATFORM, ISSUER, VALIDATOR = "tele.example", "prosecutor.example", "court.example"
ROOT = Path(__file__).parent.parent
CUSTOMERS = 100_000
EVERY = 10
"""Every so many rows of a list are a customer's."""

FIRST_CUSTOMER, FIRST_STRANGER = 4_915_100_000_000, 4_915_200_000_000


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is run.

    Attributes:
        clients: client processes, each an authority of its own.
        at_once: exchanges that each of them runs at once.
        alone: exchanges that one of them runs one after the other, for comparison.
        rows: of each exchange.
    """

    clients: int = 4
    at_once: int = 25
    alone: int = 8
    rows: int = 32_768


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured.

    Attributes:
        alone: rows per second of one client, one exchange after the other.
        together: rows per second of all clients together.
        seconds: of the exchanges at once.
        cpu_alone: processor microseconds of all processes for each row of the client alone.
        cpu_together: the same, of all clients together.
        server_bytes: the largest resident set of ``serve``, after the client alone and at the end.
        closed: exchanges that stand as closed in the platform's log.
    """

    alone: float
    together: float
    seconds: float
    cpu_alone: float
    cpu_together: float
    server_bytes: tuple[int, int]
    closed: int


def suspects(rows: int) -> pa.Table:
    """Return a list of numbers, every tenth of which is a customer's."""
    numbers = [
        f"+{(FIRST_CUSTOMER if i % EVERY == 0 else FIRST_STRANGER) + i}" for i in range(rows)
    ]
    return pa.table({"number": numbers})


class Town:
    """A platform, its issuers, and authorities that have all pinned each other.

    Args:
        folder: an empty folder.
        plan: says how many authorities there are.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.folder = folder
        self.authorities = [f"police-{i}.example" for i in range(plan.clients)]
        roles = {PLATFORM: "platform", ISSUER: "issuer", VALIDATOR: "issuer"}
        roles |= dict.fromkeys(self.authorities, "authority")
        self.homes = {
            name: psishare.init_party(
                folder / name, party_id=name, role=role, display_name=name, passphrase=None
            )
            for name, role in roles.items()
        }
        self._pin(PLATFORM, ISSUER, "issuer")
        self._pin(PLATFORM, VALIDATOR, "validator")
        for authority in self.authorities:
            self._pin(PLATFORM, authority)
            self._pin(authority, PLATFORM)
        customers = pa.table({"number": [f"+{FIRST_CUSTOMER + i}" for i in range(CUSTOMERS)]})
        with psishare.Party.open(folder / PLATFORM) as party:
            party.encode(customers, "phone=number", name="customers")

    def _pin(self, at: str, whom: str, *trusted_as: str) -> None:
        card = self.homes[whom].card
        psishare.pin_peer(
            self.homes[at],
            self.homes[whom].export_card(),
            fingerprint=card.fingerprint(),
            trusted_as=frozenset(trusted_as),
        )

    def mandate(self, authority: str) -> Path:
        """Write a signed mandate for one authority."""
        now = datetime.now(UTC)
        drafted = psishare.draft_mandate(
            self.homes[ISSUER],
            "case 1",
            issuer=ISSUER,
            validator=VALIDATOR,
            validator_role="court",
            authority=authority,
            platform=PLATFORM,
            kinds=["phone"],
            outputs=["matches"],
            max_rows_per_exchange=10_000_000,
            max_rows_total=1_000_000_000,
            max_exchanges=10_000,
            jurisdiction="XX",
            legal_basis="Code of criminal procedure, section 100",
            purpose="to find accounts of suspects",
            not_before=now - timedelta(days=1),
            not_after=now + timedelta(days=1),
            now=now,
        )
        envelope = drafted.envelope
        for name in (ISSUER, VALIDATOR):
            envelope = sign_envelope(envelope, self.homes[name].log_signer(), party=name)
        path = self.folder / f"{authority}.mandate"
        path.write_bytes(envelope)
        return path


class Client:
    """One client process; it runs what it is told on standard input, a line an order."""

    def __init__(self, town: Town, authority: str, address: str, rows: int) -> None:
        arguments = [str(town.folder / authority), address, str(town.mandate(authority)), str(rows)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.concurrency", "client", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def run(self, exchanges: int, at_once: int) -> dict[str, Any]:
        """Run exchanges, and return what the client says of them."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{exchanges} {at_once}\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def end(self) -> None:
        """Let it end."""
        self._process.communicate(timeout=60)


def client(home: Path, address: str, mandate: Path, rows: int) -> None:
    """Run exchanges as the lines on standard input say: how many, and how many at once."""
    table = suspects(rows)
    with psishare.Party.open(home) as party:

        def exchange(_number: int) -> int:
            with party.connect(PLATFORM, address, timeout_s=600) as session:
                match = session.match(
                    table, key="phone=number", dataset="customers", mandate=mandate
                )
            return match.count

        for line in sys.stdin:
            exchanges, at_once = map(int, line.split())
            with ThreadPoolExecutor(at_once) as pool:
                counts = list(pool.map(exchange, range(exchanges)))
            print(json.dumps({"counts": counts}), flush=True)


def cpu_s(pids: Sequence[int]) -> float:
    """Return the processor time that processes have taken so far, seconds."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_bytes(pid: int) -> int:
    """Return the largest resident set that a process has had."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def run(folder: Path, plan: Plan, *serve_options: str) -> Figures:
    """Run the plan and return what was measured.

    Raises:
        RuntimeError: an exchange was lost or gave a wrong result.
    """
    town = Town(folder, plan)
    serve = subprocess.Popen(
        [
            *(sys.executable, "-m", "psishare.cli", "serve", "--home", str(folder / PLATFORM)),
            *("--listen", "127.0.0.1:0", "--dataset", "customers", "--json", *serve_options),
        ],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert serve.stdout is not None
        address = json.loads(serve.stdout.readline())["listening"]
        clients = [Client(town, name, address, plan.rows) for name in town.authorities]
        counts = [n for each in clients for n in each.run(1, 1)["counts"]]
        pids = [serve.pid, *(each.pid for each in clients)]
        started, used = time.monotonic(), cpu_s(pids)
        counts += clients[0].run(plan.alone, 1)["counts"]
        alone = plan.alone * plan.rows / (time.monotonic() - started)
        cpu_alone = (cpu_s(pids) - used) / (plan.alone * plan.rows) * 1e6
        before = peak_bytes(serve.pid)
        started, used = time.monotonic(), cpu_s(pids)
        with ThreadPoolExecutor(plan.clients) as pool:
            answers = list(pool.map(lambda each: each.run(plan.at_once, plan.at_once), clients))
        seconds = time.monotonic() - started
        n_rows = plan.clients * plan.at_once * plan.rows
        cpu_together = (cpu_s(pids) - used) / n_rows * 1e6
        counts += [n for answer in answers for n in answer["counts"]]
        after = peak_bytes(serve.pid)
        for each in clients:
            each.end()
    finally:
        serve.terminate()
        serve.communicate(timeout=60)
    closed = require_all(town, plan, counts)
    memory = (before, after)
    return Figures(alone, n_rows / seconds, seconds, cpu_alone, cpu_together, memory, closed)


def require_all(town: Town, plan: Plan, counts: Sequence[int]) -> int:
    """Require every exchange to be right, and closed in both logs; return how many.

    Raises:
        RuntimeError: one is not.
    """
    expected = plan.clients * (plan.at_once + 1) + plan.alone
    right = -(-plan.rows // EVERY)
    ends = [_ends(town.folder / name) for name in (PLATFORM, *town.authorities)]
    closed = ends[0][0]
    if list(counts) != [right] * expected:
        raise RuntimeError(
            f"of {expected} exchanges {list(counts).count(right)} gave {right} matches"
        )
    if (closed, sum(n for n, _ in ends[1:])) != (expected, expected) or any(n for _, n in ends):
        raise RuntimeError(f"closed and aborted in the logs: {ends}, and {expected} were run")
    return closed


def _ends(home: Path) -> tuple[int, int]:
    with psishare.Party.open(home) as party:
        entries = [parse_entry(data) for data in party.log.entries(0, party.log.size)]
    closed = sum(isinstance(entry, ExchangeClosed) for entry in entries)
    return closed, sum(isinstance(entry, ExchangeAborted) for entry in entries)


def main() -> None:
    """Run the benchmark, or be one of its clients."""
    if sys.argv[1:2] == ["client"]:
        home, address, mandate, rows = sys.argv[2:]
        client(Path(home), address, Path(mandate), int(rows))
        return
    plan = Plan()
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("clients", "at_once", "alone", "rows"):
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=int, default=getattr(plan, name))
    plan = Plan(**vars(parser.parse_args()))
    with tempfile.TemporaryDirectory() as folder:
        figures = run(Path(folder), plan)
    before, after = (n / 2**20 for n in figures.server_bytes)
    print(f"cores                       {os.cpu_count()}")
    print(f"exchanges at once           {plan.clients * plan.at_once} of {plan.rows:,} rows")
    print(f"one client alone            {figures.alone:,.0f} rows/s")
    print(f"all together                {figures.together:,.0f} rows/s, {figures.seconds:.1f} s")
    print(f"together / alone            {figures.together / figures.alone:.2f}")
    print(f"processor time of all       {figures.cpu_alone:.1f} µs a row alone,", end=" ")
    print(f"{figures.cpu_together:.1f} µs a row together")
    print(f"peak memory of serve        {before:,.0f} MiB alone, {after:,.0f} MiB together")
    print(f"closed in both logs, right  {figures.closed}")


if __name__ == "__main__":
    main()
