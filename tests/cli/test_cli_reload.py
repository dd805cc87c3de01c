"""A server that is told to reload: its certificate, its lists; what is open goes on as it began."""

from __future__ import annotations

import csv
import os
import signal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from cli_stage import AUTHORITY, CUSTOMERS, PLATFORM, SUSPECTS, Office

import psishare
from psishare.client.served_list import ServedList
from psishare.client.service import Service
from psishare.errors import CancellationError, ConfigError, PeerError, PsishareError
from psishare.parties.home import Home
from psishare.transport.channel import Call
from psishare.transport.grpc_client import GrpcChannel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KEY = psishare.KeyColumn("phone", "phone", region="DE")
NUMBER = psishare.KeyColumn("phone", "number")
NOBODY = "+4915100000000"


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


@pytest.fixture
def platform(office: Office) -> Iterator[psishare.Party]:
    with psishare.Party.open(office.home(PLATFORM)) as party:
        yield party


@pytest.fixture
def authority(office: Office) -> Iterator[psishare.Party]:
    with psishare.Party.open(office.home(AUTHORITY)) as party:
        yield party


def serve(platform: psishare.Party, office: Office, **options: Any) -> psishare.Server:
    lists = [psishare.ListSource(office.customers, NUMBER, "customers")]
    return platform.serve("127.0.0.1:0", lists=lists, **options)


def ask(session: psishare.Session, office: Office, output: str = "count") -> psishare.Match:
    return session.match(
        pa.table({"phone": SUSPECTS}),
        key=KEY,
        dataset="customers",
        mandate=office.mandate(),
        protocol="ecdh",
        output=output,
    )


def replace(office: Office, *numbers: str) -> None:
    """Put another list in the place of the customers', in one move."""
    office.table("new.csv", "number", list(numbers)).replace(office.customers)


def once_at(monkeypatch: pytest.MonkeyPatch, when: Call, act: Callable[[], None]) -> None:
    """Let something happen before the first call of a kind is sent."""
    call, acts = GrpcChannel.call, [act]

    def acting(self: GrpcChannel, which: Call, *arguments: Any, **options: Any) -> Any:
        if which is when and acts:
            acts.pop()()
        return call(self, which, *arguments, **options)

    monkeypatch.setattr(GrpcChannel, "call", acting)


# The certificate.


def take_card(office: Office) -> None:
    card = Home.open(office.home(PLATFORM)).export_card()
    psishare.pin_peer(office.homes[AUTHORITY], card, fingerprint=None, trusted_as=None)


def test_a_renewed_certificate_is_shown_to_new_connections_and_old_ones_go_on(
    office: Office, platform: psishare.Party
) -> None:
    psishare.announce_certificate(office.homes[PLATFORM])
    take_card(office)
    with (
        serve(platform, office) as server,
        psishare.Party.open(office.home(AUTHORITY)) as first,
        first.connect(PLATFORM, server.address) as before,
    ):
        assert ask(before, office).count == 2
        shown = platform.home.tls_identity().certificate_sha256
        psishare.switch_certificate(office.homes[PLATFORM])
        take_card(office)
        # Who knows the new certificate alone does not get in before it is read.
        with (
            psishare.Party.open(office.home(AUTHORITY)) as authority,
            authority.connect(PLATFORM, server.address) as early,
            pytest.raises(PeerError, match="not pinned"),
        ):
            ask(early, office)
        server.reload()
        assert platform.home.tls_identity().certificate_sha256 != shown
        with (
            psishare.Party.open(office.home(AUTHORITY)) as authority,
            authority.connect(PLATFORM, server.address) as after,
        ):
            assert ask(after, office).count == 2
            assert ask(before, office).count == 2


