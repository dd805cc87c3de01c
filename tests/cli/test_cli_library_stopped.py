"""A match that is stopped, by whatever means, aborts in both logs and leaves no file."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa
import pytest
from cli_stage import AUTHORITY, MATCHING, PLATFORM, SUSPECTS, Office

import psishare
from psishare.audit.entry import ExchangeAborted, parse_entry
from psishare.client.cancellable_channel import CancellableChannel
from psishare.client.opened_home import open_log
from psishare.errors import CancellationError, InputError, TransportError
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from google.protobuf.message import Message

KEY = psishare.KeyColumn("phone", "phone", region="DE")
WAIT_S = 60.0


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    made = Office(tmp_path_factory.mktemp("office"))
    made.encode()
    made.mandate()
    return made


@pytest.fixture(scope="module")
def address(office: Office) -> Iterator[str]:
    with (
        psishare.Party.open(office.home(PLATFORM)) as platform,
        platform.serve("127.0.0.1:0", datasets=["customers"]) as server,
    ):
        yield server.address


def suspects() -> pa.Table:
    return pa.table({"row": range(1, len(SUSPECTS) + 1), "phone": SUSPECTS})


def asked(office: Office, **options: Any) -> dict[str, Any]:
    mandate = office.folder / "case.mandate"
    return {"key": KEY, "dataset": "customers", "mandate": mandate} | options


def endings(office: Office, party: str) -> list[str]:
    """Return the reasons of the aborts that a party's log tells of."""
    log = open_log(office.homes[party])
    parsed = [parse_entry(data) for data in log.entries(0, log.size)]
    return [entry.reason for entry in parsed if isinstance(entry, ExchangeAborted)]


def at_first_answer(act: Any) -> Any:
    """Return a progress callback that does something when the first rows have been asked."""

    def report(step: str, _done: int, _total: int) -> None:
        if step == "asking":
            act()

    return report


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("means", ["cancellation", "interrupt"])
def test_a_match_that_is_stopped_is_aborted_in_both_logs(
    office: Office, address: str, tmp_path: Path, means: str
) -> None:
    before = endings(office, AUTHORITY), endings(office, PLATFORM)
    stop = psishare.Cancellation()
    act, error, reason = {
        "cancellation": (stop.cancel, CancellationError, "cancelled"),
        "interrupt": (interrupt, KeyboardInterrupt, "interrupted"),
    }[means]
    with (
        psishare.Party.open(office.home(AUTHORITY)) as party,
        party.connect(PLATFORM, address) as session,
    ):
        with pytest.raises(error):
            session.match(
                suspects(),
                **asked(office, out=tmp_path / "out.csv"),
                progress=at_first_answer(act),
                cancellation=stop,
            )
        # The session goes on; only what was stopped is over.
        again = session.match(suspects(), **asked(office))
    assert again.matches.column("row").to_pylist() == MATCHING
    assert list(tmp_path.iterdir()) == []
    assert endings(office, AUTHORITY) == [*before[0], reason]
    assert endings(office, PLATFORM) == [*before[1], "peer_aborted"]


def test_a_cancellation_stops_whatever_it_is_given_to(office: Office, address: str) -> None:
    stop = psishare.Cancellation()
    stop.cancel()
    stop.cancel()
    with (
        psishare.Party.open(office.home(AUTHORITY)) as party,
        party.connect(PLATFORM, address) as session,
        pytest.raises(CancellationError) as raised,
    ):
        session.match(suspects(), **asked(office), cancellation=stop)
    assert (raised.value.reason, raised.value.exit_code) == ("cancelled", 130)


def cancelled_after(event: threading.Event, stop: psishare.Cancellation) -> threading.Thread:
    """Cancel from another thread, as soon as something has happened."""

    def run() -> None:
        if event.wait(WAIT_S):
            stop.cancel()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


class Silent:
    """A channel whose peer answers when the test is over."""

    peer = PLATFORM

    def __init__(self) -> None:
        self.called = threading.Event()
        self.over = threading.Event()

    def call(self, call: Call, request: Message, *, timeout_s: float | None = None) -> Message:
        self.called.set()
        self.over.wait(WAIT_S)
        raise TransportError("silent", mend="Wait.", reason="peer_silent", party=self.peer)

    def close(self) -> None:
        self.over.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def test_a_call_to_a_silent_peer_is_given_up_at_once() -> None:
    stop = psishare.Cancellation()
    with Silent() as silent, CancellableChannel(silent, stop) as channel:
        canceller = cancelled_after(silent.called, stop)
        with pytest.raises(CancellationError):
            channel.call(Call.HELLO, wire.HelloRequest())
        assert not silent.over.is_set()
        canceller.join()


def test_a_call_that_ends_an_exchange_is_not_stopped() -> None:
    stop = psishare.Cancellation()
    stop.cancel()
    with Silent() as silent, CancellableChannel(silent, stop) as channel:
        silent.over.set()
        with pytest.raises(TransportError):
            channel.call(Call.ABORT, wire.AbortRequest())


