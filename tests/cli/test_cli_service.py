"""``serve`` as a service: signals, reload, health, metrics, JSON lines, the service manager, settings."""

from __future__ import annotations

import json
import os
import queue
import signal
import socket
import threading
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from cli_stage import (
    AUTHORITY,
    CUSTOMERS,
    PLATFORM,
    SUSPECTS,
    Office,
    psi,
)

import psishare
from psishare.cli.option import flag_of
from psishare.cli.root import command
from psishare.client.systemd import Systemd
from psishare.errors import ConfigError, TransportError
from psishare.exchange import current_heads
from psishare.parties.settings import SETTINGS
from psishare.transport.channel import Call
from psishare.transport.grpc_client import GrpcChannel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

NOT_SETTINGS = {"home", "json", "help", "dry_run", "resume"}
"""Where the settings are, how one run tells of itself, and what belongs to one run alone."""


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    made = Office(tmp_path_factory.mktemp("office"))
    made.encode()
    return made


@pytest.fixture(scope="module")
def mandate(office: Office) -> Path:
    return office.mandate(standing=True)


def get(address: str, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def until(ready: Callable[[], object]) -> None:
    for _ in range(2000):
        if ready():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come about")


@pytest.fixture
def served(office: Office) -> Iterator[psishare.Server]:
    """A server in this process."""
    with (
        psishare.Party.open(office.home(PLATFORM)) as party,
        party.serve("127.0.0.1:0", datasets=["customers"], health="127.0.0.1:0") as server,
    ):
        yield server


def ask(office: Office, server: psishare.Server, mandate: Path) -> int:
    with (
        psishare.Party.open(office.home(AUTHORITY)) as party,
        party.connect(PLATFORM, server.address) as session,
    ):
        key = psishare.KeyColumn.parse("phone=phone", region="DE")
        table = psishare.open_table(office.suspects)
        return session.match(table, key=key, dataset="customers", mandate=mandate).count


def listen(manager: socket.socket, told: queue.SimpleQueue[str]) -> None:
    """Take what a manager is told, until its socket is shut down."""
    while text := manager.recv(4096).decode():
        told.put(text)


def test_a_service_tells_its_manager_and_its_lines_of_all_that_happens(
    office: Office, mandate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = office.home(PLATFORM) / "policy.toml"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "400000")

        told: queue.SimpleQueue[str] = queue.SimpleQueue()
        # At all times: what a manager does not take is lost, once its socket is full.
        listening = threading.Thread(target=listen, args=(manager, told))
        listening.start()

        def heard(wanted: str) -> str:
            while not (text := told.get(timeout=60)).startswith(wanted):
                continue
            return text

        listed = ("--dataset", "customers", "--log-format", "json", "--grace", "1")
        with office.serving(*listed, "--metrics", "127.0.0.1:0") as server:
            assert server.address in heard("READY=1")
            heard("WATCHDOG=1")
            out = tmp_path / "out.csv"
            assert psi(*office.asking(server.address, mandate, "--out", out)).code == 0
            policy.write_text("version = 1\nmin_rows = 'x'\n", encoding="utf-8")
            os.kill(server.process.pid, signal.SIGHUP)
            heard("RELOADING=1")
            assert "policy_invalid" in heard("READY=1")
            policy.write_text("version = 1\nmin_rows = 100\n", encoding="utf-8")
            os.kill(server.process.pid, signal.SIGHUP)
            heard("READY=1")
            refused = psi(
                *office.asking(server.address, mandate, "--out", tmp_path / "b.csv", "--json")
            )
            health = server.ready["health"]
            until(lambda: 'event="refused"' in get(health, "/metrics")[1])
            text = get(health, "/metrics")[1]
            ended = server.end(signal.SIGTERM)
            heard("STOPPING=1")
        manager.shutdown(socket.SHUT_RD)
        listening.join()
    policy.unlink()
    assert refused.reason == "policy_min_rows"
    lines = [json.loads(line) for line in ended.err.splitlines()]
    events = [line["event"] for line in lines]
    assert [e for e in events if e.startswith("serve.")] == [
        *("serve.started", "serve.reload_failed", "serve.reloaded"),
        *("serve.stopping", "serve.stopped"),
    ]
    assert {"exchange.opened", "exchange.closed", "exchange.refused"} <= set(events)
    [opened] = [line for line in lines if line["event"] == "exchange.opened"]
    assert (opened["peer"], opened["rows"], opened["level"]) == (AUTHORITY, 3, "info")
    assert (
        f'psishare_exchanges_total{{authority="{AUTHORITY}",event="closed",reason=""}} 1.0' in text
    )
    assert 'psishare_reloads_total{outcome="policy_invalid"} 1.0' in text
    assert ended.code == 0
    names = "".join(line.rpartition(" ")[0] for line in text.splitlines())
    for secret in (*CUSTOMERS, *SUSPECTS):
        digits = "".join(filter(str.isdigit, secret))[-7:]
        assert not digits or digits not in names + ended.err


def test_health_tells_a_server_that_drains_from_one_that_is_ready(served: psishare.Server) -> None:
    health = served.health_address
    assert health is not None
    assert get(health, "/healthz")[0] == get(health, "/readyz")[0] == 200
    served.drain(0)
    assert get(health, "/healthz")[0] == 200
    code, text = get(health, "/readyz")
    assert (code, json.loads(text)) == (503, {"healthy": True, "draining": True})
    assert "psishare_draining 1.0" in get(health, "/metrics")[1]
    assert get(health, "/etc/passwd") == (404, "not found\n")


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "example.org:0", "192.0.2.1:0"])
def test_metrics_are_for_this_machine_alone(office: Office, address: str) -> None:
    with psishare.Party.open(office.home(PLATFORM)) as party, pytest.raises(ConfigError) as caught:
        party.serve("127.0.0.1:0", datasets=["customers"], health=address)
    assert caught.value.reason == "metrics_not_loopback"


