"""``psishare doctor``: each planted fault is found, and its mend named."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cli_stage import AUTHORITY, ISSUER, PLATFORM, Office, psi

import psishare
from psishare.audit.entry import LogCreated
from psishare.audit.log import Log
from psishare.client.doctor import machine, own, records, trade
from psishare.client.opened_home import log_signers
from psishare.exchange.register import Register, State
from psishare.parties import expiry
from psishare.parties.home import Home
from psishare.parties.peers import Peers

Plant = Callable[[Path, pytest.MonkeyPatch], None]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    """An office in which an exchange has been run."""
    made = Office(tmp_path_factory.mktemp("office"))
    made.encode()
    with made.serving() as server:
        out = made.folder / "out.csv"
        mandate = made.mandate(erase_by=datetime.now(UTC) + timedelta(days=2))
        ran = psi(*made.asking(server.address, mandate, "--out", out, "--json"))
        server.end(signal.SIGTERM)
    assert ran.code == 0
    return made


@pytest.fixture
def platform(office: Office, tmp_path: Path) -> Path:
    """A copy of the platform's home, to be broken."""
    return Path(shutil.copytree(office.home(PLATFORM), tmp_path / "tele"))


def examined(home: Path, *more: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit code, and what was found that is not fine, by code."""
    ran = psi("doctor", "--home", home, "--json", *more)
    findings = ran.document["findings"]
    assert all(each["mend"] for each in findings if each["level"] != "fine"), findings
    return ran.code, {each["code"]: each for each in findings if each["level"] != "fine"}


def keys_of(home: Path, name: str) -> Path:
    [path] = [p for p in (home / "keys").iterdir() if name in p.name]
    return path


def write(path: Path, text: str) -> None:
    path.write_text(path.read_text("utf-8") + text if path.exists() else text, encoding="utf-8")


def flip(path: Path, place: int = -5) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def exposed_home(home: Path, _patch: pytest.MonkeyPatch) -> None:
    home.chmod(0o755)


def exposed_key(home: Path, _patch: pytest.MonkeyPatch) -> None:
    keys_of(home, "log_ed25519").chmod(0o644)


def missing_home(home: Path, _patch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(home)


def wrong_setting(home: Path, _patch: pytest.MonkeyPatch) -> None:
    write(home / "party.toml", "\n[serve]\nidle_timeout = -1\n")


def damaged_card(home: Path, _patch: pytest.MonkeyPatch) -> None:
    path = home / "card.json"
    text = path.read_text("utf-8")
    assert '"serial":1' in text
    path.write_text(text.replace('"serial":1', '"serial":2'), encoding="utf-8")


def missing_key(home: Path, _patch: pytest.MonkeyPatch) -> None:
    keys_of(home, "sealing").unlink()


def another_key(home: Path, _patch: pytest.MonkeyPatch) -> None:
    other = psishare.init_party(
        home.parent / "other", party_id="x.example", role="platform", display_name="X"
    )
    shutil.copy(keys_of(other.path, "log_ml_dsa_44"), keys_of(home, "log_ml_dsa_44"))


def another_tls_key(home: Path, _patch: pytest.MonkeyPatch) -> None:
    other = psishare.init_party(
        home.parent / "other", party_id="x.example", role="platform", display_name="X"
    )
    shutil.copy(keys_of(other.path, "tls"), keys_of(home, "tls"))


def damaged_peer(home: Path, _patch: pytest.MonkeyPatch) -> None:
    (home / "peers" / f"{AUTHORITY}.peer.json").write_text("{}", encoding="utf-8")


def no_authority(home: Path, _patch: pytest.MonkeyPatch) -> None:
    (home / "peers" / f"{AUTHORITY}.peer.json").unlink()


def no_trusted_issuer(home: Path, _patch: pytest.MonkeyPatch) -> None:
    (home / "peers" / f"{ISSUER}.peer.json").unlink()


def wrong_policy(home: Path, _patch: pytest.MonkeyPatch) -> None:
    write(home / "policy.toml", "version = 1\nmin_rows = -1\n")


def set_clock(patch: pytest.MonkeyPatch, days: int) -> None:
    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.now(tz) + timedelta(days=days)

    for module in (machine, own):
        patch.setattr(module, "datetime", Clock)


def clock_behind(_home: Path, patch: pytest.MonkeyPatch) -> None:
    set_clock(patch, -3)


def expired(_home: Path, patch: pytest.MonkeyPatch) -> None:
    set_clock(patch, 366)


def expiring(_home: Path, patch: pytest.MonkeyPatch) -> None:
    set_clock(patch, 366 - expiry.WARNING_DAYS // 2)


def full_disk(_home: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=50 * 2**20))


def low_disk(_home: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=500 * 2**20))


def few_files(_home: Path, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(resource, "getrlimit", lambda _which: (256, 1024))


def missing_log(home: Path, _patch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(home / "log")


def damaged_log(home: Path, _patch: pytest.MonkeyPatch) -> None:
    flip(next((home / "log" / "tile" / "entries").rglob("000.p/*")), 200)


def rolled_back_log(home: Path, _patch: pytest.MonkeyPatch) -> None:
    """Put a log in its place that has its first entry only."""
    shutil.rmtree(home / "log")
    old = Home.open(home)
    created = LogCreated(party=old.id, role=old.card.role, card_sha256=old.card.sha256.hex())
    Log.create(home / "log", **log_signers(old)).append(created)


def damaged_state(home: Path, _patch: pytest.MonkeyPatch) -> None:
    for path in home.glob("state.db*"):
        path.unlink()
    (home / "state.db").write_bytes(b"SQLite format 3\x00" + bytes(4080))


def newer_state(home: Path, _patch: pytest.MonkeyPatch) -> None:
    with sqlite3.connect(home / "state.db") as database:
        database.execute("UPDATE budget_schema SET version = 99")
    database.close()


def damaged_shard(home: Path, _patch: pytest.MonkeyPatch) -> None:
    epoch = home / "datasets" / "customers" / "epoch-1"
    flip(next(path for path in epoch.iterdir() if path.name.startswith("shard-")))


def missing_dataset_key(home: Path, _patch: pytest.MonkeyPatch) -> None:
    (home / "datasets" / "customers" / "epoch-1" / "key.json").unlink()


def revoked_dataset(home: Path, _patch: pytest.MonkeyPatch) -> None:
    (home / "datasets" / "customers" / "epoch-1" / "revoked").write_bytes(b"")


def old_epoch(home: Path, patch: pytest.MonkeyPatch) -> None:
    write(home / "policy.toml", "version = 1\nmax_epoch_days = 30\n")
    patch.setattr(trade, "now", lambda: datetime.now(UTC) + timedelta(days=31))


def absent_dataset(home: Path, _patch: pytest.MonkeyPatch) -> None:
    write(home / "party.toml", '\n[serve]\ndataset = ["devices"]\n')


def short_timeout(home: Path, _patch: pytest.MonkeyPatch) -> None:
    write(home / "party.toml", "\n[serve]\nidle_timeout = 2\n")


def in_state(home: Path, wanted: State) -> None:
    register = Register(home / "state.db", home / "run")
    [row] = register.rows()
    register.update(row.exchange_id, wanted)
    register.close()


def pending(home: Path, _patch: pytest.MonkeyPatch) -> None:
    in_state(home, State.PENDING)


def held(home: Path, _patch: pytest.MonkeyPatch) -> None:
    in_state(home, State.HELD)


def interrupted(home: Path, _patch: pytest.MonkeyPatch) -> None:
    in_state(home, State.OPENED)


FAULTS: dict[str, tuple[Plant, int, str]] = {
    "home_exposed": (exposed_home, 3, "mode 0700"),
    "key_file_exposed": (exposed_key, 3, "0600"),
    "home_missing": (missing_home, 3, "psishare party init"),
    "settings_invalid": (wrong_setting, 3, "at least 1"),
    "card_signature_invalid": (damaged_card, 3, "Do not use it"),
    "key_file_missing": (missing_key, 3, "backup"),
    "key_mismatch": (another_key, 3, "backup"),
    "tls_key_invalid": (another_tls_key, 3, "backup"),
    "peers_invalid": (damaged_peer, 3, "add the peer again"),
    "peers_missing": (no_authority, 3, "psishare peer add"),
    "policy_invalid": (wrong_policy, 3, "Correct the file"),
    "clock_behind": (clock_behind, 3, "NTP"),
    "tls_identity_expired": (expired, 6, "psishare party renew"),
    "certificate_expiring": (expiring, 0, "psishare party renew"),
    "disk_full": (full_disk, 8, "Make room"),
    "disk_low": (low_disk, 0, "Make room"),
    "open_files_few": (few_files, 0, "LimitNOFILE"),
    "log_missing": (missing_log, 8, "backup"),
    "log_damaged": (damaged_log, 8, "newest copy"),
    "log_rolled_back": (rolled_back_log, 8, "newest one"),
    "state_invalid": (damaged_state, 3, "newest copy"),
    "state_version": (newer_state, 3, "version of psishare"),
    "shard_invalid": (damaged_shard, 8, ""),
    "dataset_retired": (revoked_dataset, 0, "psishare dataset encode"),
    "epoch_too_old": (old_epoch, 0, "psishare dataset rotate"),
    "setting_names_nothing": (absent_dataset, 3, "psishare dataset encode"),
    "timeout_short": (short_timeout, 0, "30 s or more"),
    "exchange_pending": (pending, 0, "start `serve`"),
    "exchange_held": (held, 0, "approve or refuse"),
    "exchange_interrupted": (interrupted, 0, "psishare exchange list"),
}


def test_home_that_is_as_it_must_be_has_no_fault(platform: Path) -> None:
    code, found = examined(platform)
    assert (code, set(found) - {"open_files_few"}) == (0, {"keys_in_the_clear"})


@pytest.mark.parametrize("code", FAULTS)
def test_planted_fault_is_found_with_its_mend(
    code: str, platform: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant, exit_code, mend = FAULTS[code]
    plant(platform, monkeypatch)
    ran, found = examined(platform)
    assert code in found, found
    assert mend in found[code]["mend"]
    assert ran == exit_code


def test_what_a_mandate_wants_destroyed_is_told_of_when_it_is_due(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(shutil.copytree(office.home(AUTHORITY), tmp_path / "police"))
    assert "erasure_overdue" not in examined(home)[1]
    monkeypatch.setattr(records, "now", lambda: datetime.now(UTC) + timedelta(days=3))
    code, found = examined(home)
    assert code == 0
    assert "1 exchanges keep openings" in found["erasure_overdue"]["message"]
    [folder] = (home / "exchanges").iterdir()
    for path in folder.iterdir():
        path.unlink()
    assert "erasure_overdue" not in examined(home)[1]


def test_every_fault_of_several_is_found_at_once(
    platform: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for plant in (missing_dataset_key, wrong_policy, no_trusted_issuer, absent_dataset, pending):
        plant(platform, monkeypatch)
    _code, found = examined(platform)
    wanted = {"policy_invalid", "peers_missing", "setting_names_nothing", "exchange_pending"}
    assert wanted | {"key_file_missing"} <= set(found)


def test_file_of_another_user_is_found(platform: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    me = os.geteuid()
    real = Path.lstat

    def lstat(path: Path) -> Any:
        status = real(path)
        owner = me + 1 if path.name == "state.db" else status.st_uid
        return SimpleNamespace(st_uid=owner, st_mode=status.st_mode)

    monkeypatch.setattr(Path, "lstat", lstat)
    _code, found = examined(platform)
    assert "state.db" in found["files_of_another_user"]["message"]
    assert "chown" in found["files_of_another_user"]["mend"]


def test_platform_that_can_be_reached_is_said_to_serve(office: Office) -> None:
    home = office.home(AUTHORITY)
    with office.serving() as server:
        reach = ("--peer", PLATFORM, "--address", server.address, "--timeout", "20")
        ran = psi("doctor", "--home", home, "--json", *reach)
        [told] = [f for f in ran.document["findings"] if f["check"] == "reach"]
        assert (ran.code, told["level"]) == (0, "fine")
        assert "customers" in told["message"]
        server.end(signal.SIGTERM)
    code, found = examined(home, *reach)
    assert code == 6
    assert found["peer_unreachable"]["party"] == PLATFORM


def test_platform_that_has_not_pinned_us_is_told_apart(office: Office, tmp_path: Path) -> None:
    stranger = psishare.init_party(
        tmp_path / "other", party_id="x.example", role="authority", display_name="X"
    )
    card = office.homes[PLATFORM].card
    Peers(stranger.peers_path).add(
        office.homes[PLATFORM].export_card(), fingerprint=card.fingerprint()
    )
    with office.serving() as server:
        reach = ("--peer", PLATFORM, "--address", server.address, "--timeout", "20")
        code, found = examined(stranger.path, *reach)
        server.end(signal.SIGTERM)
    assert code == 6
    assert "peer_certificate" in found or "peer_unreachable" in found


def test_log_that_a_platform_has_seen_larger_is_found(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Path(shutil.copytree(office.home(AUTHORITY), tmp_path / "police"))
    rolled_back_log(home, monkeypatch)
    for path in home.glob("state.db*"):
        path.unlink()
    with office.serving() as server:
        code, found = examined(home, "--peer", PLATFORM, "--address", server.address)
        server.end(signal.SIGTERM)
    assert code == 8
    assert PLATFORM in found["log_rolled_back"]["message"]


def test_people_read_a_table_and_the_mends(platform: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong_policy(platform, monkeypatch)
    ran = psi("doctor", "--home", platform)
    assert ran.code == 3
    assert "fault" in ran.out
    assert "  to mend: Correct the file" in ran.out


def test_peer_without_address_is_misuse(platform: Path) -> None:
    ran = psi("doctor", "--home", platform, "--peer", PLATFORM)
    assert (ran.code, "--address" in ran.err) == (2, True)


def test_issuer_without_a_log_can_be_examined(office: Office) -> None:
    code, found = examined(office.home(ISSUER))
    assert (code, set(found)) == (0, {"keys_in_the_clear"})


def test_at_least_fifteen_faults_are_planted() -> None:
    assert len(FAULTS) >= 15