def test_a_connection_that_nobody_wants_any_more_is_closed() -> None:
    stop = psishare.Cancellation()
    made, begun, closed = Silent(), threading.Event(), threading.Event()

    def make() -> Silent:
        begun.set()
        made.over.wait(WAIT_S)
        return made

    made.close = closed.set  # type: ignore[method-assign]
    canceller = cancelled_after(begun, stop)
    with pytest.raises(CancellationError):
        stop.made(make)
    canceller.join()
    made.over.set()
    assert closed.wait(WAIT_S)


# With an event loop.


def test_the_asynchronous_face_finds_the_same(office: Office) -> None:
    steps: list[tuple[str, int, int]] = []

    async def run() -> tuple[psishare.Match, psishare.Match, str]:
        async with (
            await psishare.AsyncParty.open(office.home(PLATFORM)) as platform,
            await platform.serve("127.0.0.1:0", datasets=["customers"]) as server,
            await psishare.AsyncParty.open(office.home(AUTHORITY)) as party,
            await party.connect(PLATFORM, server.address) as session,
        ):
            here = threading.get_ident()

            def report(*step: Any) -> None:
                assert threading.get_ident() == here
                steps.append(step)

            first, second = await asyncio.gather(
                session.match(suspects(), **asked(office), progress=report),
                session.match(suspects(), **asked(office)),
            )
            row = await party.exchange(first.exchange_id)
            assert [one.manifest.dataset for one in await platform.datasets()] == ["customers"]
            return first, second, row.state

    first, second, state = asyncio.run(run())
    for match in (first, second):
        assert match.matches.column("row").to_pylist() == MATCHING
    assert first.exchange_id != second.exchange_id
    assert state == "closed"
    assert {step for step, _done, _total in steps} >= {"reading", "asking"}


def test_a_task_that_is_cancelled_aborts_its_exchange(
    office: Office, address: str, tmp_path: Path
) -> None:
    before = endings(office, AUTHORITY), endings(office, PLATFORM)

    async def run() -> None:
        async with (
            await psishare.AsyncParty.open(office.home(AUTHORITY)) as party,
            await party.connect(PLATFORM, address) as session,
        ):
            task: asyncio.Task[Any] | None = None

            def begin() -> None:
                assert task is not None
                task.cancel()

            stop = psishare.Cancellation()
            task = asyncio.ensure_future(
                session.match(
                    suspects(),
                    **asked(office, out=tmp_path / "out.csv"),
                    # The work itself stops too; the task is cancelled from the loop meanwhile.
                    progress=at_first_answer(begin),
                    cancellation=Held(stop),
                )
            )
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(run())
    assert list(tmp_path.iterdir()) == []
    assert endings(office, AUTHORITY) == [*before[0], "cancelled"]
    assert endings(office, PLATFORM) == [*before[1], "peer_aborted"]


class Held(psishare.Cancellation):
    """A cancellation that holds the work at its first answer until it has been asked to stop."""

    def __init__(self, stop: psishare.Cancellation) -> None:
        super().__init__()
        self._stop = stop

    def watching(self, progress: Any) -> Any:
        watched = super().watching(progress)

        def report(step: str, done: int, total: int) -> None:
            progress(step, done, total)
            if step == "asking":
                self._requested.result(WAIT_S)
            watched(step, done, total)

        return report


# Results of any size.


def test_rows_that_match_are_read_batch_by_batch(office: Office, address: str) -> None:
    rows = suspects()
    table = pa.Table.from_batches(
        [rows.slice(0, 2).to_batches()[0], rows.slice(2).combine_chunks().to_batches()[0]]
    )
    with (
        psishare.Party.open(office.home(AUTHORITY)) as party,
        party.connect(PLATFORM, address) as session,
    ):
        match = session.match(table, **asked(office))
    reader = match.batches()
    assert isinstance(reader, pa.RecordBatchReader)
    assert reader.schema == table.schema
    assert [batch.num_rows for batch in reader] == [1, 2]
    for taken in (pa.table(match), pa.RecordBatchReader.from_stream(match).read_all()):
        assert taken.column("row").to_pylist() == MATCHING


def test_a_count_has_no_stream(office: Office) -> None:
    lists = [psishare.ListSource(office.customers, psishare.KeyColumn("phone", "number"), "list")]
    with (
        psishare.Party.open(office.home(PLATFORM)) as platform,
        platform.serve("127.0.0.1:0", lists=lists) as server,
        psishare.Party.open(office.home(AUTHORITY)) as party,
        party.connect(PLATFORM, server.address) as session,
    ):
        match = session.match(
            suspects(), **asked(office, dataset="list"), protocol="ecdh", output="count"
        )
    with pytest.raises(InputError, match="count"):
        pa.table(match)
