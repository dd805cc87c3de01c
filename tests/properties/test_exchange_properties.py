"""Whole exchanges in memory against Python's sets, and both logs, register and budget after failures."""

from __future__ import annotations

import os
import random
import sqlite3
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hostile_exchange import Dying, Failing, resumed, run, silence, verified
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stage import AUTHORITY, PLATFORM, CopiedStage, Stage

from psishare.errors import AuditError, PsishareError
from psishare.exchange.authority import Outcome
from psishare.exchange.register import State
from psishare.mandates.envelope import read_envelope
from psishare.psi.suite import Output, Protocol
from psishare.transport.channel import Call

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psishare.exchange.offering import Offering
    from psishare.exchange.platform import Platform

EXAMPLES = 150 if os.environ.get("PSISHARE_CAMPAIGN") else 12
SCHEDULES = 200 if os.environ.get("PSISHARE_CAMPAIGN") else 10
SLOW = settings(
    deadline=None,
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

IDENTIFIERS = st.binary(min_size=1, max_size=30) | st.text(min_size=1, max_size=15).map(
    lambda text: text.encode("utf-8", "surrogatepass")
)
NUMBERED = st.tuples(st.integers(0, 25), st.integers(0, 25), st.integers(0, 25)).map(
    lambda t: (
        [b"+49151%04d" % i for i in range(t[1])],
        [b"+49151%04d" % i for i in range(t[0], t[0] + t[2])],
    )
)
FREE = st.tuples(
    st.lists(IDENTIFIERS, unique=True, max_size=9), st.lists(IDENTIFIERS, unique=True, max_size=9)
)
ONE_SIDED = st.tuples(st.integers(0, 60), st.sampled_from([0, 1, 2])).map(
    lambda t: ([b"v%d" % i for i in range(t[0])], [b"v%d" % i for i in range(t[1])])
)
LISTS = NUMBERED | FREE | ONE_SIDED | ONE_SIDED.map(lambda pair: (pair[1], pair[0]))
PROTOCOLS = st.sampled_from(
    [
        (Protocol.OPRF, Output.MATCHES),
        *((Protocol.ECDH, output) for output in Output),
        (Protocol.OPENMINED, Output.MATCHES),
    ]
)


@contextmanager
def fresh(homes: Path) -> Iterator[Stage]:
    """Return a stage of its own for one example."""
    with tempfile.TemporaryDirectory() as folder:
        stage = CopiedStage(homes, Path(folder) / "stage")
        try:
            yield stage
        finally:
            stage.close()


def served(stage: Stage, protocol: Protocol, values: list[bytes]) -> Offering:
    return stage.encode(values) if protocol is Protocol.OPRF else stage.listing(values)


def common(ours: list[bytes], theirs: list[bytes]) -> list[int]:
    held = set(theirs)
    return [i for i, value in enumerate(ours) if value in held]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch, impatient: None) -> None:
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@SLOW
@given(LISTS, PROTOCOLS, st.sampled_from([1, 2, 3, 7, 1000]))
def test_an_exchange_gives_what_pythons_sets_give(
    homes: Path,
    lists: tuple[list[bytes], list[bytes]],
    how: tuple[Protocol, Output],
    frame_rows: int,
) -> None:
    ours, theirs = lists
    protocol, output = how
    if protocol is Protocol.OPENMINED:
        pytest.importorskip("private_set_intersection")
    shown: list[Any] = []
    with fresh(homes) as stage:
        platform = stage.responder(
            served(stage, protocol, theirs), matched=lambda _id, _name, found: shown.append(found)
        )
        ask = stage.ask(ours, protocol=protocol, output=output, frame_rows=frame_rows)
        outcome = stage.exchange(platform, ask)
        expected = common(ours, theirs)
        assert len(outcome.matched) == len(expected)
        if output is not Output.COUNT:
            assert outcome.matched.to_pylist() == expected
        if output is Output.BOTH:
            assert [found.to_pylist() for found in shown] == [common(theirs, ours)]
        assert outcome.elements == len(theirs)
        receipt = outcome.receipt.receipt
        assert (receipt.requests.rows, receipt.answers.rows) == (len(ours), len(ours))
        verdicts = verified(stage)
        (there,), (here,) = (verdicts[party].exchanges for party in (PLATFORM, AUTHORITY))
        assert (there.ending.value, here.ending.value) == ("closed", "closed")
        assert there.rows == here.rows == len(ours)


