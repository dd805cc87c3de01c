"""Key files and durable files: who may read them, and what a failing disk leaves."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from psishare.errors import AuditError, ConfigError
from psishare.keys import canonical
from psishare.keys.durable_file import make_folder, write_durably
from psishare.keys.vault import Vault

if TYPE_CHECKING:
    from collections.abc import Callable

SECRET = b"\x07" * 32


def write_key_file(path: Path, *, algorithm: str, secret: bytes) -> None:
    Vault(path.parent).write(path, algorithm=algorithm, secret=secret)


def read_key_file(path: Path, *, algorithm: str) -> bytes:
    return Vault(path.parent).read(path, algorithm=algorithm)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "keys" / "log.json"
    path.parent.mkdir(mode=0o700)
    write_key_file(path, algorithm="ed25519", secret=SECRET)
    return path


def refusal(path: Path, algorithm: str = "ed25519") -> str:
    with pytest.raises(ConfigError) as caught:
        read_key_file(path, algorithm=algorithm)
    assert SECRET.hex() not in caught.value.diagnostics()
    return caught.value.reason


def rewrite(path: Path, **changes: object) -> None:
    document = canonical.loads(path.read_bytes(), max_bytes=10_000, what="it") | changes
    path.write_bytes(canonical.dumps({k: v for k, v in document.items() if v is not None}))


def test_a_key_file_is_read_again_and_is_its_owner_s_alone(key_file: Path) -> None:
    assert read_key_file(key_file, algorithm="ed25519") == SECRET
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert key_file.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in key_file.parent.iterdir()] == ["log.json"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o610, 0o644, 0o666])
def test_a_key_that_others_can_use_is_refused(key_file: Path, mode: int) -> None:
    key_file.chmod(mode)
    assert refusal(key_file) == "key_file_exposed"


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_a_key_that_others_can_replace_is_refused(key_file: Path, mode: int) -> None:
    key_file.parent.chmod(mode)
    assert refusal(key_file) == "key_file_exposed"


def test_a_key_of_another_user_is_refused(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert refusal(key_file) == "key_file_exposed"


def test_a_symbolic_link_is_refused(key_file: Path) -> None:
    link = key_file.with_name("link.json")
    link.symlink_to(key_file)
    assert refusal(link) == "key_file_unreadable"


def test_a_pipe_or_folder_in_a_key_s_place_is_refused_without_waiting(key_file: Path) -> None:
    pipe = key_file.with_name("pipe.json")
    os.mkfifo(pipe, 0o600)
    assert refusal(pipe) == "key_file_malformed"
    assert refusal(key_file.parent) == "key_file_malformed"


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.json") == "key_file_missing"


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 2},
        {"version": "1"},
        {"algorithm": "ml-dsa-44"},
        {"protection": "scrypt"},
        {"secret": "AA"},
        {"secret": "not base64"},
        {"secret": None},
        {"more": 1},
    ],
)
def test_another_format_is_refused(key_file: Path, changes: dict[str, object]) -> None:
    rewrite(key_file, **changes)
    assert refusal(key_file) == "key_file_malformed"


@pytest.mark.parametrize("data", [b"", b"{}", b"{" * 100_000, b'{"a": 1}'])
def test_another_content_is_refused(key_file: Path, data: bytes) -> None:
    key_file.write_bytes(data)
    assert refusal(key_file) == "key_file_malformed"


def test_a_key_is_never_overwritten(key_file: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        write_key_file(key_file, algorithm="ed25519", secret=b"\x08" * 32)
    assert caught.value.reason == "key_file_exists"
    assert read_key_file(key_file, algorithm="ed25519") == SECRET


def test_a_key_is_not_written_where_others_can_replace_it(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigError) as caught:
        write_key_file(folder / "k.json", algorithm="ed25519", secret=SECRET)
    assert caught.value.reason == "key_file_exposed"
    assert list(folder.iterdir()) == []


def test_a_durable_file_replaces_and_keeps_to_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    before = os.umask(0)
    try:
        write_durably(path, b"old", error=ConfigError)
        write_durably(path, memoryview(b"new"), error=ConfigError, mode=0o644)
    finally:
        os.umask(before)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert list(tmp_path.iterdir()) == [path]


def no_space(*_arguments: object, **_named: object) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("operation", ["open", "write", "fsync", "fchmod"])
def test_a_full_disk_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str
) -> None:
    path = tmp_path / "file"
    write_durably(path, b"old", error=ConfigError)
    with monkeypatch.context() as patch:
        patch.setattr(os, operation, no_space)
        with pytest.raises(AuditError) as caught:
            write_durably(path, b"new", error=AuditError, reason="log_write_failed")
    assert caught.value.reason == "log_write_failed"
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_rename_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_durably(path, b"old", error=ConfigError)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", no_space)
        with pytest.raises(ConfigError):
            write_durably(path, b"new", error=ConfigError)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write: Callable[[int, bytes], int] = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, bytes(data[:3])))
        write_durably(tmp_path / "file", b"0123456789", error=ConfigError)
    assert (tmp_path / "file").read_bytes() == b"0123456789"


def test_folders_are_made_with_those_above_them(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
