"""The budget: caps, charging, releasing, durability, several processes."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from budget_examples import reserve
from mandate_examples import NOW, make_mandate

from psishare.errors import AuditError, AuthorisationError, ConfigError, ExitCode, ProtocolError
from psishare.mandates.budget import Budget, Ended, LastFrame, Opened
from psishare.mandates.policy import PerDay, Policy
from psishare.mandates.spent import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from psishare.mandates.mandate import Mandate

ONE, TWO, THREE = (bytes([number]) * 32 for number in (1, 2, 3))
DIGEST, OTHER_DIGEST, TRANSCRIPT = b"d" * 32, b"e" * 32, b"t" * 32
SIGNATURE = b"s" * 64


@pytest.fixture
def budget(tmp_path: Path) -> Iterator[Budget]:
    with Budget(tmp_path / "state.db") as opened:
        yield opened


@pytest.fixture(scope="module")
def mandate() -> Mandate:
    return make_mandate(max_rows_total=1_000, max_exchanges=3)


def charge(budget: Budget, exchange_id: bytes, index: int, rows: int) -> bool:
    digest = bytes([index]) * 32
    return budget.charge(exchange_id, index, rows, digest, TRANSCRIPT, SIGNATURE).repeated


def refused(budget: Budget, exchange_id: bytes, mandate: Mandate, rows: int) -> str:
    with pytest.raises(AuthorisationError) as caught:
        reserve(budget, exchange_id, mandate, rows)
    return caught.value.reason


def test_reserved_rows_count_as_used_for_others(budget: Budget, mandate: Mandate) -> None:
    reserve(budget, ONE, mandate, 600)
    assert refused(budget, TWO, mandate, 401) == "budget_rows_exhausted"
    reserve(budget, TWO, mandate, 400)
    assert budget.usage(mandate.id) == Usage(rows=1_000, exchanges=2)


def test_exchanges_are_capped(budget: Budget, mandate: Mandate) -> None:
    for exchange_id in (ONE, TWO, THREE):
        reserve(budget, exchange_id, mandate, 0)
        budget.release(exchange_id)
    assert refused(budget, b"4" * 32, mandate, 0) == "budget_exchanges_exhausted"


def test_exchange_is_reserved_once(budget: Budget, mandate: Mandate) -> None:
    reserve(budget, ONE, mandate, 1)
    assert refused(budget, ONE, mandate, 1) == "exchange_repeated"
    budget.release(ONE)
    assert refused(budget, ONE, mandate, 1) == "exchange_repeated"


def test_mandates_are_counted_apart(budget: Budget, mandate: Mandate) -> None:
    reserve(budget, ONE, mandate, 1_000)
    reserve(budget, TWO, make_mandate(max_rows_total=1_000), 1_000)


def test_refused_reservation_leaves_nothing(budget: Budget, mandate: Mandate) -> None:
    assert refused(budget, ONE, mandate, 1_001) == "budget_rows_exhausted"
    assert budget.usage(mandate.id) == Usage(0, 0)
    reserve(budget, ONE, mandate, 1_000)


def test_same_frame_again_is_free(budget: Budget, mandate: Mandate) -> None:
    reserve(budget, ONE, mandate, 10)
    assert not charge(budget, ONE, 0, 6)
    assert not charge(budget, ONE, 1, 4)
    assert charge(budget, ONE, 0, 6)
    assert budget.last_frame(ONE) == LastFrame(2, 10, TRANSCRIPT, SIGNATURE)


def test_unused_reservation_is_released_and_charged_rows_stay(
    budget: Budget, mandate: Mandate
) -> None:
    reserve(budget, ONE, mandate, 1_000)
    charge(budget, ONE, 0, 100)
    budget.release(ONE)
    budget.release(ONE)
    assert budget.usage(mandate.id) == Usage(rows=100, exchanges=1)
    assert refused(budget, TWO, mandate, 901) == "budget_rows_exhausted"
    reserve(budget, TWO, mandate, 900)


def test_releasing_what_was_never_reserved_changes_nothing(budget: Budget) -> None:
    budget.release(ONE)
    assert budget.open_exchanges() == ()


@pytest.mark.parametrize(
    ("index", "rows", "digest", "reason"),
    [
        (0, 4, OTHER_DIGEST, "frame_changed"),
        (2, 4, DIGEST, "frame_out_of_order"),
        (-1, 4, DIGEST, "frame_out_of_order"),
        (1, 7, DIGEST, "frame_over_offer"),
        (1, 0, DIGEST, "frame_empty"),
        (1, -1, DIGEST, "frame_empty"),
    ],
)
def test_frame_that_breaks_the_protocol_is_not_charged(
    budget: Budget, mandate: Mandate, index: int, rows: int, digest: bytes, reason: str
) -> None:
    reserve(budget, ONE, mandate, 10)
    budget.charge(ONE, 0, 4, DIGEST, TRANSCRIPT, SIGNATURE)
    with pytest.raises(ProtocolError) as caught:
        budget.charge(ONE, index, rows, digest, TRANSCRIPT, SIGNATURE)
    assert caught.value.reason == reason
    assert budget.last_frame(ONE).rows == 4


def test_frame_of_an_exchange_that_was_never_opened_is_refused(budget: Budget) -> None:
    with pytest.raises(ProtocolError) as caught:
        charge(budget, ONE, 0, 1)
    assert caught.value.reason == "exchange_unknown"


def test_frame_of_an_exchange_that_has_ended_is_refused(budget: Budget, mandate: Mandate) -> None:
    reserve(budget, ONE, mandate, 10)
    charge(budget, ONE, 0, 1)
    budget.release(ONE)
    for index in (0, 1):
        with pytest.raises(ProtocolError) as caught:
            charge(budget, ONE, index, 1)
        assert caught.value.reason == "exchange_ended"


def test_last_frame_of_a_fresh_exchange_is_none(budget: Budget, mandate: Mandate) -> None:
    assert budget.last_frame(ONE) == LastFrame(0, 0, None, None)
    reserve(budget, ONE, mandate, 10)
    assert budget.last_frame(ONE) == LastFrame(0, 0, None, None)


def test_cancelled_reservation_is_forgotten(budget: Budget, mandate: Mandate) -> None:
    reserve(budget, ONE, mandate, 1_000)
    budget.cancel(ONE)
    assert budget.usage(mandate.id) == Usage(0, 0)
    reserve(budget, ONE, mandate, 1_000)


def test_cancelling_never_refunds_a_charged_row(budget: Budget, mandate: Mandate) -> None:
    reserve(budget, ONE, mandate, 1_000)
    charge(budget, ONE, 0, 7)
    budget.cancel(ONE)
    assert budget.usage(mandate.id) == Usage(rows=7, exchanges=1)
    assert budget.open_exchanges() == ()


def test_open_exchanges_are_listed_oldest_first(budget: Budget, mandate: Mandate) -> None:
    for number, exchange_id in enumerate((TWO, ONE, THREE)):
        reserve(budget, exchange_id, mandate, 1, at=NOW + timedelta(hours=number))
    budget.release(ONE)
    assert budget.open_exchanges() == (TWO, THREE)
    assert budget.open_exchanges(opened_before=NOW + timedelta(hours=1)) == (TWO,)


def test_budget_survives_closing_and_opening(tmp_path: Path, mandate: Mandate) -> None:
    path = tmp_path / "state.db"
    with Budget(path) as first:
        reserve(first, ONE, mandate, 10)
        charge(first, ONE, 0, 10)
    with Budget(path) as second:
        assert second.usage(mandate.id) == Usage(10, 1)
        assert second.last_frame(ONE).frames == 1


def test_state_file_is_its_owners_alone(tmp_path: Path, mandate: Mandate) -> None:
    with Budget(tmp_path / "state.db") as budget:
        reserve(budget, ONE, mandate, 10)
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
    assert modes["state.db"] == 0o600
    assert set(modes.values()) == {0o600}


def test_commit_waits_for_the_disk(budget: Budget) -> None:
    assert budget._state._database.execute("PRAGMA synchronous").fetchone() == (2,)
    assert budget._state._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_other_rooms_keep_tables_in_the_same_file(tmp_path: Path, mandate: Mandate) -> None:
    path = tmp_path / "state.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE exchanges (exchange_id BLOB)")
    other.commit()
    with Budget(path) as budget:
        reserve(budget, ONE, mandate, 10)
    other.close()


def test_full_disk_charges_nothing(budget: Budget, mandate: Mandate) -> None:
    reserve(budget, ONE, mandate, 1_000)
    pages = budget._state._database.execute("PRAGMA page_count").fetchone()[0]
    budget._state._database.execute(f"PRAGMA max_page_count = {pages}")
    charged = 0

    def charge_until_it_fails() -> None:
        nonlocal charged
        for index in range(1_000):
            budget.charge(ONE, index, 1, DIGEST, TRANSCRIPT, bytes(2_000))
            charged += 1

    with pytest.raises(AuditError) as caught:
        charge_until_it_fails()
    assert caught.value.reason == "state_write_failed"
    assert caught.value.exit_code is ExitCode.AUDIT
    assert budget.last_frame(ONE).frames == charged
    budget._state._database.execute("PRAGMA max_page_count = 1000000")
    assert not budget.charge(ONE, charged, 1, DIGEST, TRANSCRIPT, SIGNATURE).repeated


def test_state_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(b"this is not a database" * 100)
    with pytest.raises(ConfigError) as caught:
        Budget(path)
    assert caught.value.reason == "state_invalid"


def test_state_file_in_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AuditError):
        Budget(tmp_path / "missing" / "state.db")


def write_version(path: Path, version: int) -> None:
    database = sqlite3.connect(path)
    database.execute("UPDATE budget_schema SET version = ?", (version,))
    database.commit()
    database.close()


@pytest.mark.parametrize("version", [0, 3])
def test_budget_of_another_version_is_refused(tmp_path: Path, version: int) -> None:
    path = tmp_path / "state.db"
    Budget(path).close()
    write_version(path, version)
    with pytest.raises(ConfigError) as caught:
        Budget(path)
    assert caught.value.reason == "state_version"


VERSION_1 = """
CREATE TABLE budget_schema (only INTEGER PRIMARY KEY CHECK (only = 1), version INTEGER NOT NULL);
INSERT INTO budget_schema VALUES (1, 1);
CREATE TABLE budget_exchanges (
    exchange_id BLOB PRIMARY KEY CHECK (length(exchange_id) = 32),
    mandate_id TEXT NOT NULL,
    authority TEXT NOT NULL,
    kind TEXT NOT NULL,
    rows_offered INTEGER NOT NULL CHECK (rows_offered >= 0),
    rows_charged INTEGER NOT NULL DEFAULT 0
        CHECK (rows_charged BETWEEN 0 AND rows_offered),
    frames INTEGER NOT NULL DEFAULT 0,
    opened_at TEXT NOT NULL,
    released INTEGER NOT NULL DEFAULT 0 CHECK (released IN (0, 1))
) WITHOUT ROWID;
CREATE INDEX budget_by_mandate ON budget_exchanges (mandate_id);
CREATE INDEX budget_open ON budget_exchanges (opened_at) WHERE released = 0;
CREATE TABLE budget_frames (
    exchange_id BLOB NOT NULL REFERENCES budget_exchanges,
    frame INTEGER NOT NULL,
    n_rows INTEGER NOT NULL CHECK (n_rows > 0),
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    transcript BLOB NOT NULL CHECK (length(transcript) = 32),
    signature BLOB NOT NULL,
    PRIMARY KEY (exchange_id, frame)
) WITHOUT ROWID;
"""
"""The file as version 1 made it."""


def test_budget_of_version_1_is_migrated_and_keeps_what_was_spent(
    tmp_path: Path, mandate: Mandate
) -> None:
    path = tmp_path / "state.db"
    database = sqlite3.connect(path)
    database.executescript(VERSION_1)
    database.execute(
        "INSERT INTO budget_exchanges VALUES (?, ?, 'police.example', 'phone', 900, 40, 1, ?, 0)",
        (ONE, mandate.id, f"{NOW:%Y-%m-%dT%H:%M:%SZ}"),
    )
    database.commit()
    database.close()
    for _ in range(2):
        with Budget(path) as budget:
            assert budget.usage(mandate.id) == Usage(900, 1)
            assert budget.counted() == 0
            assert refused(budget, TWO, mandate, 101) == "budget_rows_exhausted"
            assert refused_by(budget, PerDay(rows=950), 51) == "budget_day_rows"
    with Budget(path) as budget:
        budget.release(ONE)
        assert budget.usage(mandate.id) == Usage(40, 1)


def refused_by(budget: Budget, per_day: PerDay, rows: int) -> str:
    """Return by which rule of a day another mandate's exchange is refused."""
    other = make_mandate()
    with pytest.raises(AuthorisationError) as caught:
        reserve(budget, THREE, other, rows, policy=Policy(per_day=per_day))
    return caught.value.reason


