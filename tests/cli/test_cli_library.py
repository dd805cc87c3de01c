"""The library's face, as a compliance system calls it and the command line leans on it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from cli_stage import AUTHORITY, ISSUER, MATCHING, PLATFORM, SUSPECTS, Office

import psishare
from psishare.audit.entry import CardChanged, parse_entry
from psishare.audit.log import Log
from psishare.client.opened_home import open_log
from psishare.client.reminder import Reminder
from psishare.errors import (
    AuditError,
    AuthorisationError,
    ConfigError,
    InputError,
    PeerError,
    PsishareError,
)
from psishare.parties.home import Home
from psishare.parties.peers import Peers

if TYPE_CHECKING:
    from pathlib import Path

    from psishare.audit.entry import Entry


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    made = Office(tmp_path_factory.mktemp("office"))
    made.encode()
    return made


class Capsule:
    """A table of some other library, known by Arrow's C interface alone."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def suspects() -> pa.Table:
    return pa.table({"row": range(1, len(SUSPECTS) + 1), "phone": SUSPECTS})


def test_a_table_in_memory_gives_rows_a_mask_and_a_receipt(office: Office) -> None:
    steps: list[tuple[str, int, int]] = []
    column = psishare.KeyColumn("phone", "phone", region="DE")
    with (
        psishare.Party.open(office.home(PLATFORM)) as platform,
        platform.serve("127.0.0.1:0", datasets=["customers"]) as server,
        psishare.Party.open(office.home(AUTHORITY)) as authority,
        authority.connect(PLATFORM, server.address) as session,
    ):
        for data in (suspects(), Capsule(suspects())):
            match = session.match(
                data,
                key=column,
                dataset="customers",
                mandate=office.mandate().read_bytes(),
                progress=lambda *step: steps.append(step),
            )
            assert match.matches.column("row").to_pylist() == MATCHING
            assert match.mask.to_pylist() == [True, False, False, True, True]
            assert match.receipt.receipt.exchange_id == match.exchange_id
            assert (match.count, match.summary.platform_rows) == (2, 5)
        row = authority.exchange(match.exchange_id)
        assert row.receipt == match.receipt.document
    assert {step for step, _done, _total in steps} >= {"reading", "asking"}


def test_a_count_has_no_rows_and_writes_no_file(office: Office, tmp_path: Path) -> None:
    lists = [psishare.ListSource(office.customers, psishare.KeyColumn("phone", "number"), "list")]
    column = psishare.KeyColumn("phone", "phone", region="DE")
    asked: dict[str, Any] = {
        "key": column,
        "dataset": "list",
        "mandate": office.mandate(),
        "protocol": "ecdh",
        "output": "count",
    }
    with (
        psishare.Party.open(office.home(PLATFORM)) as platform,
        platform.serve("127.0.0.1:0", lists=lists) as server,
        psishare.Party.open(office.home(AUTHORITY)) as authority,
        authority.connect(PLATFORM, server.address) as session,
    ):
        match = session.match(suspects(), **asked)
        with pytest.raises(InputError, match="count"):
            session.match(suspects(), **asked, out=tmp_path / "out.csv")
    assert (match.count, match.summary.matched_rows) == (2, None)
    with pytest.raises(InputError, match="count"):
        _ = match.matches
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_protocol_is_refused_before_anything_is_asked(office: Office) -> None:
    with (
        psishare.Party.open(office.home(AUTHORITY)) as authority,
        authority.connect(PLATFORM, "127.0.0.1:1") as session,
        pytest.raises(InputError) as raised,
    ):
        session.match(
            suspects(),
            key="phone=phone",
            dataset="customers",
            mandate=office.mandate(),
            protocol="trust me",
        )
    assert raised.value.reason == "protocol_unknown"