# Failures at random calls.

FATAL = st.sampled_from([c for c in Call if c is not Call.ABORT])
KINDS = st.sampled_from(["line before", "line after", "inside before", "inside after", "log full"])
FAILURE = st.tuples(FATAL, KINDS, st.integers(1, 4))
SCHEDULE = st.lists(st.tuples(PROTOCOLS, st.none() | FAILURE), min_size=1, max_size=3)


def attempt(
    stage: Stage, platform: Platform, ask: Any, failure: tuple[Call, str, int] | None
) -> Outcome | PsishareError:
    """Run one exchange in which something fails, or nothing."""
    if failure is None:
        return run(stage.asker(stage.channel(platform)), ask)
    call, kind, nth = failure
    if kind.startswith("line"):
        line = Dying(platform, stage.caller(), call, after=kind.endswith("after"), nth=nth)
        return run(stage.asker(line), ask)
    error: PsishareError = silence()
    if kind == "log full":
        error = AuditError("no room", mend="Make room.", reason="log_write_failed")
    failing = Failing(platform, call, error, after=kind.endswith("after"), nth=nth)
    return run(stage.asker(stage.channel(failing)), ask)


def restart(
    stage: Stage, platform: Platform, offerings: list[Offering], ours: list[bytes], *, goes_on: bool
) -> None:
    """Let both parties end and start again, and go on with what they find, or give it up."""
    platform.stop()
    stage.close()
    stage.platform, stage.authority = stage.side(PLATFORM), stage.side(AUTHORITY)
    again = stage.responder(*offerings, idle_timeout_s=-1)
    again.recover()
    authority = stage.asker(stage.channel(again))
    authority.recover()
    for outcome in resumed(stage, again, ours) if goes_on else []:
        if isinstance(outcome, Outcome):
            assert len(outcome.matched) == 10
            assert outcome.receipt.receipt.answers.rows == len(ours)
        else:
            # The platform had ended it, for its time-out or its failure.
            assert outcome.reason in {"exchange_ended", "exchange_unknown", "exchange_finished"}
    again.expire()
    authority._settle()


def charged(stage: Stage) -> dict[str, int]:
    database = sqlite3.connect(stage.homes[PLATFORM].state_path)
    rows = database.execute("SELECT exchange_id, rows_charged FROM budget_exchanges").fetchall()
    database.close()
    return {exchange_id.hex(): n_rows for exchange_id, n_rows in rows}


def agree(stage: Stage, mandate: bytes) -> None:
    """Assert that logs, registers and budget tell the same, on both sides."""
    verdicts = verified(stage)
    theirs = {e.exchange_id: e for e in verdicts[PLATFORM].exchanges}
    ours = {e.exchange_id: e for e in verdicts[AUTHORITY].exchanges}
    spent = charged(stage)
    for exchange_id, there in theirs.items():
        assert there.ending.value != "open"
        if there.ending.value != "refused":
            assert there.rows == spent.get(exchange_id, 0)
        here = ours.get(exchange_id)
        if there.ending.value == "closed":
            # Closed there: closed here, or pending here, and nothing else.
            assert here is not None
            assert here.ending.value in {"closed", "open"}
        elif here is not None:
            assert here.ending.value != "closed"
    for exchange_id, here in ours.items():
        if here.ending.value == "open":
            left = [row.exchange_id.hex() for row in stage.authority.register.unattended()]
            assert exchange_id in left
    assert {e.hex() for e in stage.rooms().budget.open_exchanges()} == set()
    usage = stage.rooms().budget.usage(read_envelope(mandate).mandate.id)
    assert usage.rows == sum(spent.values())
    for side in (stage.platform, stage.authority):
        story = theirs if side is stage.platform else ours
        for row in side.register.rows():
            told = story.get(row.exchange_id.hex())
            state = row.state.value
            if told is not None and state not in {"pending", "opened"}:
                assert state == told.ending.value