@pytest.mark.parametrize(
    ("per_day", "reason"),
    [
        (PerDay(rows=100), "budget_day_rows"),
        (PerDay(exchanges=2), "budget_day_exchanges"),
        (PerDay(rows_per_authority=100), "budget_authority_rows"),
        (PerDay(exchanges_per_authority=2), "budget_authority_exchanges"),
        (PerDay(rows_per_kind=100), "budget_kind_rows"),
        (PerDay(exchanges_per_kind=2), "budget_kind_exchanges"),
    ],
)
def test_days_are_capped_across_mandates(budget: Budget, per_day: PerDay, reason: str) -> None:
    policy = Policy(per_day=per_day)
    for exchange_id in (ONE, TWO):
        reserve(budget, exchange_id, make_mandate(), 45, policy=policy)
    assert refused_by(budget, per_day, 11) == reason
    # Another day, or with a cap on each of them another authority or kind, is counted apart.
    reserve(budget, THREE, make_mandate(), 11, policy=policy, at=NOW + timedelta(days=1))
    if "authority" in reason:
        reserve(budget, b"4" * 32, make_mandate(), 11, policy=policy, authority="customs.example")
    if "kind" in reason:
        reserve(budget, b"4" * 32, make_mandate(), 11, policy=policy, kind="iban")


