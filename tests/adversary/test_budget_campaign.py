"""The budget campaign, short form: ``make campaign`` runs the long one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from budget_campaign import campaign

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
def test_no_row_is_spent_twice_and_none_is_lost_however_servers_are_killed(tmp_path: Path) -> None:
    told = campaign(tmp_path, exchanges=16, kills=2, seed=1, n_servers=2)
    assert told.kills
    assert told.outcomes.total() == 16
    assert told.most <= 16 * 20 * 6 // 10
