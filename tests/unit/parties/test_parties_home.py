"""The home folder: made whole or not at all, and refused when others can look into it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from party_examples import AUTHORITY, PLATFORM, make_home

from psishare.errors import ConfigError
from psishare.keys.statement import sign_statement, verify_statement
from psishare.parties import home as home_module
from psishare.parties.card import parse_card
from psishare.parties.home import Home
from psishare.parties.party_keys import ED25519, ML_DSA_44, SEALING

if TYPE_CHECKING:
    from pathlib import Path


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        Home.open(path)
    return caught.value.reason


def contents(path: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()
    }


def test_home_opens_as_it_was_made(tmp_path: Path) -> None:
    made = make_home(tmp_path, AUTHORITY, "authority")
    opened = Home.open(made.path)
    assert opened.card == made.card
    assert (opened.id, opened.card.role, opened.card.serial) == (AUTHORITY, "authority", 1)
    assert parse_card(opened.export_card()) == opened.card


def test_home_s_keys_are_those_of_its_card(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    ed25519, ml_dsa_44 = home.card.verifiers()
    ed25519.verify(b"message", home.log_signer().sign(b"message"))
    ml_dsa_44.verify(b"message", home.pq_signer().sign(b"message"))
    signature = sign_statement(home.log_signer(), "offer", b"payload")
    verify_statement(home.card.log_key, "offer", b"payload", signature, party=home.id)
    assert home.sealing_key().public_key == home.card.sealing_key_bytes
    assert home.tls_identity().certificate_sha256 == home.card.certificate_digests()[0]


def test_two_homes_share_no_key(tmp_path: Path) -> None:
    first, second = make_home(tmp_path), make_home(tmp_path / "other")
    assert first.card.log_key != second.card.log_key
    assert first.card.fingerprint() != second.card.fingerprint()


def test_home_is_its_owners_alone(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        home = make_home(tmp_path)
    finally:
        os.umask(previous)
    for path in (home.path, *home.path.rglob("*")):
        assert path.stat().st_mode & 0o077 == 0, path.name


def test_home_has_a_place_for_everything(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    for path in (home.peers_path, home.mandates_path, home.datasets_path, home.exchanges_path):
        assert path.is_dir()
    for path in (home.log_path, home.state_path, home.policy_path):
        assert path.parent == home.path
        assert not path.exists()


def test_home_is_made_in_an_empty_folder(tmp_path: Path) -> None:
    path = tmp_path / "home"
    path.mkdir()
    assert Home.init(path, id=PLATFORM, role="platform", display_name="A party").path == path


def test_second_init_is_refused_and_destroys_nothing(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    before = contents(tmp_path)
    with pytest.raises(ConfigError) as caught:
        make_home(tmp_path)
    assert caught.value.reason == "home_exists"
    assert contents(tmp_path) == before
    assert Home.open(home.path).card == home.card


def test_init_over_a_file_or_a_link_is_refused(tmp_path: Path) -> None:
    file, link, empty = tmp_path / "file", tmp_path / "link", tmp_path / "empty"
    file.write_text("mine", encoding="utf-8")
    empty.mkdir()
    link.symlink_to(empty)
    for path in (file, link):
        with pytest.raises(ConfigError):
            Home.init(path, id=PLATFORM, role="platform", display_name="A party")
    assert file.read_text(encoding="utf-8") == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "link"]


@pytest.mark.parametrize("failing_write", range(1, 9))
def test_init_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing_write: int
) -> None:
    writes = 0
    real = os.fsync

    def fail(descriptor: int) -> None:
        nonlocal writes
        writes += 1
        if writes == failing_write:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr("psishare.keys.durable_file.os.fsync", fail)
    with pytest.raises(ConfigError):
        make_home(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_interrupted_init_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(home_module, "_make_keys", interrupt)
    with pytest.raises(KeyboardInterrupt):
        make_home(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "Telecom Example"},
        {"id": "psishare/x"},
        {"id": ""},
        {"role": "king"},
        {"display_name": ""},
        {"display_name": "two\nlines"},
    ],
)
def test_init_refuses_what_is_no_party(tmp_path: Path, changes: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"id": PLATFORM, "role": "platform", "display_name": "A party"}
    with pytest.raises(ConfigError) as caught:
        Home.init(tmp_path / "home", **(fields | changes))
    assert caught.value.reason == "party_invalid"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ['Quo"te', "Back\\slash", "Ünïcode 😀", "#comment = 1"])
def test_any_plain_name_survives_the_party_file(tmp_path: Path, name: str) -> None:
    home = Home.init(tmp_path / "home", id=PLATFORM, role="platform", display_name=name)
    assert Home.open(home.path).card.display_name == name


def test_missing_home_is_said_to_be_missing(tmp_path: Path) -> None:
    assert refused(tmp_path / "nowhere") == "home_missing"
    assert refused(tmp_path) == "home_missing"


@pytest.mark.parametrize("mode", [0o750, 0o705, 0o777, 0o710])
def test_home_that_others_can_enter_is_refused(tmp_path: Path, mode: int) -> None:
    home = make_home(tmp_path)
    home.path.chmod(mode)
    assert refused(home.path) == "home_exposed"


@pytest.mark.parametrize(
    "name", ["log_ed25519.json", "log_ml_dsa_44.json", "sealing.json", "tls.json"]
)
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_key_file_that_others_can_read_is_refused(tmp_path: Path, name: str, mode: int) -> None:
    home = make_home(tmp_path)
    (home.path / "keys" / name).chmod(mode)
    assert refused(home.path) == "key_file_exposed"


def test_key_file_exposed_after_opening_is_refused_when_it_is_read(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    (home.path / "keys" / "log_ed25519.json").chmod(0o644)
    with pytest.raises(ConfigError) as caught:
        home.log_signer()
    assert caught.value.reason == "key_file_exposed"


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("log_ed25519.json", "log_signer"),
        ("log_ml_dsa_44.json", "pq_signer"),
        ("sealing.json", "sealing_key"),
        ("tls.json", "tls_identity"),
    ],
)
def test_key_of_another_home_is_refused(tmp_path: Path, name: str, use: str) -> None:
    home, other = make_home(tmp_path), make_home(tmp_path / "other")
    (home.path / "keys" / name).write_bytes((other.path / "keys" / name).read_bytes())
    with pytest.raises(ConfigError) as caught:
        getattr(Home.open(home.path), use)()
    assert caught.value.reason in {"key_mismatch", "tls_key_invalid"}


def test_missing_key_file_is_named(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    (home.path / "keys" / "sealing.json").unlink()
    with pytest.raises(ConfigError) as caught:
        home.sealing_key()
    assert caught.value.reason == "key_file_missing"


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("version = 1", "version = 2", "home_version"),
        ("version = 1", "version = 0", "home_version"),
        ("version = 1", 'version = "1"', "home_invalid"),
        ("version = 1", "", "home_invalid"),
        ("version = 1", "version = ", "settings_invalid"),
        ("version = 1", "version = 1\nextra = 1", "home_invalid"),
        ('role = "platform"', 'role = "authority"', "home_invalid"),
        ('id = "telecom.example"', 'id = "other.example"', "home_invalid"),
        ('display_name = "A party"', 'display_name = "Another"', "home_invalid"),
    ],
)
def test_party_file_that_is_wrong_is_refused(
    tmp_path: Path, old: str, new: str, reason: str
) -> None:
    home = make_home(tmp_path)
    file = home.path / "party.toml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")
    assert refused(home.path) == reason


def test_home_of_an_older_version_is_migrated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = make_home(tmp_path)
    file = home.path / "party.toml"
    current = file.read_text(encoding="utf-8")
    file.write_text("version = 0\n", encoding="utf-8")

    def step(path: Path) -> None:
        (path / "party.toml").write_text(current, encoding="utf-8")

    monkeypatch.setattr(home_module, "_MIGRATIONS", {0: step})
    assert Home.open(home.path).card == home.card


def test_damaged_card_is_refused(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    card = home.path / "card.json"
    card.write_bytes(card.read_bytes().replace(b"platform", b"auditors"))
    with pytest.raises(ConfigError):
        Home.open(home.path)
    card.unlink()
    assert refused(home.path) == "home_invalid"


def test_home_prints_no_secret(tmp_path: Path) -> None:
    home = make_home(tmp_path)
    files = {"log_ed25519": ED25519, "log_ml_dsa_44": ML_DSA_44, "sealing": SEALING}
    secrets = [
        home.vault.read(home.keys_path / f"{use}.json", algorithm=algorithm)
        for use, algorithm in files.items()
    ]
    printed = repr([home, home.vault, home.log_signer(), home.pq_signer(), home.sealing_key()])
    printed += repr(home.tls_identity()) + repr(vars(home))
    assert "PRIVATE" not in printed
    assert not any(secret.hex() in printed or repr(secret) in printed for secret in secrets)