def test_a_day_begins_where_the_policy_says(budget: Budget) -> None:
    policy = Policy(timezone="Asia/Tokyo", per_day=PerDay(rows=10))
    midnight = NOW.replace(hour=15, minute=0, second=0)
    reserve(budget, ONE, make_mandate(), 10, policy=policy, at=midnight - timedelta(seconds=1))
    reserve(budget, TWO, make_mandate(), 10, policy=policy, at=midnight)
    with pytest.raises(AuthorisationError):
        reserve(budget, THREE, make_mandate(), 1, policy=policy, at=midnight + timedelta(hours=23))
    reserve(budget, THREE, make_mandate(), 10, policy=policy, at=midnight + timedelta(hours=24))


def opened(exchange_id: bytes, mandate: Mandate, rows: int, charged: int | None) -> Opened:
    return Opened(
        exchange_id=exchange_id,
        mandate_id=mandate.id,
        authority=mandate.authority,
        kind="phone",
        rows=rows,
        opened_at=NOW,
        charged=charged,
    )


def test_what_the_log_tells_beyond_the_state_is_taken(budget: Budget, mandate: Mandate) -> None:
    told = [opened(ONE, mandate, 500, 120), opened(TWO, mandate, 300, None)]
    assert budget.recount(told, counted=7) == 2
    # One that the log has open cost what it offered: nobody knows how far it came.
    assert budget.usage(mandate.id) == Usage(rows=420, exchanges=2)
    assert budget.open_exchanges() == ()
    assert budget.counted() == 7
    assert budget.recount(told, counted=7) == 0
    assert refused(budget, ONE, mandate, 1) == "exchange_repeated"
    assert refused(budget, THREE, mandate, 581) == "budget_rows_exhausted"


