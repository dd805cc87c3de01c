"""Exchanges that go on after an interruption: the same result, nothing asked or charged twice."""

from __future__ import annotations

import sqlite3
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hostile_exchange import (
    COMMON,
    OURS,
    THEIRS,
    Dying,
    Line,
    endings,
    failed,
    silence,
    told,
    verified,
)
from stage import AUTHORITY, NAME, PLATFORM, Stage, column

from psishare import _native
from psishare.datasets.store import DatasetStore
from psishare.errors import InputError, ProtocolError, PsishareError, TransportError
from psishare.exchange.frame import encode_frame
from psishare.exchange.left_open import LeftOpen
from psishare.exchange.offer import WIRE_VERSION
from psishare.exchange.offering import EncodedOffering
from psishare.exchange.platform import Platform
from psishare.exchange.register import State
from psishare.exchange.restoration import Recovered
from psishare.psi.ecdh import EcdhPlatform
from psishare.psi.openmined import OpenminedPlatform
from psishare.psi.oprf import OprfPlatform
from psishare.psi.suite import Output, Protocol, frame_span
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call, Caller
from psishare.transport.memory import MemoryChannel

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from psishare.exchange.offering import Offering
    from psishare.exchange.register import Row

pytestmark = pytest.mark.usefixtures("impatient")

HOW = [
    (Protocol.OPRF, Output.MATCHES),
    (Protocol.ECDH, Output.MATCHES),
    (Protocol.ECDH, Output.COUNT),
    (Protocol.ECDH, Output.BOTH),
    (Protocol.OPENMINED, Output.MATCHES),
]
IDS = [f"{protocol}-{output}" for protocol, output in HOW]
DRIVERS: dict[Protocol, Any] = {
    Protocol.OPRF: OprfPlatform,
    Protocol.ECDH: EcdhPlatform,
    Protocol.OPENMINED: OpenminedPlatform,
}
FRAME_ROWS = 7
N_FRAMES = 3


def serving(stage: Stage, protocol: Protocol, **options: Any) -> Platform:
    """Return the platform's side, as each of its processes serves it."""
    if protocol is Protocol.OPENMINED:
        pytest.importorskip("private_set_intersection")
    offering: Offering = stage.listing(THEIRS)
    if protocol is Protocol.OPRF:
        home = stage.homes[PLATFORM]
        store = DatasetStore(home.datasets_path, public_key=home.card.log_key, vault=home.vault)
        if NAME not in store.names():
            stage.encode(THEIRS)
        offering = EncodedOffering(store.open(NAME))
    return stage.responder(offering, **options)


class Restarting(MemoryChannel):
    """A line to a platform whose process is replaced at the n-th call of a kind, after its work."""

    def __init__(self, stage: Stage, protocol: Protocol, call: Call, nth: int) -> None:
        self._stage = stage
        self._protocol = protocol
        self._fatal, self._left = call, nth
        self._replacing = threading.Lock()
        self.restarts = 0
        super().__init__(serving(stage, protocol), stage.caller(), PLATFORM)

    def exchange(self, call: Call, request: bytes) -> bytes:
        with self._replacing:
            response = super().exchange(call, request)
            if call is self._fatal:
                self._left -= 1
                if self._left == 0:
                    self.restart()
        return response

    def restart(self) -> None:
        assert isinstance(self._responder, Platform)
        self._responder.stop()
        self._responder = serving(self._stage, self._protocol)
        assert self._responder.recover() == Recovered(aborted=0, restored=1)
        self.restarts += 1


