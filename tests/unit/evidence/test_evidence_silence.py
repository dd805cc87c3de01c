"""Silence: what a log that tells of nothing shows of a period, and what it does not."""

from __future__ import annotations

import pytest

from psishare.audit.entry import Entry, ExchangeRefused, Heartbeat
from psishare.evidence.silence import Silence, SilenceWatch

DAY = "2026-03-0{}T00:00:00Z"


def heartbeat(time: str) -> Entry:
    return Heartbeat(failed_handshakes=0, time=time)


def refused(time: str) -> Entry:
    return ExchangeRefused(
        exchange_id="ab" * 32,
        peer="police.example",
        reason="mandate_expired",
        mandate_sha256=None,
        protocol=None,
        dataset=None,
        kind=None,
        output=None,
        rows=None,
        time=time,
    )


def heard(entries: list[Entry], since: str | None, until: str | None) -> Silence:
    watch = SilenceWatch(since, until)
    for entry in entries:
        watch.take(entry)
    return watch.verdict()


def test_a_period_between_two_entries_is_vouched_for_whole() -> None:
    entries = [heartbeat(DAY.format(day)) for day in (1, 4, 6)]
    silence = heard(entries, DAY.format(2), DAY.format(5))
    assert silence == Silence(True, DAY.format(2), DAY.format(5), 2 * 86_400)


def test_what_lies_after_the_last_entry_is_not_vouched_for() -> None:
    entries = [heartbeat(DAY.format(day)) for day in (1, 3)]
    silence = heard(entries, DAY.format(2), DAY.format(9))
    assert silence == Silence(True, DAY.format(2), DAY.format(3), 86_400)
    assert heard(entries, None, None) == Silence(True, DAY.format(1), DAY.format(3), 2 * 86_400)


@pytest.mark.parametrize("entries", [[], [heartbeat(DAY.format(1))], [heartbeat(DAY.format(9))]])
def test_a_log_without_an_entry_on_both_sides_vouches_for_nothing(entries: list[Entry]) -> None:
    assert heard(entries, DAY.format(2), DAY.format(5)) == Silence(True, None, None, None)


def test_a_refusal_breaks_the_silence_of_its_own_period_only() -> None:
    entries = [heartbeat(DAY.format(1)), refused(DAY.format(3)), heartbeat(DAY.format(6))]
    assert not heard(entries, DAY.format(2), DAY.format(4)).silent
    assert heard(entries, DAY.format(4), DAY.format(5)).silent
    assert heard(entries, DAY.format(1), DAY.format(3)).silent


def test_a_clock_that_was_set_back_makes_no_gap_smaller() -> None:
    entries = [heartbeat(DAY.format(day)) for day in (1, 5, 2, 6)]
    assert heard(entries, None, None).longest_gap_s == 4 * 86_400