def test_the_greater_of_state_and_log_counts(budget: Budget, mandate: Mandate) -> None:
    reserve(budget, ONE, mandate, 100)
    reserve(budget, TWO, mandate, 100)
    reserve(budget, THREE, mandate, 100)
    charge(budget, ONE, 0, 60)
    charge(budget, TWO, 0, 60)
    told: list[Opened | Ended] = [
        Ended(exchange_id=ONE, charged=50),
        Ended(exchange_id=TWO, charged=70),
        opened(THREE, mandate, 100, None),
        Ended(exchange_id=b"9" * 32, charged=10),
    ]
    assert budget.recount(told, counted=1) == 1
    assert budget.last_frame(ONE).rows == 60
    assert budget.last_frame(TWO).rows == 70
    # What is under way stays reserved; an end without an opening had nothing to cost.
    assert budget.open_exchanges() == (THREE,)
    assert budget.usage(mandate.id) == Usage(rows=230, exchanges=3)


def test_a_policy_caps_a_mandate_further(budget: Budget) -> None:
    mandate = make_mandate()
    policy = Policy(max_rows_per_mandate=50, max_exchanges_per_mandate=2)
    reserve(budget, ONE, mandate, 30, policy=policy)
    with pytest.raises(AuthorisationError) as caught:
        reserve(budget, TWO, mandate, 21, policy=policy)
    assert caught.value.reason == "budget_mandate_rows"
    reserve(budget, TWO, mandate, 1, policy=policy)
    with pytest.raises(AuthorisationError) as caught:
        reserve(budget, THREE, mandate, 1, policy=policy)
    assert caught.value.reason == "budget_mandate_exchanges"