class Fishing(Restarting):
    """A platform that shows other elements when it has started again, to have more of them blinded."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage, Protocol.ECDH, Call.RETURN, 1)
        guesses = pa.array([b"guess:%d" % i for i in range(len(THEIRS))], pa.large_binary())
        blinded = _native.Seed.generate().scalar().blind(guesses)
        self._others, _rows = _native.sort_elements(blinded)
        self._fishing = False
        self.blinded: dict[int, set[bytes]] = {}

    def exchange(self, call: Call, request: bytes) -> bytes:
        response = super().exchange(call, request)
        if call is Call.RESUME:
            self._fishing = True
        if call is Call.RETURN:
            returned = wire.ReturnRequest.FromString(request)
            self.blinded.setdefault(returned.index, set()).add(returned.batch)
        if call is not Call.FETCH or not self._fishing:
            return response
        index = wire.FetchRequest.FromString(request).index
        start, n_rows = frame_span(index, len(THEIRS), FRAME_ROWS)
        frame = encode_frame(self._others.slice(start, n_rows))
        return wire.FrameResponse(batch=frame).SerializeToString()


def charged(stage: Stage) -> list[int]:
    database = sqlite3.connect(stage.homes[PLATFORM].state_path)
    rows = database.execute("SELECT rows_charged FROM budget_exchanges").fetchall()
    database.close()
    return [n_rows for (n_rows,) in rows]


def left(stage: Stage) -> Row:
    (row,) = stage.authority.register.unattended()
    return row


def right(stage: Stage, outcome: Any, output: Output) -> None:
    """Assert that an exchange ended as one without interruption."""
    assert len(outcome.matched) == len(COMMON)
    if output is not Output.COUNT:
        assert outcome.matched.to_pylist() == COMMON
    receipt = outcome.receipt.receipt
    assert (receipt.requests.rows, receipt.answers.rows) == (len(OURS), len(OURS))
    assert receipt.requests.frames == N_FRAMES
    assert endings(stage) == (["closed"], ["closed"])
    assert charged(stage) == [len(OURS)]
    assert [kind for kind, _ in told(stage, PLATFORM)] == ["exchange.opened", "exchange.closed"]
    assert [kind for kind, _ in told(stage, AUTHORITY)] == ["exchange.opened", "exchange.closed"]


@pytest.mark.parametrize("how", HOW, ids=IDS)
@pytest.mark.parametrize(
    ("call", "nth"),
    [
        (Call.OFFER, 1),
        (Call.EVALUATE, 1),
        (Call.EVALUATE, 2),
        (Call.EVALUATE, N_FRAMES),
        (Call.FETCH, 1),
        (Call.FETCH, 4),
        (Call.RETURN, 2),
    ],
)
def test_a_platform_that_starts_again_is_gone_on_with_without_asking(
    stage: Stage, how: tuple[Protocol, Output], call: Call, nth: int
) -> None:
    protocol, output = how
    line = Restarting(stage, protocol, call, nth)
    outcome = stage.asker(line).exchange(stage.ask(OURS, protocol=protocol, output=output))
    right(stage, outcome, output)
    reached = call in {Call.OFFER, Call.EVALUATE} or (
        protocol is not Protocol.OPRF and (call is Call.FETCH or output is Output.BOTH)
    )
    assert line.restarts == reached


@pytest.mark.parametrize("how", HOW, ids=IDS)
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("call", "nth"),
    [(Call.OFFER, 1), (Call.EVALUATE, 2), (Call.EVALUATE, N_FRAMES), (Call.CLOSE, 1)],
)
def test_an_authority_whose_line_died_goes_on_to_the_same_receipt(
    stage: Stage, how: tuple[Protocol, Output], call: Call, nth: int, *, after: bool
) -> None:
    protocol, output = how
    platform = serving(stage, protocol)
    line = Dying(platform, stage.caller(), call, after=after, nth=nth)
    error = failed(stage.asker(line), stage.ask(OURS, protocol=protocol, output=output))
    assert type(error) is TransportError
    assert "psishare match --resume" in error.mend
    row = left(stage)
    outcome = stage.asker(stage.channel(platform)).resume(row.exchange_id, column(OURS))
    right(stage, outcome, output)


@pytest.mark.parametrize("how", HOW, ids=IDS)
def test_frames_that_are_finished_are_not_evaluated_again(
    stage: Stage, how: tuple[Protocol, Output], monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol, output = how
    platform = serving(stage, protocol)
    evaluated: list[int] = []
    driver = DRIVERS[protocol]
    honest = driver.evaluate

    def evaluate(self: Any, elements: pa.Array) -> Any:
        evaluated.append(len(elements))
        return honest(self, elements)

    monkeypatch.setattr(driver, "evaluate", evaluate)
    # Everything was answered, and the answers were used, before the line died.
    line = Dying(platform, stage.caller(), Call.CLOSE, after=False)
    failed(stage.asker(line), stage.ask(OURS, protocol=protocol, output=output))
    stage.authority.register.update(left(stage).exchange_id, State.OPENED)
    assert evaluated == [7, 7, 6]
    outcome = stage.asker(stage.channel(platform)).resume(left(stage).exchange_id, column(OURS))
    right(stage, outcome, output)
    assert evaluated == [7, 7, 6]


def test_a_platform_that_starts_again_evaluates_no_finished_frame_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluated: list[int] = []
    honest = OprfPlatform.evaluate

    def evaluate(self: OprfPlatform, elements: Any) -> Any:
        evaluated.append(len(elements))
        return honest(self, elements)

    line = Restarting(stage, Protocol.OPRF, Call.HELLO, 99)
    monkeypatch.setattr(OprfPlatform, "evaluate", evaluate)
    dying = Dying(line._responder, stage.caller(), Call.CLOSE, after=False)
    failed(stage.asker(dying), stage.ask(OURS))
    line.restart()
    outcome = stage.asker(line).resume(left(stage).exchange_id, column(OURS))
    right(stage, outcome, Output.MATCHES)
    assert evaluated == [7, 7, 6]


def test_a_platform_that_starts_again_gets_no_other_elements_blinded(stage: Stage) -> None:
    line = Fishing(stage)
    ask = stage.ask(OURS, protocol=Protocol.ECDH, output=Output.BOTH)
    error = failed(stage.asker(line), ask)
    assert line.restarts == 1
    assert (type(error), error.reason, error.party) == (ProtocolError, "frame_changed", PLATFORM)
    assert line.blinded
    assert all(len(batches) == 1 for batches in line.blinded.values())
    assert endings(stage)[1] == ["aborted"]
    assert told(stage, AUTHORITY)[-1] == ("exchange.aborted", "frame_changed")


def test_a_platform_that_always_starts_again_is_left_open_after_a_while(stage: Stage) -> None:
    platform = serving(stage, Protocol.ECDH)
    resumed: list[Call] = []

    class Unsettled(MemoryChannel):
        def exchange(self, call: Call, request: bytes) -> bytes:
            if call is Call.RESUME:
                resumed.append(call)
                # Without a bound there is no end to it.
                assert len(resumed) < 100
            if call is Call.EVALUATE:
                again = "it has started again"
                raise ProtocolError(again, mend="-", reason="exchange_restored", party=PLATFORM)
            return super().exchange(call, request)

    line = Unsettled(platform, stage.caller(), PLATFORM)
    error = failed(stage.asker(line), stage.ask(OURS, protocol=Protocol.ECDH))
    assert (type(error), error.reason) == (TransportError, "peer_silent")
    outcome = stage.asker(stage.channel(platform)).resume(left(stage).exchange_id, column(OURS))
    right(stage, outcome, Output.MATCHES)


@pytest.mark.parametrize(("call", "nth"), [(Call.OFFER, 1), (Call.EVALUATE, 2)])
def test_an_exchange_of_another_wire_version_stays_as_it_is(
    stage: Stage, call: Call, nth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = serving(stage, Protocol.OPRF)
    line = Dying(platform, stage.caller(), call, after=True, nth=nth)
    failed(stage.asker(line), stage.ask(OURS))
    row, before = left(stage), endings(stage)
    with monkeypatch.context() as newer:
        newer.setattr("psishare.exchange.run.WIRE_VERSION", WIRE_VERSION + 1)
        with pytest.raises(InputError, match=f"wire version {WIRE_VERSION}") as raised:
            stage.asker(stage.channel(platform)).resume(row.exchange_id, column(OURS))
    assert raised.value.reason == "wire_version_differs"
    assert endings(stage) == before
    outcome = stage.asker(stage.channel(platform)).resume(row.exchange_id, column(OURS))
    right(stage, outcome, Output.MATCHES)


def test_another_list_is_refused_and_the_exchange_stays_as_it_is(stage: Stage) -> None:
    platform = serving(stage, Protocol.ECDH)
    line = Dying(platform, stage.caller(), Call.EVALUATE, after=True)
    failed(stage.asker(line), stage.ask(OURS, protocol=Protocol.ECDH))
    row = left(stage)
    for other in (OURS[1:], [*OURS, b"+491"], OURS[::-1]):
        with pytest.raises(InputError) as raised:
            stage.asker(stage.channel(platform)).resume(row.exchange_id, column(other))
        assert raised.value.reason == "list_differs"
    assert endings(stage) == (["open"], ["open"])
    outcome = stage.asker(stage.channel(platform)).resume(row.exchange_id, column(OURS))
    right(stage, outcome, Output.MATCHES)


def test_an_exchange_is_worked_on_by_one_at_a_time(stage: Stage) -> None:
    platform = serving(stage, Protocol.ECDH)
    reasons: list[str] = []

    def meanwhile(_request: object) -> None:
        (row,) = stage.authority.register.rows()
        for side in (stage.authority, stage.side(AUTHORITY)):
            with pytest.raises(InputError) as raised:
                stage.asker(stage.channel(platform), side).resume(row.exchange_id, column(OURS))
            reasons.append(raised.value.reason)
            assert [r.exchange_id for r in side.register.unattended()] == []

    line = Line(platform, stage.caller(), requests={Call.CLOSE: meanwhile})
    outcome = stage.asker(line).exchange(stage.ask(OURS, protocol=Protocol.ECDH))
    right(stage, outcome, Output.MATCHES)
    assert reasons == ["exchange_running"] * 2


def tell_more(response: Any) -> None:
    response.requests += 1


def tell_another_transcript(response: Any) -> None:
    response.transcript = bytes(32)


def tell_answers_to_what_was_not_asked(response: Any) -> None:
    response.answered = response.requests + 1


@pytest.mark.parametrize(
    "lie", [tell_more, tell_another_transcript, tell_answers_to_what_was_not_asked]
)
def test_a_platform_that_tells_of_other_frames_is_not_gone_on_with(stage: Stage, lie: Any) -> None:
    platform = serving(stage, Protocol.OPRF)
    line = Dying(platform, stage.caller(), Call.CLOSE, after=False)
    failed(stage.asker(line), stage.ask(OURS))
    row = left(stage)
    stage.authority.register.update(row.exchange_id, State.OPENED)
    lying = Line(platform, stage.caller(), responses={Call.RESUME: lie})
    with pytest.raises(ProtocolError) as raised:
        stage.asker(lying).resume(row.exchange_id, column(OURS))
    assert raised.value.reason == "transcript_differs"
    assert told(stage, AUTHORITY)[-1] == ("exchange.aborted", "transcript_differs")
    assert told(stage, PLATFORM)[-1] == ("exchange.aborted", "peer_aborted")
    verified(stage)


@pytest.mark.parametrize(
    "changed", ["the list", "nothing is served", "the opening is gone", "the wire"]
)
def test_a_platform_that_lacks_what_was_opened_on_closes_it_in_both_logs(
    stage: Stage, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = serving(stage, Protocol.ECDH)
    line = Dying(platform, stage.caller(), Call.EVALUATE, after=True)
    failed(stage.asker(line), stage.ask(OURS, protocol=Protocol.ECDH))
    platform.stop()
    row = left(stage)
    if changed == "the list":
        again = stage.responder(stage.listing([*THEIRS[:-1], b"+491"]))
    elif changed == "nothing is served":
        again = stage.responder()
    elif changed == "the wire":
        monkeypatch.setattr("psishare.exchange.restoration.WIRE_VERSION", WIRE_VERSION + 1)
        again = serving(stage, Protocol.ECDH)
    else:
        folder = stage.homes[PLATFORM].exchanges_path / row.exchange_id.hex()
        (folder / "opening.sealed").unlink()
        again = serving(stage, Protocol.ECDH)
    assert again.recover() == Recovered(aborted=1, restored=0)
    with pytest.raises(PsishareError) as raised:
        stage.asker(stage.channel(again)).resume(row.exchange_id, column(OURS))
    assert raised.value.reason == "exchange_ended"
    assert "not_restorable" in raised.value.message
    assert told(stage, PLATFORM)[-1] == ("exchange.aborted", "not_restorable")
    assert told(stage, AUTHORITY)[-1] == ("exchange.aborted", "exchange_ended")
    assert stage.rooms().budget.open_exchanges() == ()
    verified(stage)


class Flaky(MemoryChannel):
    """A line on which every call fails some times before it passes."""

    def __init__(self, responder: Platform, caller: Caller, failures: int) -> None:
        super().__init__(responder, caller, PLATFORM)
        self._failures = failures
        self._failed: dict[bytes, int] = {}

    def call(self, call: Call, request: Message, *, timeout_s: float | None = None) -> Message:
        key = call.rpc.encode() + request.SerializeToString(deterministic=True)
        self._failed[key] = self._failed.get(key, 0) + 1
        if self._failed[key] <= self._failures:
            raise silence()
        return super().call(call, request, timeout_s=timeout_s)


@pytest.mark.parametrize("how", HOW, ids=IDS)
def test_transient_faults_are_retried_without_asking(
    stage: Stage, how: tuple[Protocol, Output], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psishare.exchange.patient_channel.PAUSE_FIRST_S", 0.001)
    monkeypatch.setattr("psishare.exchange.patient_channel.PAUSE_MAX_S", 0.002)
    protocol, output = how
    authority = stage.asker(Flaky(serving(stage, protocol), stage.caller(), 2))
    authority._channel._retry_for_s = 60.0
    outcome = authority.exchange(stage.ask(OURS, protocol=protocol, output=output))
    right(stage, outcome, output)


def test_another_process_of_the_platform_takes_up_what_a_dead_one_left(stage: Stage) -> None:
    first = serving(stage, Protocol.ECDH)
    dying = stage.platform
    stage.platform = stage.side(PLATFORM)
    second = serving(stage, Protocol.ECDH)
    line = Dying(first, stage.caller(), Call.EVALUATE, after=True)
    failed(stage.asker(line), stage.ask(OURS, protocol=Protocol.ECDH))
    # The first process is killed; the second was serving before the exchange began.
    dying.register.close()
    outcome = stage.asker(stage.channel(second)).resume(left(stage).exchange_id, column(OURS))
    right(stage, outcome, Output.MATCHES)


# Time-outs.


def test_what_an_authority_left_open_too_long_is_aborted_at_its_next_start(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = serving(stage, Protocol.ECDH)
    line = Dying(platform, stage.caller(), Call.EVALUATE, after=True)
    failed(stage.asker(line), stage.ask(OURS, protocol=Protocol.ECDH))
    side = stage.authority
    leaving = LeftOpen(side.home, side.log, side.register)
    (one,) = leaving.resumable()
    assert leaving.recover() == 0
    monkeypatch.setattr("psishare.exchange.left_open.now", lambda: one.until + timedelta(seconds=1))
    assert leaving.resumable() == []
    assert leaving.recover() == 1
    assert told(stage, AUTHORITY)[-1] == ("exchange.aborted", "interrupted")
    folder = leaving.folder(one.row.exchange_id)
    assert {path.name for path in folder.iterdir()} == {"opening.sealed", "elements"}
    verified(stage)


def test_an_offer_that_was_not_answered_can_be_made_again_as_long_as_clocks_agree(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = serving(stage, Protocol.ECDH)
    line = Dying(platform, stage.caller(), Call.OFFER, after=False)
    failed(stage.asker(line), stage.ask(OURS, protocol=Protocol.ECDH))
    side = stage.authority
    leaving = LeftOpen(side.home, side.log, side.register)
    (one,) = leaving.resumable()
    assert one.row.state is State.OFFERED
    monkeypatch.setattr("psishare.exchange.left_open.now", lambda: one.until + timedelta(seconds=1))
    assert leaving.recover() == 1
    assert told(stage, AUTHORITY) == [("exchange.aborted", "interrupted")]
    assert told(stage, PLATFORM) == []


# What lies on the disk.


@pytest.mark.parametrize("how", [HOW[0], HOW[1]], ids=IDS[:2])
def test_what_is_kept_tells_nothing_without_the_sealed_seed(
    stage: Stage, how: tuple[Protocol, Output]
) -> None:
    protocol, output = how
    platform = serving(stage, protocol)
    sizes = []
    for values in (OURS, [b"+49152%07d" % i for i in range(len(OURS))]):
        line = Dying(platform, stage.caller(), Call.CLOSE, after=False)
        failed(stage.asker(line), stage.ask(values, protocol=protocol, output=output))
        (row, *_) = stage.authority.register.unattended()
        row = max(stage.authority.register.unattended(), key=lambda each: each.log_size)
        path = stage.homes[AUTHORITY].exchanges_path / row.exchange_id.hex() / "unfinished.sealed"
        assert path.stat().st_mode & 0o777 == 0o600
        data = path.read_bytes()
        assert not [value for value in values if value in data]
        sizes.append(len(data))
    # Eight matches or none: the file is as long.
    assert sizes[0] == sizes[1]
