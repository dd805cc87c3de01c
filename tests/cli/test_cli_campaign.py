"""The chaos campaign's short form: two processes a party, killed, paused and cut off at drawn moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exchange_campaign import campaign

if TYPE_CHECKING:
    from pathlib import Path


def test_exchanges_among_kills_pauses_and_cuts_all_end_and_both_logs_agree(tmp_path: Path) -> None:
    tally = campaign(2, tmp_path, seed=11)
    assert sum(tally.endings.values()) == 2
    assert tally.faults
