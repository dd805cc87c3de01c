"""Whole exchanges in memory: what each side learns, and what both logs then say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from stage import AUTHORITY, PLATFORM, Stage

from psishare.psi import suite
from psishare.psi.suite import Output

if TYPE_CHECKING:
    import pyarrow as pa

OURS = [b"a%d" % i for i in range(50)]
THEIRS = [b"a%d" % i for i in range(30, 90)]
COMMON = list(range(30, 50))


def test_oprf_finds_the_overlap_and_both_logs_hold_the_receipt(stage: Stage) -> None:
    platform = stage.responder(stage.encode(THEIRS))
    outcome = stage.exchange(platform, stage.ask(OURS))
    assert outcome.matched.to_pylist() == COMMON
    assert outcome.elements == len(THEIRS)
    assert outcome.cosigned
    assert stage.entries(PLATFORM) == [
        "log.created",
        "dataset.published",
        "dataset.delivered",
        "exchange.opened",
        "exchange.closed",
    ]
    assert stage.entries(AUTHORITY) == [
        "log.created",
        "dataset.delivered",
        "exchange.opened",
        "exchange.closed",
    ]
    outcome.receipt.verify(
        authority_key=stage.homes[AUTHORITY].card.log_key,
        platform_key=stage.homes[PLATFORM].card.log_key,
    )


@pytest.mark.parametrize("protocol", [suite.Protocol.ECDH, suite.Protocol.OPENMINED])
def test_list_protocols_find_the_overlap(stage: Stage, protocol: suite.Protocol) -> None:
    platform = stage.responder(stage.listing(THEIRS))
    outcome = stage.exchange(platform, stage.ask(OURS, protocol=protocol))
    assert outcome.matched.to_pylist() == COMMON
    assert stage.entries(AUTHORITY)[-1] == stage.entries(PLATFORM)[-1] == "exchange.closed"


def test_count_tells_the_number_alone(stage: Stage) -> None:
    platform = stage.responder(stage.listing(THEIRS))
    ask = stage.ask(OURS, protocol=suite.Protocol.ECDH, output=Output.COUNT)
    assert len(stage.exchange(platform, ask).matched) == len(COMMON)


def test_both_shows_the_platform_its_matches_too(stage: Stage) -> None:
    shown: list[pa.Array] = []
    platform = stage.responder(
        stage.listing(THEIRS), matched=lambda _id, _name, indices: shown.append(indices)
    )
    ask = stage.ask(OURS, protocol=suite.Protocol.ECDH, output=Output.BOTH)
    assert stage.exchange(platform, ask).matched.to_pylist() == COMMON
    assert [indices.to_pylist() for indices in shown] == [list(range(20))]


@pytest.mark.parametrize("protocol", list(suite.Protocol))
@pytest.mark.parametrize(("ours", "theirs"), [(0, 0), (0, 3), (1, 0), (1, 1), (3, 0)])
def test_empty_and_single_lists_are_answered(
    stage: Stage, protocol: suite.Protocol, ours: int, theirs: int
) -> None:
    asked, held = OURS[:ours], OURS[:theirs]
    offering = stage.encode(held) if protocol is suite.Protocol.OPRF else stage.listing(held)
    outcome = stage.exchange(stage.responder(offering), stage.ask(asked, protocol=protocol))
    assert outcome.matched.to_pylist() == list(range(min(ours, theirs)))


def test_second_exchange_uses_the_cached_set(stage: Stage) -> None:
    platform = stage.responder(stage.encode(THEIRS))
    envelope = stage.envelope()
    for _ in range(2):
        outcome = stage.exchange(platform, stage.ask(OURS, mandate=envelope))
        assert outcome.matched.to_pylist() == COMMON
    assert stage.entries(AUTHORITY).count("dataset.delivered") == 1
    assert stage.entries(PLATFORM).count("exchange.closed") == 2