def test_a_party_is_not_pinned_where_the_log_cannot_say_so(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = psishare.init_party(
        tmp_path / "home", party_id="new.example", role="platform", display_name="N"
    )

    def full(_log: Log, _entry: object) -> None:
        raise AuditError("the disk is full", mend="Make room.", reason="log_write_failed")

    monkeypatch.setattr(Log, "append", full)
    card = office.homes[ISSUER].card
    with pytest.raises(AuditError):
        psishare.pin_peer(home, office.homes[ISSUER].export_card(), fingerprint=card.fingerprint())
    assert len(Peers(home.peers_path)) == 0


def test_a_party_without_a_log_takes_no_part_in_exchanges(office: Office) -> None:
    with pytest.raises(ConfigError) as raised:
        psishare.Party.open(office.home(ISSUER))
    assert raised.value.reason == "role_unfit"
    assert psishare.log_size(office.homes[ISSUER]) is None


def test_a_platform_that_serves_enters_heartbeats(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psishare.client.server.HOUSEKEEPING_S", 0.01)
    told: list[str] = []
    heard = threading.Event()

    def logged(entry: Entry) -> None:
        told.append(entry.type)
        if told.count("heartbeat") == 2:
            heard.set()

    with (
        psishare.Party.open(office.home(PLATFORM)) as platform,
        platform.serve("127.0.0.1:0", datasets=["customers"], logged=logged, heartbeat_s=0.01),
    ):
        assert heard.wait(30)
    assert set(told) == {"heartbeat"}


def test_an_exchange_goes_on_while_certificates_are_renewed(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.encode()

    def exchange() -> int:
        with (
            psishare.Party.open(office.home(PLATFORM)) as platform,
            platform.serve("127.0.0.1:0", datasets=["customers"]) as server,
            psishare.Party.open(office.home(AUTHORITY)) as authority,
            authority.connect(PLATFORM, server.address) as session,
        ):
            return session.match(
                suspects(),
                key=psishare.KeyColumn("phone", "phone", region="DE"),
                dataset="customers",
                mandate=office.mandate().read_bytes(),
            ).count

    def take_card(at: str, of: str) -> None:
        card = Home.open(office.home(of)).export_card()
        psishare.pin_peer(office.homes[at], card, fingerprint=None, trusted_as=None)

    for one, other in ((PLATFORM, AUTHORITY), (AUTHORITY, PLATFORM)):
        psishare.announce_certificate(office.homes[one])
        assert exchange() == 2
        take_card(other, one)
        psishare.switch_certificate(office.homes[one])
        # The other side has the card before: it knows the certificate as the next one.
        assert exchange() == 2
    psishare.announce_certificate(office.homes[PLATFORM])
    psishare.switch_certificate(office.homes[PLATFORM])
    with pytest.raises(PeerError, match="not pinned"):
        exchange()
    take_card(AUTHORITY, PLATFORM)
    assert exchange() == 2
    log = open_log(office.homes[PLATFORM])
    entries = [parse_entry(data) for data in log.entries(0, log.size)]
    serials = [entry.serial for entry in entries if isinstance(entry, CardChanged)]
    assert serials == [2, 3, 4, 5]


def test_a_change_of_cards_that_was_not_logged_is_logged_before_the_next(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = office.homes[AUTHORITY]

    def full(*_: object) -> None:
        raise AuditError("full", mend="free space", reason="log_write_failed")

    with monkeypatch.context() as patch:
        patch.setattr(Log, "append", full)
        with pytest.raises(AuditError):
            psishare.renew_sealing_key(home)
    psishare.renew_sealing_key(home)
    log = open_log(home)
    entries = [parse_entry(data) for data in log.entries(0, log.size)]
    serials = [entry.serial for entry in entries if isinstance(entry, CardChanged)]
    assert serials == [2, 3]


def test_a_server_reminds_of_certificates_once_a_day(
    office: Office, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psishare.Party.open(office.home(PLATFORM)) as party:
        reminder = Reminder(party)
        reminder.remind()
        assert caplog.messages == []
        later = datetime.now(UTC) + timedelta(days=330)
        monkeypatch.setattr("psishare.client.renewal.datetime", Clock(later))
        monkeypatch.setattr("psishare.client.reminder.time.monotonic", later.timestamp)
        reminder.remind()
        reminder.remind()
    assert len(caplog.messages) == 4
    assert "tele.example expires on" in caplog.messages[0]
    assert "newer card" in caplog.messages[1]


class Clock:
    """A clock that stands."""

    def __init__(self, time: datetime) -> None:
        self._time = time

    def now(self, _zone: object) -> datetime:
        return self._time


def test_a_peer_revoked_while_a_server_runs_is_refused_from_then_on(tmp_path: Path) -> None:
    office = Office(tmp_path)
    office.encode()
    with (
        psishare.Party.open(office.home(PLATFORM)) as platform,
        platform.serve("127.0.0.1:0", datasets=["customers"]) as server,
        psishare.Party.open(office.home(AUTHORITY)) as authority,
        authority.connect(PLATFORM, server.address, timeout_s=10) as session,
    ):
        asked: dict[str, Any] = {
            "key": psishare.KeyColumn("phone", "phone", region="DE"),
            "dataset": "customers",
            "mandate": office.mandate().read_bytes(),
        }
        assert session.match(suspects(), **asked).count == 2
        psishare.revoke_peer(office.homes[PLATFORM], AUTHORITY)
        size = platform.log.size
        with pytest.raises(PsishareError):
            session.match(suspects(), **asked)
        with (
            authority.connect(PLATFORM, server.address, timeout_s=10) as another,
            pytest.raises(PeerError),
        ):
            another.match(suspects(), **asked)
        assert platform.log.size == size


def test_a_mandate_of_a_revoked_issuer_counts_no_more(office: Office) -> None:
    home = office.homes[PLATFORM]
    envelope = office.mandate("revoked-issuer.mandate").read_bytes()
    psishare.verify_mandate(envelope, home)
    psishare.revoke_peer(home, ISSUER)
    with pytest.raises(AuthorisationError) as caught:
        psishare.verify_mandate(envelope, home)
    assert caught.value.reason == "mandate_issuer_untrusted"
    card = office.homes[ISSUER].export_card()
    words = office.homes[ISSUER].card.fingerprint()
    psishare.pin_peer(
        home, card, fingerprint=words, trusted_as=frozenset({"issuer"}), reinstate=True
    )


def test_a_party_warns_of_its_own_certificate_and_of_the_peer_s_that_it_asks(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psishare.Party.open(office.home(AUTHORITY)) as authority:
        assert authority.warnings(PLATFORM) == []
        later = datetime.now(UTC) + timedelta(days=330)
        monkeypatch.setattr("psishare.client.renewal.datetime", Clock(later))
        own, peer = authority.warnings(PLATFORM)
        assert (AUTHORITY in own, PLATFORM in peer) == (True, True)
