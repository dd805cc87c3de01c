"""Passphrases on the command line: from a file, a credential or a terminal, and never as an argument."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from cli_stage import PROGRAM, Ran, psi, psi_process

from psishare.errors import ConfigError
from psishare.keys import canonical
from psishare.keys.passphrase import Passphrase, given
from psishare.parties.home import Home

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "correct horse battery staple"
INIT = ("party", "init", "--id", "new.example", "--role", "platform", "--name", "N")


@pytest.fixture(autouse=True)
def nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PSISHARE_PASSPHRASE_FILE", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return passphrase_file(tmp_path / "passphrase", TEXT)


def passphrase_file(path: Path, text: str) -> Path:
    path.write_text(f"{text}\n", encoding="utf-8")
    path.chmod(0o600)
    return path


def init(home: Path, *more: str | Path) -> Ran:
    return psi(*INIT, "--home", home, "--json", *more)


def versions(home: Path) -> set[int]:
    return {
        canonical.loads(path.read_bytes(), max_bytes=99_999, what="it")["version"]
        for path in Home.open(home).key_files()
    }


def test_without_a_terminal_a_home_is_not_made_in_the_clear_unless_that_is_said(
    tmp_path: Path,
) -> None:
    ran = init(tmp_path / "home")
    assert (ran.code, ran.reason) == (3, "passphrase_missing")
    assert list(tmp_path.iterdir()) == []
    assert init(tmp_path / "home", "--no-passphrase").document["encrypted"] is False
    assert "in the clear" in psi("party", "show", "--home", tmp_path / "home").out


def test_a_home_made_with_a_file_is_encrypted_and_works_with_it(tmp_path: Path, file: Path) -> None:
    home = tmp_path / "home"
    assert init(home, "--passphrase-file", file).document["encrypted"] is True
    assert versions(home) == {2}
    data = tmp_path / "customers.csv"
    data.write_text("number\n+447700900001\n+447700900002\n")
    encode = ("dataset", "encode", "customers", "--home", home, "--data", data)
    ran = psi(*encode, "--key", "phone=number", "--json")
    assert (ran.code, ran.reason) == (3, "passphrase_missing")
    ran = psi(*encode, "--key", "phone=number", "--json", "--passphrase-file", file)
    assert ran.code == 0, ran.out
    assert versions(home) == {2}
    assert len(Home.open(home).key_files()) == 5
    # What shows public things only needs no passphrase.
    assert psi("party", "show", "--home", home, "--json").document["log_size"] == 2
    assert psi("dataset", "show", "--home", home).code == 0


def test_the_environment_names_the_file_or_the_service_s_credential(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PSISHARE_PASSPHRASE_FILE", str(file))
    assert init(tmp_path / "one").document["encrypted"] is True
    monkeypatch.delenv("PSISHARE_PASSPHRASE_FILE")
    passphrase_file(tmp_path / "psishare-passphrase", TEXT)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert init(tmp_path / "two").document["encrypted"] is True
    for name in ("one", "two"):
        Home.open(tmp_path / name, passphrase=given(Passphrase(TEXT))).unlock()


def test_the_wrong_passphrase_ends_with_3_and_changes_nothing(tmp_path: Path, file: Path) -> None:
    init(tmp_path / "home", "--passphrase-file", file)
    wrong = passphrase_file(tmp_path / "wrong", "another horse battery staple")
    ran = psi(
        *("party", "passphrase", "--home", tmp_path / "home", "--passphrase-file", wrong),
        *("--new-passphrase-file", wrong, "--json"),
    )
    assert (ran.code, ran.reason) == (3, "passphrase_wrong")
    Home.open(tmp_path / "home", passphrase=given(Passphrase(TEXT))).unlock()


def test_the_passphrase_is_not_changed_to_what_it_is(tmp_path: Path, file: Path) -> None:
    init(tmp_path / "home", "--passphrase-file", file)
    change = ("party", "passphrase", "--home", tmp_path / "home", "--passphrase-file", file)
    ran = psi(*change, "--json")
    assert (ran.code, ran.reason) == (3, "passphrase_missing")


def test_on_a_terminal_a_person_changes_the_passphrase(tmp_path: Path, file: Path) -> None:
    home = tmp_path / "home"
    init(home, "--passphrase-file", file)
    other = "another horse battery staple"
    code, shown = on_a_terminal(["party", "passphrase", "--home", str(home)], TEXT, other, other)
    assert code == 0, shown
    assert "horse" not in shown
    Home.open(home, passphrase=given(Passphrase(other))).unlock()


def test_a_home_in_the_clear_gets_its_first_passphrase_and_then_another(
    tmp_path: Path, file: Path
) -> None:
    home = tmp_path / "home"
    init(home, "--no-passphrase")
    assert versions(home) == {1}
    ran = psi("party", "passphrase", "--home", home, "--new-passphrase-file", file, "--json")
    assert ran.document == {"id": "new.example", "encrypted": 4}
    assert versions(home) == {2}
    other = passphrase_file(tmp_path / "other", "another horse battery staple")
    ran = psi(
        *("party", "passphrase", "--home", home, "--passphrase-file", file),
        *("--new-passphrase-file", other, "--json"),
    )
    assert ran.document == {"id": "new.example", "encrypted": 0}
    with pytest.raises(ConfigError) as caught:
        Home.open(home, passphrase=given(Passphrase(TEXT))).unlock()
    assert caught.value.reason == "passphrase_wrong"
    opened = Home.open(home, passphrase=given(Passphrase("another horse battery staple")))
    assert opened.log_signer().public_key == opened.card.log_key


def test_a_restored_home_is_proven_to_open_with_its_passphrase_or_names_what_does_not(
    tmp_path: Path, file: Path
) -> None:
    home = tmp_path / "home"
    init(home, "--passphrase-file", file)
    show = ("party", "show", "--home", home, "--keys", "--json")
    assert psi(*show).reason == "passphrase_missing"
    assert psi(*show, "--passphrase-file", file).document["keys_opened"] == 4
    text = psi("party", "show", "--home", home, "--keys", "--passphrase-file", file).out
    assert "All 4 key files open" in text
    psi("party", "renew", "--home", home, "--sealing-key", "--passphrase-file", file)
    older = home / "keys" / "sealing.json"
    older.write_bytes(older.read_bytes().replace(b'"created":"2', b'"created":"3'))
    ran = psi(*show, "--passphrase-file", file)
    assert (ran.code, ran.reason) == (3, "key_file_malformed")


def on_a_terminal(arguments: list[str], *typed: str) -> tuple[int, str]:
    """Run a command on a terminal of its own, typing a line at each question."""
    ours, theirs = pty.openpty()
    command = [*PROGRAM, *arguments]
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        shown, left = b"", list(typed)
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # how Linux says that the other end is closed
                part = b""
            if not part:
                break
            shown += part
            if left and shown.rstrip(b" ").endswith(b":"):
                os.write(ours, f"{left.pop(0)}\n".encode())
                shown += b"\n"
        os.close(ours)
        return process.wait(60), shown.decode()


def test_on_a_terminal_a_person_is_asked_twice_and_what_is_typed_is_not_shown(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    code, shown = on_a_terminal([*INIT, "--home", str(home)], TEXT, TEXT)
    assert code == 0, shown
    assert TEXT not in shown
    assert versions(home) == {2}
    Home.open(home, passphrase=given(Passphrase(TEXT))).unlock()


def test_on_a_terminal_two_different_passphrases_make_nothing(tmp_path: Path) -> None:
    code, shown = on_a_terminal(
        [*INIT, "--home", str(tmp_path / "home")], TEXT, "another horse battery staple"
    )
    assert (code, "passphrase_mismatch" in shown) == (3, True)
    assert list(tmp_path.iterdir()) == []


def test_no_command_takes_a_passphrase_as_an_argument() -> None:
    ran = psi(*INIT, "--home", "home", "--passphrase", TEXT)
    assert ran.code == 2


def test_a_command_forbids_core_dumps_and_looks_into_its_memory(tmp_path: Path) -> None:
    pipe, status = tmp_path / "passphrase", None
    os.mkfifo(pipe, 0o600)
    arguments = [*PROGRAM, *INIT, "--home", str(tmp_path / "home"), "--passphrase-file", str(pipe)]
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as process:
        # It waits for the pipe's other end: now it can be looked at.
        with pipe.open("w", encoding="utf-8") as said:
            with open(f"/proc/{process.pid}/limits", encoding="ascii") as file:  # noqa: PTH123
                limits = {line[:25].strip(): line[26:].split() for line in file}
            status = os.stat(f"/proc/{process.pid}/mem").st_uid  # noqa: PTH116
            said.write(TEXT)
        assert process.wait(60) == 0
    assert limits["Max core file size"][:2] == ["0", "0"]
    if os.geteuid() != 0:
        assert status == 0


def test_a_process_that_has_forbidden_dumps_is_not_dumpable() -> None:
    look = (
        "import ctypes; from psishare.keys.core_dump import deny_core_dumps; deny_core_dumps();"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"


def test_a_command_whose_system_does_not_let_it_forbid_dumps_does_not_start(
    tmp_path: Path,
) -> None:
    stub = tmp_path / "sitecustomize.py"
    stub.write_text("import resource\ndef no(*_): raise ValueError\nresource.setrlimit = no\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    ran = psi_process("party", "show", "--home", tmp_path, "--json", env=environment)
    assert (ran.code, ran.reason) == (3, "core_dumps_allowed")
