"""Exchanges by files beside an event loop: the same steps, and each of them can be stopped."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from cli_stage import AUTHORITY, MATCHING, PLATFORM, Office

import psishare
from psishare.audit.entry import ExchangeAborted, parse_entry
from psishare.client.opened_home import open_log

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
    from pathlib import Path

WAIT_S = 60.0
STEPS = ("export", "synchronise", "request", "answer", "finish", "confirm", "release")


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    made = Office(tmp_path_factory.mktemp("office"))
    made.encode()
    made.mandate(standing=True)
    return made


class Both:
    """Both sides, each with an opened party, and the files between them."""

    def __init__(
        self, office: Office, folder: Path, platform: Any, authority: Any, progress: Any
    ) -> None:
        self.mandate = office.folder / "case.mandate"
        self.suspects = office.suspects
        self.folder = folder
        self.platform = psishare.AsyncAirGap(platform)
        self.authority = psishare.AsyncAirGap(authority)
        self.progress = progress

    def take(self, step: str) -> Coroutine[Any, Any, Any]:
        """Begin a step; its parcel, where it makes one, has its name."""
        steps: dict[str, Callable[..., Coroutine[Any, Any, Any]]] = {
            "export": lambda **more: self.platform.export(
                "customers", mandate=self.mandate, authority=AUTHORITY, **more
            ),
            "request": lambda **more: self.authority.request(
                self.suspects,
                key=psishare.KeyColumn("phone", "phone", region="DE"),
                platform=PLATFORM,
                dataset="customers",
                mandate=self.mandate,
                **more,
            ),
            "answer": lambda **more: self.platform.answer(
                self.file("request"), datasets=["customers"], **more
            ),
            "finish": lambda **more: self.authority.finish(self.file("answer"), **more),
            "confirm": lambda **more: self.platform.confirm(
                self.file("finish"), datasets=["customers"], **more
            ),
            "release": lambda **more: self.authority.release(self.file("confirm"), **more),
        }
        if step == "synchronise":
            return self.authority.synchronise(
                self.file("export"), mandate=self.mandate, progress=self.progress
            )
        return steps[step](out=self.file(step), progress=self.progress)

    def file(self, step: str) -> Path:
        return self.folder / (f"{step}.csv" if step == "release" else f"{step}.parcel")


@asynccontextmanager
async def both(office: Office, folder: Path, progress: Any) -> AsyncIterator[Both]:
    async with (
        await psishare.AsyncParty.open(office.home(PLATFORM)) as platform,
        await psishare.AsyncParty.open(office.home(AUTHORITY)) as authority,
    ):
        yield Both(office, folder, platform, authority, progress)


def test_every_step_is_a_coroutine_that_reports_in_its_loop(office: Office, tmp_path: Path) -> None:
    steps: set[str] = set()

    async def run() -> tuple[Any, str]:
        here = threading.get_ident()

        def report(step: str, _done: int, _total: int) -> None:
            assert threading.get_ident() == here
            steps.add(step)

        async with both(office, tmp_path, report) as sides:
            for step in STEPS:
                made = await sides.take(step)
            return made, await sides.authority.output(sides.file("confirm"))

    match, output = asyncio.run(run())
    assert match.matches.column("row").to_pylist() == [str(row) for row in MATCHING]
    assert output == "matches"
    assert steps >= {"reading", "asking", "answering"}


class Held(psishare.Cancellation):
    """A cancellation that holds the work at a step until it has been asked to stop."""

    at = ""

    def watching(self, progress: Any) -> Any:
        watched = super().watching(progress)

        def report(step: str, done: int, total: int) -> None:
            if step == self.at:
                progress("held", done, total)
                self._requested.result(WAIT_S)
            watched(step, done, total)

        return report


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Held]]:
    monkeypatch.setattr("psishare.client.background.Cancellation", Held)
    yield Held
    Held.at = ""


@pytest.mark.parametrize(
    ("stopped", "at", "reasons"),
    [
        ("export", "exporting", []),
        ("request", "reading", []),
        ("request", "asking", ["cancelled"]),
        ("answer", "answering", []),
        ("finish", "reading", []),
        ("confirm", "answering", []),
        ("release", "reading", []),
    ],
)
def test_a_step_that_is_stopped_leaves_no_file_and_can_be_made_again(
    office: Office, tmp_path: Path, held: type[Held], stopped: str, at: str, reasons: list[str]
) -> None:
    before = aborts(office)

    async def run() -> Any:
        tasks: list[asyncio.Task[Any]] = []

        def report(step: str, _done: int, _total: int) -> None:
            if step == "held":
                tasks[0].cancel()

        async with both(office, tmp_path, report) as sides:
            for step in STEPS:
                if step == stopped:
                    held.at = at
                    tasks.append(asyncio.ensure_future(sides.take(step)))
                    with pytest.raises(asyncio.CancelledError):
                        await tasks[0]
                    held.at = ""
                    assert not sides.file(step).exists()
                    assert aborts(office)[len(before) :] == reasons
                made = await sides.take(step)
            return made

    match = asyncio.run(run())
    assert match.matches.column("row").to_pylist() == [str(row) for row in MATCHING]


def aborts(office: Office) -> list[str]:
    """Return the reasons of the aborts that both logs tell of."""
    reasons = []
    for party in (PLATFORM, AUTHORITY):
        log = open_log(office.homes[party])
        found = [parse_entry(data) for data in log.entries(0, log.size)]
        reasons += [entry.reason for entry in found if isinstance(entry, ExchangeAborted)]
    return reasons