@settings(SLOW, max_examples=SCHEDULES)
@given(SCHEDULE, st.sampled_from(["lives", "gives up", "goes on"]), st.integers(0, 2**32))
def test_logs_register_and_budget_agree_after_failures_at_random_calls(
    homes: Path, schedule: list[Any], then: str, seed: int
) -> None:
    ours, theirs = [b"v%d" % i for i in range(20)], [b"v%d" % i for i in range(10, 30)]
    if any(how[0] is Protocol.OPENMINED for how, _ in schedule):
        pytest.importorskip("private_set_intersection")
    with fresh(homes) as stage:
        mandate = stage.envelope()
        offerings: list[Offering] = [stage.encode(theirs), stage.listing(theirs, name="listed")]
        platform = stage.responder(*offerings, idle_timeout_s=-1)
        for (protocol, output), failure in schedule:
            dataset = "customers" if protocol is Protocol.OPRF else "listed"
            ask = stage.ask(
                ours, protocol=protocol, output=output, mandate=mandate, dataset=dataset
            )
            outcome = attempt(stage, platform, ask, failure)
            if isinstance(outcome, Outcome) and output is not Output.COUNT:
                assert outcome.matched.to_pylist() == list(range(10, 20))
            # The keeper comes round at some time, or does not.
            if random.Random(seed).random() < 0.5:
                platform.expire()
        if then == "lives":
            platform.expire()
        else:
            restart(stage, platform, offerings, ours, goes_on=then == "goes on")
        agree(stage, mandate)
        last = stage.responder(stage.encode(theirs), stage.listing(theirs, name="listed"))
        ask = stage.ask(ours, protocol=Protocol.ECDH, mandate=mandate, dataset="listed")
        outcome = run(stage.asker(stage.channel(last)), ask)
        assert isinstance(outcome, Outcome)
        agree(stage, mandate)
        states = {row.state for row in stage.authority.register.rows()}
        assert states <= {State.CLOSED, State.ABORTED, State.REFUSED, State.OFFERED}


@pytest.mark.parametrize("shared", [True, False], ids=["one process", "processes of one host"])
def test_eight_exchanges_of_one_authority_at_once_all_close(stage: Stage, *, shared: bool) -> None:
    """Their heads get in each other's way: each is asked again until it is current."""
    theirs = [b"v%d" % i for i in range(10, 30)]
    platform = stage.responder(stage.listing(theirs))
    mandate = stage.envelope()
    outcomes: list[tuple[int, Any]] = []

    def exchange(first: int) -> None:
        side = stage.authority if shared else stage.side(AUTHORITY)
        ours = [b"v%d" % i for i in range(first, first + 15)]
        ask = stage.ask(ours, protocol=Protocol.ECDH, mandate=mandate)
        outcomes.append((first, run(stage.asker(stage.channel(platform), side), ask)))
        if not shared:
            side.register.close()

    threads = [threading.Thread(target=exchange, args=(first,)) for first in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for first, outcome in outcomes:
        assert isinstance(outcome, Outcome), outcome
        assert outcome.matched.to_pylist() == [i for i in range(15) if first + i >= 10]
    verdicts = verified(stage)
    for party in (PLATFORM, AUTHORITY):
        assert [e.ending.value for e in verdicts[party].exchanges] == ["closed"] * 8
    assert sum(charged(stage).values()) == 8 * 15


def test_a_mandate_is_never_overdrawn_by_exchanges_at_once(stage: Stage) -> None:
    theirs = [b"v%d" % i for i in range(30)]
    platform = stage.responder(stage.listing(theirs))
    mandate = stage.envelope(max_rows_total=50, max_exchanges=4)
    outcomes: list[Any] = []

    def exchange() -> None:
        ask = stage.ask(theirs[:15], protocol=Protocol.ECDH, mandate=mandate)
        outcomes.append(run(stage.asker(stage.channel(platform)), ask))

    threads = [threading.Thread(target=exchange) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    closed = [outcome for outcome in outcomes if isinstance(outcome, Outcome)]
    refused = [outcome.reason for outcome in outcomes if isinstance(outcome, PsishareError)]
    assert len(closed) == 3
    assert refused == ["budget_rows_exhausted"] * 3
    usage = stage.rooms().budget.usage(read_envelope(mandate).mandate.id)
    assert (usage.rows, usage.exchanges) == (45, 3)
    verified(stage)