def test_threads_never_overspend(budget: Budget) -> None:
    mandate = make_mandate(max_rows_total=100, max_exchanges=1_000)
    won: list[int] = []

    def spend(thread: int) -> None:
        for number in range(10):
            try:
                reserve(budget, bytes([thread, number]) + bytes(30), mandate, 7)
            except AuthorisationError:
                continue
            won.append(7)

    threads = [threading.Thread(target=spend, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(won) == 98
    assert budget.usage(mandate.id).rows == 98


SPENDER = """
import sys
from datetime import UTC, datetime
from pathlib import Path
from budget_examples import reserve
from psishare.errors import AuthorisationError
from psishare.mandates.budget import Budget
from psishare.mandates.mandate import parse_mandate
path, process = Path(sys.argv[1]), int(sys.argv[2])
mandate = parse_mandate(sys.stdin.buffer.read())
with Budget(path) as budget:
    for number in range(40):
        exchange_id = bytes([process, number]) + bytes(30)
        try:
            reserve(budget, exchange_id, mandate, 7, at=datetime.now(UTC))
        except AuthorisationError:
            continue
        budget.charge(exchange_id, 0, 3, bytes(32), bytes(32), bytes(64))
        print(number, flush=True)
        budget.release(exchange_id)
"""


def start_spender(path: Path, process: int, mandate: Mandate) -> subprocess.Popen[bytes]:
    started = subprocess.Popen(
        [sys.executable, "-c", SPENDER, str(path), str(process)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert started.stdin is not None
    started.stdin.write(mandate.document())
    started.stdin.close()
    return started


def finish(process: subprocess.Popen[bytes]) -> list[bytes]:
    assert process.stdout is not None
    with process.stdout as output:
        lines = output.read().split()
    process.wait(timeout=30)
    return lines


def test_processes_never_overspend(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    mandate = make_mandate(max_rows_total=200, max_exchanges=1_000)
    processes = [start_spender(path, number, mandate) for number in range(3)]
    charged = 3 * sum(len(finish(process)) for process in processes)
    with Budget(path) as budget:
        # Each reservation of 7 becomes 3 when released: the last one needs 7 of what is left.
        assert budget.usage(mandate.id).rows == charged
        assert 200 - 7 - 6 <= charged <= 200
        assert budget.open_exchanges() == ()


def test_killed_process_loses_nothing_that_was_charged(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    mandate = make_mandate(max_rows_total=10_000, max_exchanges=1_000)
    process = start_spender(path, 0, mandate)
    assert process.stdout is not None
    seen = [process.stdout.readline() for _ in range(5)]
    process.send_signal(signal.SIGKILL)
    seen += process.stdout.readlines()
    process.stdout.close()
    process.wait(timeout=30)
    with Budget(path) as budget:
        for line in seen:
            exchange_id = bytes([0, int(line)]) + bytes(30)
            assert budget.last_frame(exchange_id) == LastFrame(1, 3, bytes(32), bytes(64))
        for left in budget.open_exchanges():
            budget.release(left)
        assert budget.usage(mandate.id).rows in {3 * len(seen), 3 * (len(seen) + 1)}
