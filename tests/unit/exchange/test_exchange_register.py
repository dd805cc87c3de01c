"""The register: exchanges of dead processes are found, those of living ones are left alone."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from psishare.errors import AuditError, ConfigError, InputError
from psishare.exchange.register import SCHEMA_VERSION, Register, State

if TYPE_CHECKING:
    from collections.abc import Iterator

ONE, TWO = b"\x01" * 32, b"\x02" * 32

DYING = """
    import os, sys
    from pathlib import Path
    from psishare.exchange.register import SCHEMA_VERSION, Register, State

    folder = Path(sys.argv[1])
    register = Register(folder / "state.db", folder / "run")
    register.begin(b"\\x01" * 32, peer="p", state=State.OFFERED, offer=b"{}", log_size=3)
    print("entered", flush=True)
    if sys.argv[2] == "dies":
        os._exit(9)
    sys.stdin.readline()
"""


@pytest.fixture
def register(tmp_path: Path) -> Iterator[Register]:
    opened = Register(tmp_path / "state.db", tmp_path / "run")
    yield opened
    opened.close()


def other_process(folder: Path, fate: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(DYING), str(folder), fate],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "entered\n"
    return process


def test_an_exchange_is_entered_once(register: Register) -> None:
    assert register.begin(ONE, peer="p", state=State.OPENED, offer=b"{}", log_size=3)
    assert not register.begin(ONE, peer="q", state=State.OPENED, offer=b"{}", log_size=3)
    row = register.get(ONE)
    assert row is not None
    assert (row.peer, row.state) == ("p", State.OPENED)
    assert register.get(TWO) is None


def test_an_update_sets_state_and_columns(register: Register) -> None:
    register.begin(ONE, peer="p", state=State.OPENED, offer=b"{}", log_size=3)
    register.update(ONE, State.CLOSED, closed_index=7, platform_signature=b"s")
    row = register.get(ONE)
    assert row is not None
    assert (row.state, row.closed_index, row.platform_signature) == (State.CLOSED, 7, b"s")


def test_pending_exchanges_are_found_by_peer(register: Register) -> None:
    register.begin(ONE, peer="p", state=State.PENDING, offer=b"{}", log_size=3)
    register.begin(TWO, peer="q", state=State.PENDING, offer=b"{}", log_size=3)
    assert [row.exchange_id for row in register.pending("p")] == [ONE]


def test_own_exchanges_are_no_orphans(register: Register) -> None:
    register.begin(ONE, peer="p", state=State.OPENED, offer=b"{}", log_size=3)
    assert register.orphans() == []


def test_exchanges_of_a_dead_process_are_orphans(register: Register, tmp_path: Path) -> None:
    with other_process(tmp_path, "dies") as process:
        process.wait()
    assert [row.exchange_id for row in register.orphans()] == [ONE]


def test_exchanges_of_a_living_process_are_no_orphans(register: Register, tmp_path: Path) -> None:
    with other_process(tmp_path, "lives") as process:
        assert register.orphans() == []
        process.kill()
        process.wait()
    assert [row.exchange_id for row in register.orphans()] == [ONE]


def test_deliveries_are_remembered(register: Register) -> None:
    assert register.deliveries("p", ONE, "d") == set()
    register.delivered("p", ONE, "d", TWO)
    register.delivered("p", ONE, "d", TWO)
    assert register.deliveries("p", ONE, "d") == {TWO}
    assert register.deliveries("q", ONE, "d") == set()


def test_another_format_is_refused(tmp_path: Path) -> None:
    opened = Register(tmp_path / "state.db", tmp_path / "run")
    with opened._state.writing() as database:
        database.execute("UPDATE register_schema SET version = 99")
    opened.close()
    with pytest.raises(ConfigError, match="99"):
        Register(tmp_path / "state.db", tmp_path / "run")


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(os.urandom(4096))
    with pytest.raises(ConfigError) as caught:
        Register(tmp_path / "state.db", tmp_path / "run")
    assert caught.value.reason == "state_invalid"


def test_threads_that_have_ended_leave_no_file_open(register: Register, tmp_path: Path) -> None:
    before = open_files(tmp_path)
    for _ in range(20):
        thread = threading.Thread(target=register.rows)
        thread.start()
        thread.join()
    assert open_files(tmp_path) == before


def open_files(folder: Path) -> list[Path]:
    """Return the files of a folder that this process has open, each as often as it has."""
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # another thread's, closed meanwhile
            found.append(descriptor.readlink())
    return sorted(path for path in found if folder in path.parents)


def test_exchanges_that_nobody_works_on_are_looked_at_and_not_taken_over(
    register: Register, tmp_path: Path
) -> None:
    register.begin(TWO, peer="p", state=State.OPENED, offer=b"{}", log_size=3)
    with other_process(tmp_path, "dies") as process:
        process.wait()
    assert {row.exchange_id for row in register.unattended()} == {ONE, TWO}
    # Another process may begin to work on what this one has looked at.
    other = Register(tmp_path / "state.db", tmp_path / "run")
    with other.attending(ONE):
        assert [row.exchange_id for row in register.unattended()] == [TWO]
        with pytest.raises(InputError) as raised, register.attending(ONE):
            pass
        assert raised.value.reason == "exchange_running"
    with register.attending(TWO):
        assert register.unattended() == []
    other.close()
    with register.attending(ONE):
        pass
    assert register.orphans() == []


def test_exchanges_that_are_left_are_orphans_at_once(register: Register) -> None:
    register.begin(ONE, peer="p", state=State.OPENED, offer=b"{}", log_size=3)
    register.leave([ONE])
    assert [row.exchange_id for row in register.orphans()] == [ONE]


def test_digests_of_answers_are_kept_until_the_exchange_ends(register: Register) -> None:
    register.begin(ONE, peer="p", state=State.OPENED, offer=b"{}", log_size=3)
    register.answered(ONE, 1, TWO)
    register.answered(ONE, 0, ONE)
    register.answered(ONE, 1, TWO)
    assert register.answers(ONE) == {0: ONE, 1: TWO}
    assert register.answers(TWO) == {}
    register.update(ONE, State.CLOSED)
    assert register.answers(ONE) == {}


def test_a_register_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    opened = Register(tmp_path / "state.db", tmp_path / "run")
    with opened._state.writing() as database:
        database.execute("DROP TABLE answers")
        database.execute("UPDATE register_schema SET version = 1")
    opened.close()
    again = Register(tmp_path / "state.db", tmp_path / "run")
    assert again.answers(ONE) == {}
    with again._state.reading() as database:
        assert database.execute("SELECT version FROM register_schema").fetchall() == [
            (SCHEMA_VERSION,)
        ]
    again.close()


def test_orphans_are_those_that_were_taken_over_and_no_others(
    register: Register, tmp_path: Path
) -> None:
    register.begin(TWO, peer="p", state=State.OPENED, offer=b"{}", log_size=3)
    with other_process(tmp_path, "dies") as process:
        process.wait()
    # This process has an exchange of its own under way.
    assert [row.exchange_id for row in register.orphans()] == [ONE]
    assert register.orphans() == []


def test_closing_twice_closes_no_descriptor_of_others(tmp_path: Path) -> None:
    opened = Register(tmp_path / "other.db", tmp_path / "run")
    opened.close()
    descriptor = os.open(tmp_path, os.O_RDONLY)
    opened.close()
    os.fstat(descriptor)
    os.close(descriptor)


def test_state_is_for_its_owner_alone(tmp_path: Path) -> None:
    opened = Register(tmp_path / "private.db", tmp_path / "run")
    assert (tmp_path / "private.db").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
    opened.close()


def test_a_folder_that_cannot_be_written_is_an_audit_error(tmp_path: Path) -> None:
    with pytest.raises(AuditError) as raised:
        Register(tmp_path / "absent" / "state.db", tmp_path / "run")
    assert raised.value.reason == "state_write_failed"
