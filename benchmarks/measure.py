"""Run processes and tell what they cost: wall time, processor time, peak memory, bytes sent."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_INTERFACES = Path("/proc/net/dev")
POLL_S = 0.005


@dataclass(frozen=True, slots=True)
class Cost:
    """What some processes cost together.

    Attributes:
        wall_s: from the first start to the last end.
        cpu_s: user and system time, summed.
        peak_bytes: the largest resident set of any one process.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int

    def __add__(self, other: Cost) -> Cost:
        """Return the cost of one after the other."""
        return Cost(
            self.wall_s + other.wall_s,
            self.cpu_s + other.cpu_s,
            max(self.peak_bytes, other.peak_bytes),
        )

    def beside(self, other: Cost) -> Cost:
        """Return the cost of both at the same time."""
        return Cost(
            max(self.wall_s, other.wall_s),
            self.cpu_s + other.cpu_s,
            max(self.peak_bytes, other.peak_bytes),
        )


class MeasuredError(RuntimeError):
    """A process that was measured failed, or answered wrongly."""


@dataclass
class Running:
    """A process that has been started."""

    process: subprocess.Popen[str]
    started: float
    command: Sequence[str]
    usage: list[tuple[float, int]] = field(default_factory=list)

    def finish(self, *, may_fail: bool = False) -> Cost:
        """Wait for the end and return the cost.

        Raises:
            MeasuredError: it failed.
        """
        cost = self.finished(wait=True, may_fail=may_fail)
        assert cost is not None
        return cost

    def finished(self, *, wait: bool = False, may_fail: bool = False) -> Cost | None:
        """Return the cost, or None while it runs.

        Raises:
            MeasuredError: it failed.
        """
        pid, status, used = os.wait4(self.process.pid, 0 if wait else os.WNOHANG)
        if pid == 0:
            return None
        wall_s = time.monotonic() - self.started
        self.process.returncode = os.waitstatus_to_exitcode(status)
        if self.process.stdout is not None:
            self.process.stdout.close()
        if self.process.returncode and not may_fail:
            raise MeasuredError(
                f"{Path(self.command[1]).name} ended with {self.process.returncode}"
            )
        return Cost(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)


def start(command: Sequence[str], *, env: dict[str, str] | None = None) -> Running:
    """Start a process; what it prints goes to a pipe."""
    started = time.monotonic()
    process = subprocess.Popen(
        list(command),
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )
    return Running(process, started, command)


def start_quiet(command: Sequence[str], *, cwd: Path | None = None) -> Running:
    """Start a process; what it prints goes nowhere."""
    started = time.monotonic()
    nowhere = subprocess.DEVNULL
    process = subprocess.Popen(list(command), stdout=nowhere, stderr=nowhere, text=True, cwd=cwd)
    return Running(process, started, command)


def finish_together(running: Sequence[Running], within_s: float) -> list[Cost]:
    """Wait for processes that work together; where one fails or hangs, the others are killed.

    Raises:
        MeasuredError: one failed, or they took longer than ``within_s``.
    """
    costs: dict[int, Cost] = {}
    deadline_s = time.monotonic() + within_s
    try:
        while len(costs) < len(running):
            for place, each in enumerate(running):
                if place not in costs and (cost := each.finished()) is not None:
                    costs[place] = cost
            _require_before(deadline_s)
            time.sleep(POLL_S)
    except MeasuredError:
        for each in running:
            # Whoever has been waited for is no process of ours any more.
            if each.process.returncode is None:
                each.process.kill()
                each.finish(may_fail=True)
        raise
    return [costs[place] for place in range(len(running))]


def _require_before(deadline_s: float) -> None:
    if time.monotonic() > deadline_s:
        raise MeasuredError("hung, and was killed")


def run(command: Sequence[str], *, cwd: Path | None = None) -> Cost:
    """Run a process to its end.

    Raises:
        MeasuredError: it failed.
    """
    started = time.monotonic()
    process = subprocess.Popen(list(command), stdout=subprocess.DEVNULL, text=True, cwd=cwd)
    return Running(process, started, command).finish()


def free_ports(count: int) -> list[int]:
    """Return ports on loopback that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


def loopback_bytes() -> int:
    """Return how many bytes the loopback interface has carried, headers included."""
    for line in _INTERFACES.read_text(encoding="ascii").splitlines():
        name, colon, counters = line.partition(":")
        if colon and name.strip() == "lo":
            return int(counters.split()[0])
    raise RuntimeError(f"{_INTERFACES} names no loopback interface")
