"""The lock: key files that a passphrase opens, one derivation a process, and nothing else opens."""

from __future__ import annotations

import base64
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given as for_all
from hypothesis import settings
from hypothesis import strategies as st

from psishare.errors import ConfigError
from psishare.keys import canonical, lock
from psishare.keys.lock import HomeKey, unwrap
from psishare.keys.passphrase import (
    CREDENTIAL,
    Passphrase,
    asking,
    current_source,
    given,
    read_passphrase,
    unattended,
)
from psishare.keys.vault import Vault

if TYPE_CHECKING:
    from pathlib import Path

SECRET = bytes(range(32))
WORDS = Passphrase("correct horse battery staple")
OTHER = Passphrase("another horse battery staple")


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make locks as cheap as readers accept; what they cost in earnest has a test of its own."""
    monkeypatch.setattr(lock, "MEMORY_KIB", 8 * 1024)
    monkeypatch.setattr(lock, "PASSES", 1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "keys"
    made.mkdir(mode=0o700)
    Vault.create(made, WORDS).write(made / "log.json", algorithm="ed25519", secret=SECRET)
    return made


def vault(folder: Path, passphrase: Passphrase | None = WORDS) -> Vault:
    return Vault(folder, given(passphrase))


def refusal(folder: Path, passphrase: Passphrase | None = WORDS, name: str = "log.json") -> str:
    with pytest.raises(ConfigError) as caught:
        vault(folder, passphrase).read(folder / name, algorithm="ed25519")
    assert "horse" not in caught.value.diagnostics()
    return caught.value.reason


def rewrite(path: Path, **changes: object) -> None:
    fields = canonical.loads(path.read_bytes(), max_bytes=10_000, what="it") | changes
    path.write_bytes(canonical.dumps(fields))


def test_a_key_is_read_again_and_is_not_on_the_disk_in_the_clear(folder: Path) -> None:
    assert vault(folder).read(folder / "log.json", algorithm="ed25519") == SECRET
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
        assert SECRET not in path.read_bytes()
        assert base64.b64encode(SECRET)[:16] not in path.read_bytes()


def test_the_cost_is_the_one_of_the_specification(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    HomeKey.generate().wrap(tmp_path / "lock.json", WORDS)
    document = canonical.loads((tmp_path / "lock.json").read_bytes(), max_bytes=999, what="it")
    del document["kdf"]["salt"]
    assert document["kdf"] == {"name": "argon2id", "memory_kib": 65536, "passes": 3, "lanes": 4}


def test_another_passphrase_and_none_open_nothing(folder: Path) -> None:
    assert refusal(folder, OTHER) == "passphrase_wrong"
    assert refusal(folder, None) == "passphrase_missing"


def test_the_passphrase_is_asked_for_once_and_only_when_a_secret_is_needed(folder: Path) -> None:
    asked = []

    def source(what: str, /, *, new: bool = False) -> Passphrase:
        asked.append((what, new))
        return WORDS

    opened = Vault(folder, source)
    assert opened.is_locked
    assert asked == []
    for _ in range(3):
        opened.read(folder / "log.json", algorithm="ed25519")
    opened.write(folder / "more.json", algorithm="ed25519", secret=SECRET)
    assert asked == [(str(folder.parent), False)]


def test_a_key_file_under_another_use_or_in_another_home_does_not_open(
    folder: Path, tmp_path: Path
) -> None:
    rewrite(folder / "log.json", algorithm="mlkem768-x25519")
    with pytest.raises(ConfigError) as caught:
        vault(folder).read(folder / "log.json", algorithm="mlkem768-x25519")
    assert caught.value.reason == "key_file_malformed"
    rewrite(folder / "log.json", algorithm="ed25519")
    other = tmp_path / "other"
    other.mkdir(mode=0o700)
    Vault.create(other, WORDS)
    (other / "log.json").write_bytes((folder / "log.json").read_bytes())
    (other / "log.json").chmod(0o600)
    assert refusal(other) == "key_file_malformed"


@pytest.mark.parametrize("changes", [{"created": "2026-01-01T00:00:00Z"}, {"salt": "A" * 44}])
def test_an_edited_key_file_does_not_open(folder: Path, changes: dict[str, object]) -> None:
    rewrite(folder / "log.json", **changes)
    assert refusal(folder) == "key_file_malformed"


@pytest.mark.parametrize("name", ["log.json", "lock.json"])
def test_every_flipped_bit_of_the_encrypted_part_is_found(folder: Path, name: str) -> None:
    path = folder / name
    field = "secret" if name == "log.json" else "wrapped"
    whole = path.read_bytes()
    text = canonical.loads(whole, max_bytes=10_000, what="it")[field]
    sealed = base64.b64decode(text)
    for place in (0, len(sealed) // 2, len(sealed) - 1):
        flipped = bytearray(sealed)
        flipped[place] ^= 1
        rewrite(path, **{field: base64.b64encode(flipped).decode()})
        assert refusal(folder) in {"key_file_malformed", "passphrase_wrong"}
    path.write_bytes(whole)
    assert vault(folder).read(folder / "log.json", algorithm="ed25519") == SECRET


@pytest.mark.parametrize(
    "change",
    [
        {"memory_kib": 4},
        {"memory_kib": 2**33},
        {"passes": 0},
        {"passes": 10**6},
        {"lanes": 17},
        {"name": "scrypt"},
        {"salt": "?"},
        {"more": 1},
    ],
)
def test_a_lock_that_would_cost_nothing_or_everything_is_refused(
    folder: Path, change: dict[str, object]
) -> None:
    fields = canonical.loads((folder / "lock.json").read_bytes(), max_bytes=9_999, what="it")
    rewrite(folder / "lock.json", kdf=fields["kdf"] | change)
    assert refusal(folder) == "key_file_malformed"


def test_a_lock_that_others_can_read_is_refused(folder: Path) -> None:
    (folder / "lock.json").chmod(0o640)
    assert refusal(folder) == "key_file_exposed"


def test_an_encrypted_key_without_its_lock_says_so(folder: Path) -> None:
    (folder / "lock.json").unlink()
    assert refusal(folder) == "lock_missing"


def test_another_passphrase_takes_the_place_of_the_old_one(folder: Path) -> None:
    before = (folder / "log.json").read_bytes()
    vault(folder).change_passphrase(OTHER)
    assert (folder / "log.json").read_bytes() == before
    assert refusal(folder, WORDS) == "passphrase_wrong"
    assert vault(folder, OTHER).read(folder / "log.json", algorithm="ed25519") == SECRET


def test_the_passphrase_is_not_changed_by_who_does_not_know_it(folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        vault(folder, OTHER).change_passphrase(OTHER)
    assert caught.value.reason == "passphrase_wrong"
    assert vault(folder).read(folder / "log.json", algorithm="ed25519") == SECRET


@pytest.fixture
def clear(tmp_path: Path) -> Path:
    """A folder of version 1 files, as homes had before there were locks."""
    made = tmp_path / "clear"
    made.mkdir(mode=0o700)
    for number in range(3):
        path = made / f"{number}.json"
        secret = base64.b64encode(SECRET).decode()
        path.write_text(
            '{"algorithm":"ed25519","created":"2026-08-01T12:00:00Z","protection":"none",'
            f'"secret":"{secret}","version":1}}'
        )
        path.chmod(0o600)
    return made


def test_a_home_in_the_clear_is_read_and_is_brought_under_a_lock(clear: Path) -> None:
    files = sorted(clear.iterdir())
    assert vault(clear, None).read(files[0], algorithm="ed25519") == SECRET
    with files[0].open("rb") as old:
        assert vault(clear).protect(WORDS, files) == 3
        old.seek(0)
        assert set(old.read()) == {0}
    for path in files:
        assert base64.b64encode(SECRET)[:16] not in path.read_bytes()
        assert vault(clear).read(path, algorithm="ed25519") == SECRET
        document = canonical.loads(path.read_bytes(), max_bytes=9_999, what="it")
        assert (document["version"], document["created"]) == (2, "2026-08-01T12:00:00Z")
    assert vault(clear).protect(WORDS, files) == 0


def test_a_migration_that_was_cut_off_leaves_no_key_unread_and_is_finished_by_another_try(
    clear: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted(clear.iterdir())
    writes = 0
    rename = os.fsync

    def fail(descriptor: int) -> None:
        nonlocal writes
        writes += 1
        if writes == 6:
            raise OSError(28, "No space left on device")
        rename(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr("psishare.keys.durable_file.os.fsync", fail)
        with pytest.raises(ConfigError):
            vault(clear).protect(WORDS, files)
    with pytest.raises(ConfigError) as caught:
        vault(clear).read(files[2], algorithm="ed25519")
    assert caught.value.reason == "key_file_unprotected"
    assert vault(clear).protect(WORDS, files) > 0
    assert all(vault(clear).read(path, algorithm="ed25519") == SECRET for path in files)


def test_a_key_in_the_clear_that_was_put_beside_a_lock_is_refused(
    folder: Path, clear: Path
) -> None:
    (clear / "0.json").rename(folder / "planted.json")
    assert refusal(folder, name="planted.json") == "key_file_unprotected"


def test_neither_passphrase_nor_keys_print_themselves(folder: Path) -> None:
    opened = vault(folder)
    opened.unlock()
    home_key = unwrap(folder / "lock.json", WORDS)
    assert "horse" not in repr([WORDS, opened, home_key, vars(opened)])


# passphrases


@pytest.mark.parametrize(
    "text", ["", "short", "eleven char", "a" * 1025, "two lines\nof text", "a tab\tis not text"]
)
def test_what_is_no_passphrase_is_refused_and_not_quoted(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Passphrase(text)
    assert caught.value.reason == "passphrase_unfit"
    assert not text or text not in caught.value.diagnostics()


@settings(max_examples=50)
@for_all(st.text(st.characters(exclude_categories=["C"]), min_size=12, max_size=40))
def test_spellings_that_look_alike_are_one_passphrase(text: str) -> None:
    import unicodedata  # noqa: PLC0415

    decomposed = unicodedata.normalize("NFD", text)
    try:
        whole = Passphrase(unicodedata.normalize("NFC", text))
    except ConfigError:
        return
    assert Passphrase(decomposed) == whole


@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_file_holds_a_passphrase_and_perhaps_one_line_end(tmp_path: Path, end: str) -> None:
    path = tmp_path / "pass"
    path.write_bytes(f"correct horse battery staple{end}".encode())
    path.chmod(0o400)
    assert read_passphrase(path) == WORDS


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_passphrase_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "pass"
    path.write_text("correct horse battery staple")
    path.chmod(mode)
    with pytest.raises(ConfigError) as caught:
        read_passphrase(path)
    assert caught.value.reason == "key_file_exposed"


def test_a_pipe_gives_a_passphrase(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"correct horse battery staple\n")
    os.close(writing)
    assert read_passphrase(tmp_path / f"/dev/fd/{reading}") == WORDS
    os.close(reading)


@pytest.mark.parametrize("data", [b"\xff" * 20, b"two lines\nhere there\n\n", b"\n"])
def test_a_file_of_another_content_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "pass"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(ConfigError) as caught:
        read_passphrase(path)
    assert caught.value.reason == "passphrase_unfit"
    with pytest.raises(ConfigError) as missing:
        read_passphrase(tmp_path / "none")
    assert missing.value.reason == "key_file_unreadable"


def test_the_service_s_credential_opens_and_the_named_file_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PSISHARE_PASSPHRASE_FILE", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    assert unattended("home") is None
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert unattended("home") is None
    credential = tmp_path / CREDENTIAL
    credential.write_text("correct horse battery staple")
    # As systemd makes it: an access list shows as the group's bits.
    credential.chmod(0o440)
    assert unattended("home") == WORDS
    credential.chmod(0o444)
    with pytest.raises(ConfigError) as caught:
        unattended("home")
    assert caught.value.reason == "key_file_exposed"
    named = tmp_path / "named"
    named.write_text("another horse battery staple")
    named.chmod(0o600)
    monkeypatch.setenv("PSISHARE_PASSPHRASE_FILE", str(named))
    assert unattended("home") == OTHER


def test_a_process_asks_whom_it_is_told_to(folder: Path) -> None:
    with asking(given(WORDS)):
        inside = Vault(folder)
    assert inside.read(folder / "log.json", algorithm="ed25519") == SECRET
    assert current_source() is unattended