def test_an_offer_that_was_begun_before_the_certificate_changed_is_taken(
    office: Office, platform: psishare.Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    psishare.announce_certificate(office.homes[PLATFORM])
    take_card(office)
    with (
        serve(platform, office) as server,
        psishare.Party.open(office.home(AUTHORITY)) as authority,
        authority.connect(PLATFORM, server.address) as session,
    ):

        def change() -> None:
            psishare.switch_certificate(office.homes[PLATFORM])
            server.reload()

        once_at(monkeypatch, Call.OFFER, change)
        assert ask(session, office).count == 2


def test_a_home_of_another_pinned_key_is_not_taken_for_the_one_that_is_served(
    office: Office, platform: psishare.Party
) -> None:
    other = psishare.init_party(
        office.folder / "other", party_id=PLATFORM, role="platform", display_name=PLATFORM
    )
    with serve(platform, office) as server:
        (office.home(PLATFORM) / "card.json").write_bytes(other.export_card())
        with pytest.raises(ConfigError) as caught:
            server.reload()
    assert caught.value.reason == "key_mismatch"


def test_a_server_that_reloads_goes_on_after_its_log_s_keys_have_rotated(
    office: Office, platform: psishare.Party
) -> None:
    with serve(platform, office) as server:
        for rotate in (psishare.rotate_log_keys, psishare.retire_log_keys):
            rotate(platform.home)
            take_card(office)
            server.reload()
            with (
                psishare.Party.open(office.home(AUTHORITY)) as authority,
                authority.connect(PLATFORM, server.address) as session,
            ):
                assert ask(session, office).count == 2


# Lists.


def test_a_list_is_read_again_where_its_file_is_another_one(
    office: Office, platform: psishare.Party, authority: psishare.Party
) -> None:
    steps: list[str] = []
    with (
        serve(platform, office) as server,
        authority.connect(PLATFORM, server.address) as session,
    ):
        assert ask(session, office).count == 2
        server.reload(progress=lambda step, _done, _total: steps.append(step))
        assert steps == []
        replace(office, CUSTOMERS[0], NOBODY)
        server.reload(progress=lambda step, _done, _total: steps.append(step))
        assert steps == ["reading"]
        match = ask(session, office)
    assert (match.count, match.summary.platform_rows) == (1, 2)


BAD = {
    "gone": None,
    "malformed": b'row,number\n1,"+49151',
    "no text": b"row,number\n1,\xff\xfe\n",
    "without the key column": b"row,telephone\n1,+4915112345678\n",
    "cut off after its header": b"row,number\n",
    "without a single number": b"row,number\n1,unknown\n2,private\n",
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_a_list_that_cannot_be_used_changes_nothing(
    office: Office, platform: psishare.Party, authority: psishare.Party, content: bytes | None
) -> None:
    policy = office.home(PLATFORM) / "policy.toml"
    with (
        serve(platform, office) as server,
        authority.connect(PLATFORM, server.address) as session,
    ):
        office.customers.unlink()
        if content is not None:
            office.customers.write_bytes(content)
        # Nothing of a reload counts unless all of it does.
        policy.write_text("version = 1\nmin_rows = 100\n", encoding="utf-8")
        with pytest.raises(PsishareError) as caught:
            server.reload()
        assert not [n for n in CUSTOMERS if n in caught.value.diagnostics()]
        assert f'outcome="{caught.value.reason}"' in server._metrics.text().decode()
        assert ask(session, office).count == 2
        policy.unlink()
        replace(office, *CUSTOMERS[:2])
        server.reload()
        assert ask(session, office).count == 1


def test_a_table_in_memory_stays_as_it_is(
    office: Office, platform: psishare.Party, authority: psishare.Party
) -> None:
    table = pa.table({"number": CUSTOMERS})
    lists = [psishare.ListSource(table, NUMBER, "customers")]
    with (
        platform.serve("127.0.0.1:0", lists=lists) as server,
        authority.connect(PLATFORM, server.address) as session,
    ):
        server.reload()
        assert ask(session, office).count == 2


def test_an_open_exchange_keeps_the_list_that_it_was_opened_on(
    office: Office,
    platform: psishare.Party,
    authority: psishare.Party,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    theirs = tmp_path / "theirs"
    with (
        serve(platform, office, out=theirs) as server,
        authority.connect(PLATFORM, server.address) as session,
    ):

        def change() -> None:
            replace(office, NOBODY)
            server.reload()

        once_at(monkeypatch, Call.EVALUATE, change)
        match = ask(session, office, "both")
        assert (match.count, match.summary.platform_rows) == (2, len(CUSTOMERS))
        assert ask(session, office).count == 0
    # Its own rows as well, although other ones lie where they lay.
    with (theirs / f"{match.exchange_id}.csv").open(encoding="utf-8", newline="") as file:
        assert [row["number"] for row in csv.DictReader(file)] == [CUSTOMERS[0], CUSTOMERS[2]]


def test_a_reload_that_is_stopped_changes_nothing(
    office: Office, platform: psishare.Party, authority: psishare.Party
) -> None:
    stop = psishare.Cancellation()
    with (
        serve(platform, office) as server,
        authority.connect(PLATFORM, server.address) as session,
    ):
        replace(office, NOBODY)
        with pytest.raises(CancellationError):
            server.reload(progress=lambda *_: stop.cancel(), cancellation=stop)
        assert ask(session, office).count == 2


# Signals.


@pytest.fixture
def signals() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


class Told:
    """Hears what happens to a service; each event brings the next one about."""

    def __init__(self, **acts: Callable[[], None]) -> None:
        self._acts = acts
        self.events: list[str] = []

    def _happened(self, event: str, told: str = "") -> None:
        self.events.append(f"{event} {told}".rstrip())
        self._acts.get(event, lambda: None)()

    def started(self, _server: psishare.Server) -> None:
        self._happened("started")

    def reloaded(self, _server: psishare.Server) -> None:
        self._happened("reloaded")

    def reload_failed(self, error: PsishareError) -> None:
        self._happened("reload_failed", error.reason)

    def stopping(self, _grace_s: float) -> None:
        self._happened("stopping")

    def stopped(self, _n_left: int) -> None:
        self._happened("stopped")


def tell(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.usefixtures("signals")
def test_hangups_read_lists_again_and_a_bad_one_stops_nothing(
    office: Office, platform: psishare.Party
) -> None:
    def put_bad() -> None:
        office.customers.write_bytes(b"row,number\n")
        tell(signal.SIGHUP)

    def put_good() -> None:
        replace(office, NOBODY)
        tell(signal.SIGHUP)

    told = Told(started=put_bad, reload_failed=put_good, reloaded=lambda: tell(signal.SIGTERM))
    Service(told, grace_s=0.0).run(serve(platform, office))
    assert told.events == [
        *("started", "reload_failed nothing_to_serve", "reloaded", "stopping", "stopped"),
    ]


@pytest.mark.usefixtures("signals")
def test_who_stops_a_server_does_not_wait_for_a_list_that_is_being_read(
    office: Office, platform: psishare.Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(_self: ServedList, progress: Callable[[str, int, int], None]) -> ServedList:
        tell(signal.SIGTERM)
        while True:
            progress("reading", 0, 0)

    monkeypatch.setattr(ServedList, "again", endless)
    told = Told(started=lambda: tell(signal.SIGHUP))
    Service(told, grace_s=0.0).run(serve(platform, office))
    assert told.events == ["started", "reload_failed cancelled", "stopping", "stopped"]