def test_drained_server_lets_an_exchange_end_and_opens_no_other(
    office: Office, mandate: Path, served: psishare.Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    draining = threading.Thread(target=served.drain, args=(30,))
    carry = GrpcChannel.call

    def stop_meanwhile(channel: Any, call: Call, *rest: Any, **more: Any) -> Any:
        if call is Call.EVALUATE:
            draining.start()
            until(lambda: served.is_draining)
        return carry(channel, call, *rest, **more)

    monkeypatch.setattr(GrpcChannel, "call", stop_meanwhile)
    assert ask(office, served, mandate) == 2
    draining.join(60)
    assert not draining.is_alive()
    monkeypatch.setattr(GrpcChannel, "call", carry)
    monkeypatch.setattr(current_heads, "BUSY_FOR_S", 0.05)
    with pytest.raises(TransportError) as caught:
        ask(office, served, mandate)
    assert caught.value.reason == "peer_stopping"


def test_reload_serves_the_newest_epoch_and_keeps_the_old_where_it_fails(
    office: Office, mandate: Path, served: psishare.Server
) -> None:
    office.encode()
    served.reload()
    assert ask(office, served, mandate) == 2
    epoch = office.home(PLATFORM) / "datasets" / "customers" / "epoch-2"
    assert epoch.is_dir()
    key = (epoch / "key.json").read_bytes()
    (epoch / "key.json").write_bytes(b"{}")
    with pytest.raises(ConfigError):
        served.reload()
    (epoch / "key.json").write_bytes(key)
    assert served.datasets == ["customers"]
    assert ask(office, served, mandate) == 2


def test_hurried_server_waits_no_longer(served: psishare.Server) -> None:
    begun = time.monotonic()
    assert served.drain(600, is_hurried=lambda: True) == 0
    assert time.monotonic() - begun < 60


def test_settings_stand_in_for_options_and_options_win(office: Office) -> None:
    party = office.home(PLATFORM) / "party.toml"
    before = party.read_text(encoding="utf-8")
    party.write_text(
        f'{before}\n[serve]\nlisten = "nobody.invalid:1"\ndataset = ["customers"]\n',
        encoding="utf-8",
    )
    try:
        ran = psi("serve", "--home", office.home(PLATFORM), "--json")
        assert ran.reason == "address_unusable"
        with office.serving("--grace", "0") as server:
            assert server.ready["datasets"] == ["customers"]
            assert server.address.startswith("127.0.0.1:")
            assert server.end(signal.SIGTERM).code == 0
        party.write_text(f"{before}\n[serve]\ngrace = -1\n", encoding="utf-8")
        assert "serve.grace" in psi("serve", "--home", office.home(PLATFORM)).err
    finally:
        party.write_text(before, encoding="utf-8")


@pytest.mark.parametrize("name", list(SETTINGS))
def test_every_option_is_a_setting_and_every_setting_an_option(name: str) -> None:
    options = {flag_of(parameter) for parameter in command().get_command(None, name).params}
    assert options - NOT_SETTINGS == set(SETTINGS[name].model_fields)


def test_without_a_manager_nothing_is_told() -> None:
    systemd = Systemd.of_environment({})
    assert systemd == Systemd(None, None)
    systemd.ready("x")
    systemd.alive()


def test_watchdog_of_another_process_is_not_ours() -> None:
    environment = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}
    assert Systemd.of_environment(environment) == Systemd("@x", None)
    del environment["WATCHDOG_PID"]
    assert Systemd.of_environment(environment) == Systemd("@x", 1.0)


def test_manager_that_cannot_be_reached_stops_nothing() -> None:
    Systemd("/nowhere/at/all", 1.0).alive()
    Systemd("@nobody-listens-here", 1.0).stopping("x")
