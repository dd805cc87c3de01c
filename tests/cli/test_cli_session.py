"""Paired sessions: ``serve`` and ``match`` as two processes over TLS on loopback."""

from __future__ import annotations

import csv
import json
import signal
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from cli_stage import (
    AUTHORITY,
    CUSTOMERS,
    MATCHING,
    PLATFORM,
    SUSPECTS,
    Office,
    Ran,
    Server,
    psi,
    psi_process,
)
from pyarrow import parquet

from psishare.transport.channel import Call
from psishare.transport.grpc_client import GrpcChannel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STOP_S = 5.0


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    made = Office(tmp_path_factory.mktemp("office"))
    made.encode()
    return made


@pytest.fixture(scope="module")
def mandate(office: Office) -> Path:
    return office.mandate()


def rows(path: Path) -> list[int]:
    with path.open(encoding="utf-8", newline="") as file:
        return [int(row["row"]) for row in csv.DictReader(file)]


def ended(office: Office, party: str, exchange_id: str) -> tuple[str, str | None]:
    """Return how an exchange ended, as a party's verified log tells."""
    found = office.verify(party).document["exchanges"]
    [one] = [each for each in found if each["exchange_id"] == exchange_id]
    return one["ending"], one["reason"]


def newest(office: Office, party: str) -> dict[str, Any]:
    """Return the exchange that was entered last into a party's log: times tell seconds only."""
    *_, told = office.verify(party).document["exchanges"]
    listed = psi("exchange", "list", "--home", office.home(party), "--json").document["exchanges"]
    [newest] = [each for each in listed if each["exchange_id"] == told["exchange_id"]]
    row: dict[str, Any] = newest
    return row


def require_no_identifier(*texts: str) -> None:
    digits = {"".join(filter(str.isdigit, number))[-7:] for number in [*CUSTOMERS, *SUSPECTS]}
    assert not [part for part in digits if part and any(part in text for text in texts)]


def test_a_session_with_oprf_finds_the_matching_rows(
    office: Office, mandate: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    with office.serving() as server:
        ran = psi_process(*office.asking(server.address, mandate, "--out", out, "--json"))
        served = server.end(signal.SIGTERM)
    assert (ran.code, ran.err) == (0, "")
    assert rows(out) == MATCHING
    told = ran.document
    assert (told["rows"], told["distinct"], told["asked"]) == (5, 3, 3)
    assert (told["matched"], told["matched_rows"], told["platform_rows"]) == (2, 3, 5)
    assert told["rejected"] == {"letters": 1}
    assert told["first_rejects"] == [{"row": 2, "reason": "letters"}]
    assert (served.code, served.out, served.err) == (0, "", "")
    for party in (PLATFORM, AUTHORITY):
        assert ended(office, party, told["exchange_id"]) == ("closed", None)
    require_no_identifier(ran.out, served.out, served.err)


def test_a_session_tells_people_its_figures_and_stays_silent_in_a_pipe(
    office: Office, mandate: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    with office.serving() as server:
        ran = psi_process(*office.asking(server.address, mandate, "--out", out))
    assert (ran.code, ran.err) == (0, "")
    told = dict(line.split(None, 1) for line in ran.out.splitlines() if "matched rows" not in line)
    assert (told["rows"], told["distinct"], told["matched"]) == ("5", "3", "2")
    assert told["rejected"] == "1: letters 1; first at rows 2 (from 0)"
    assert told["receipt"] == "signed by both parties"
    assert out.stat().st_mode & 0o777 == 0o600
    require_no_identifier(ran.out)


def test_count_prints_the_number_alone_on_standard_output(office: Office, mandate: Path) -> None:
    listed = ("--data", office.customers, "--key", "phone=number", "--name", "customers")
    with office.serving(*listed) as server:
        ran = psi(
            *office.asking(server.address, mandate, "--protocol", "ecdh", "--output", "count")
        )
    assert (ran.code, ran.out) == (0, "2\n")
    assert "signed by both parties" in ran.err


def test_with_output_both_each_side_has_its_own_rows(
    office: Office, mandate: Path, tmp_path: Path
) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours.csv"
    listed = ("--data", office.customers, "--key", "phone=number", "--name", "customers")
    with office.serving(*listed, "--out", theirs) as server:
        ran = psi(
            *office.asking(server.address, mandate, "--protocol", "ecdh", "--output", "both"),
            *("--out", ours, "--json"),
        )
    assert ran.code == 0, ran.out
    assert rows(ours) == MATCHING
    assert rows(theirs / f"{ran.document['exchange_id']}.csv") == [1, 3]


def test_rows_go_to_standard_output_and_figures_elsewhere(office: Office, mandate: Path) -> None:
    with office.serving() as server:
        ran = psi_process(*office.asking(server.address, mandate, "--out", "-"))
    assert [line.split(",")[0] for line in ran.out.splitlines()] == ["row", "1", "4", "5"]
    assert "signed by both parties" in ran.err


def test_both_sides_show_the_exchange_with_good_signatures(
    office: Office, mandate: Path, tmp_path: Path
) -> None:
    with office.serving() as server:
        ran = psi(*office.asking(server.address, mandate, "--out", tmp_path / "out.csv", "--json"))
    exchange_id = ran.document["exchange_id"]
    for party, peer in ((PLATFORM, AUTHORITY), (AUTHORITY, PLATFORM)):
        home = ("--home", office.home(party))
        shown = psi("exchange", "show", exchange_id[:20], *home, "--json").document
        assert (shown["exchange_id"], shown["state"]) == (exchange_id, "closed")
        assert (shown["peer"], shown["rows"]) == (peer, 3)
        assert shown["signatures"] == {AUTHORITY: "good", PLATFORM: "good"}
        assert shown["receipt"]["requests"]["rows"] == 3
        text = psi("exchange", "show", exchange_id, *home)
        assert shown["receipt"]["answers"]["transcript"][:32] in text.out
        assert exchange_id[:12] in psi("exchange", "list", *home).out


@pytest.mark.parametrize("beginning", ["", "zz"])
def test_an_exchange_that_cannot_be_told_is_not_shown(office: Office, beginning: str) -> None:
    ran = psi("exchange", "show", beginning, "--home", office.home(AUTHORITY), "--json")
    assert (ran.code, ran.reason) == (4, "exchange_not_found")


def test_a_refusal_ends_with_5_is_logged_on_both_sides_and_leaves_no_result(
    office: Office, tmp_path: Path
) -> None:
    expired = office.mandate("old.mandate", not_after=datetime.now(UTC) - timedelta(hours=1))
    listed = ("--data", office.customers, "--key", "phone=number", "--name", "customers")
    with office.serving(*listed) as server:
        ran = psi(
            *office.asking(server.address, expired, "--out", tmp_path / "out.csv"),
            *("--protocol", "ecdh", "--json"),
        )
    assert (ran.code, ran.reason) == (5, "mandate_expired")
    assert ran.document["error"]["party"] == PLATFORM
    assert list(tmp_path.iterdir()) == []
    exchange_id = newest(office, AUTHORITY)["exchange_id"]
    for party in (PLATFORM, AUTHORITY):
        assert ended(office, party, exchange_id) == ("refused", "mandate_expired")
    # Nothing is left to go on with, and the next command does not offer to.
    kept = {path.name for path in (office.home(AUTHORITY) / "exchanges" / exchange_id).iterdir()}
    assert kept.isdisjoint({"task.sealed", "unfinished.sealed"})
    assert newest(office, AUTHORITY)["resumable_until"] is None


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_serve_stops_within_seconds_with_exit_code_0(office: Office, signum: int) -> None:
    with office.serving() as server:
        begun = time.monotonic()
        ran = server.end(signum)
        assert time.monotonic() - begun < STOP_S
    assert (ran.code, ran.out, ran.err) == (0, "", "")


def test_serve_says_in_one_line_where_it_listens(office: Office) -> None:
    with office.serving() as server:
        assert server.address.startswith("127.0.0.1:")
        assert server.ready["datasets"] == ["customers"]
        assert server.ready["recovered"] == 0


def before_the_first_frame(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Let something happen once the exchange is open on both sides."""
    call = GrpcChannel.call

    def acting(self: GrpcChannel, which: Call, *arguments: Any, **options: Any) -> Any:
        if which is Call.EVALUATE:
            act()
        return call(self, which, *arguments, **options)

    monkeypatch.setattr(GrpcChannel, "call", acting)


def interrupted(
    office: Office, mandate: Path, server: Server, out: Path, monkeypatch: pytest.MonkeyPatch
) -> Ran:
    """Match, and let the platform's process be killed once the exchange is open."""

    def kill() -> None:
        server.process.kill()
        server.process.wait(60)

    with monkeypatch.context() as patch:
        before_the_first_frame(patch, kill)
        return psi(
            *office.asking(server.address, mandate, "--out", out, "--timeout", "30", "--json"),
            *("--retry-for", "0"),
        )


def test_an_exchange_whose_serve_was_killed_goes_on_after_the_next_start(
    office: Office, mandate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with office.serving() as server:
        ran = interrupted(office, mandate, server, tmp_path / "out.csv", monkeypatch)
    assert (ran.code, ran.document["error"]["party"]) == (6, PLATFORM)
    assert list(tmp_path.iterdir()) == []
    exchange_id = newest(office, AUTHORITY)["exchange_id"]
    for party in (PLATFORM, AUTHORITY):
        assert ended(office, party, exchange_id) == ("open", None)
    assert newest(office, AUTHORITY)["resumable_until"] is not None
    with office.serving() as server:
        assert (server.ready["recovered"], server.ready["restored"]) == (0, 1)
        again = ("match", "--home", office.home(AUTHORITY), "--resume", exchange_id[:8], "--json")
        ran = psi(*again, "--address", server.address)
        assert (ran.code, ran.document["matched_rows"]) == (0, len(MATCHING))
        assert ran.document["out"] == str(tmp_path / "out.csv")
        assert rows(tmp_path / "out.csv") == MATCHING
        assert (psi(*again).code, psi(*again).reason) == (4, "exchange_finished")
    for party in (PLATFORM, AUTHORITY):
        assert ended(office, party, exchange_id) == ("closed", None)
    assert newest(office, AUTHORITY)["resumable_until"] is None


def test_an_exchange_that_is_abandoned_is_aborted_in_both_logs(
    office: Office, mandate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with office.serving() as server:
        interrupted(office, mandate, server, tmp_path / "out.csv", monkeypatch)
    exchange_id = newest(office, AUTHORITY)["exchange_id"]
    for party in (AUTHORITY, PLATFORM):
        abandoning = ("exchange", "abandon", exchange_id[:8], "--home", office.home(party))
        ran = psi(*abandoning, "--json")
        assert (ran.code, ran.document["state"], ran.document["reason"]) == (
            0,
            "aborted",
            "abandoned",
        )
        assert (psi(*abandoning, "--json").reason) == "exchange_finished"
        assert ended(office, party, exchange_id) == ("aborted", "abandoned")
    assert list(tmp_path.iterdir()) == []
    resumed = psi("match", "--home", office.home(AUTHORITY), "--resume", exchange_id, "--json")
    assert (resumed.code, resumed.reason) == (4, "exchange_finished")


def test_another_list_is_not_gone_on_with_and_the_next_match_tells_of_what_was_left(
    office: Office, mandate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with office.serving() as server:
        interrupted(office, mandate, server, tmp_path / "out.csv", monkeypatch)
    exchange_id = newest(office, AUTHORITY)["exchange_id"]
    resume = (
        "match",
        "--home",
        office.home(AUTHORITY),
        "--resume",
        exchange_id,
        "--retry-for",
        "9",
    )
    ran = psi(*resume, "--data", office.customers.with_name("others.csv"), "--json")
    assert (ran.code, ran.reason) == (4, "input_unreadable")
    other = office.table("others.csv", "phone", SUSPECTS[1:])
    ran = psi(*resume, "--data", other, "--json")
    assert (ran.code, ran.reason) == (4, "list_differs")
    with office.serving() as server:
        ran = psi(*office.asking(server.address, mandate, "--out", tmp_path / "new.csv"))
        assert ran.code == 0
        assert f"psishare match --resume {exchange_id[:12]}" in ran.err
        assert psi(*resume, "--address", server.address, "--json").code == 0
    assert rows(tmp_path / "out.csv") == rows(tmp_path / "new.csv") == MATCHING


def test_an_interrupted_match_leaves_no_result_and_an_entry_on_both_sides(
    office: Office, mandate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    before_the_first_frame(monkeypatch, interrupt)
    with office.serving() as server:
        ran = psi(*office.asking(server.address, mandate, "--out", tmp_path / "out.csv"))
        assert (ran.code, ran.out) == (130, "")
        server.end(signal.SIGTERM)
    assert list(tmp_path.iterdir()) == []
    exchange_id = newest(office, AUTHORITY)["exchange_id"]
    assert ended(office, AUTHORITY, exchange_id) == ("aborted", "interrupted")
    assert ended(office, PLATFORM, exchange_id) == ("aborted", "peer_aborted")


def test_serve_tells_people_what_it_has_recovered(
    office: Office, mandate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with office.serving() as server:
        interrupted(office, mandate, server, tmp_path / "out.csv", monkeypatch)
    with office.serving(as_json=False) as server:
        ran = server.end(signal.SIGTERM)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "1 exchange of a process that ended is open again\n"
    for party in (PLATFORM, AUTHORITY):
        left = newest(office, AUTHORITY)["exchange_id"]
        assert psi("exchange", "abandon", left, "--home", office.home(party)).code == 0


def test_dataset_show_tells_what_was_encoded(office: Office) -> None:
    home = ("--home", office.home(PLATFORM))
    [told] = psi("dataset", "show", "customers", *home, "--json").document["datasets"]
    assert (told["dataset"], told["kind"], told["epoch"], told["items"]) == (
        "customers",
        "phone",
        1,
        5,
    )
    assert told["manifest_sha256"] in psi("dataset", "show", "customers", *home).out
    assert "customers" in psi("dataset", "show", *home).out
    ran = psi("dataset", "show", "strangers", *home, "--json")
    assert (ran.code, ran.reason) == (3, "dataset_unknown")


def test_dataset_encode_makes_the_next_epoch_silently(office: Office, tmp_path: Path) -> None:
    more = office.table("accounts.csv", "account", ["A 1", "A 2", "A 2", ""])
    ran = psi_process(
        *("dataset", "encode", "accounts", "--home", office.home(PLATFORM), "--json"),
        *("--data", more, "--key", "account=account", "--namespace", "bank/1", "--n-max", "100"),
    )
    assert (ran.code, ran.err) == (0, "")
    assert (ran.document["items"], ran.document["namespace"]) == (2, "bank/1")
    assert (ran.document["epoch"], ran.document["n_max"]) == (1, 100)


def test_dataset_encode_tells_the_rows_that_it_leaves_out(office: Office) -> None:
    mixed = office.table("mixed.csv", "number", ["+4915112345678", "0151 1234567", "none", ""])
    encode = ("dataset", "encode", "mixed", "--home", office.home(PLATFORM), "--data", mixed)
    told = psi(*encode, "--key", "phone=number", "--json").document
    assert (told["rows"], told["items"]) == (4, 1)
    assert told["rejected"] == {"letters": 1, "missing": 1, "no_country": 1}
    assert told["first_rejects"][0] == {"row": 1, "reason": "no_country"}
    said = psi(*encode, "--key", "phone=number").out
    assert "3: letters 1, missing 1, no_country 1; first at rows 1, 2, 3 (from 0)" in said
    assert "--region DE" in said
    assert "--region" not in psi(*encode, "--key", "phone=number", "--region", "DE").out


def test_dataset_update_and_rotate_tell_the_rows_that_they_leave_out(office: Office) -> None:
    home = ("--home", office.home(PLATFORM), "--key", "phone=number")
    first = office.table("changing.csv", "number", CUSTOMERS)
    new = office.table("new.csv", "number", ["+4915112345679", "none"])
    gone = office.table("gone.csv", "number", ["none", "", CUSTOMERS[0]])
    assert psi("dataset", "encode", "changing", *home, "--data", first).code == 0
    update = ("dataset", "update", "changing", *home, "--add", new, "--remove", gone)
    told = psi(*update, "--json").document
    assert told["items"] == len(CUSTOMERS)
    assert (told["add"]["rows"], told["add"]["rejected"]) == (2, {"letters": 1})
    assert (told["remove"]["rows"], told["remove"]["rejected"]) == (3, {"letters": 1, "missing": 1})
    said = psi(*update).out
    assert "1: letters 1; first at rows 1 (from 0)" in said
    assert "2: letters 1, missing 1; first at rows 0, 1 (from 0)" in said
    removed = psi("dataset", "update", "changing", *home, "--remove", gone, "--json").document
    assert ("add" in removed, removed["remove"]["rows"]) == (False, 3)
    rotated = psi("dataset", "rotate", "changing", *home, "--data", new, "--json").document
    assert (rotated["rows"], rotated["rejected"], rotated["items"]) == (2, {"letters": 1}, 1)


def test_a_list_without_any_identifier_is_not_encoded(office: Office) -> None:
    wrong = office.table("wrong.csv", "number", ["0151 1234567", "none"])
    encode = ("dataset", "encode", "wrong", "--home", office.home(PLATFORM), "--json")
    ran = psi(*encode, "--data", wrong, "--key", "phone=number")
    assert (ran.code, ran.reason) == (4, "dataset_empty")
    error = ran.document["error"]
    assert "no row of column 'number' holds an identifier of kind phone" in error["message"]
    assert "--region DE" in error["mend"]
    assert "1234567" not in ran.out + ran.err
    ran = psi(*encode, "--data", wrong, "--key", "phone=row")
    assert (ran.code, ran.reason) == (4, "dataset_empty")
    shown = psi("dataset", "show", "wrong", "--home", office.home(PLATFORM), "--json")
    assert shown.reason == "dataset_unknown"
    none = office.table("none.csv", "number", [])
    told = psi(*encode, "--data", none, "--key", "phone=number").document
    assert (told["rows"], told["items"]) == (0, 0)


def test_serve_warns_of_the_rows_of_a_list_that_it_leaves_out(office: Office) -> None:
    mixed = office.table("served.csv", "number", [*CUSTOMERS, "0151 1234567", "none"])
    data = ("--data", mixed, "--key", "phone=number", "--name", "customers")
    rejected = {"letters": 1, "no_country": 1}
    with office.serving(*data, "--log-format", "json") as server:
        assert server.ready["lists"] == {"customers": {"rows": 7, "rejected": rejected}}
        started = json.loads(server.end(signal.SIGTERM).err.splitlines()[0])
    assert (started["event"], started["lists"]) == ("serve.started", server.ready["lists"])
    with office.serving(*data, as_json=False) as server:
        err = server.end(signal.SIGTERM).err
    assert "of the 7 rows of the list customers are rejected 2: letters 1, no_country 1;" in err
    assert "--region DE" in err
    assert "1234567" not in err


def test_a_list_in_semicolons_is_encoded_updated_and_rotated(
    office: Office, tmp_path: Path
) -> None:
    first, more = tmp_path / "first.txt", tmp_path / "more.txt"
    first.write_bytes("1;+4915112345678;M\xfcller\n".encode("cp1252"))
    more.write_bytes("2;+4915112345679;J\xe4ger\n".encode("cp1252"))
    reading = ("--format", "csv", "--encoding", "cp1252", "--delimiter", ";", "--no-header")
    column = ("--home", office.home(PLATFORM), "--key", "phone=column_2", *reading, "--json")
    for command, files, n_items in (
        ("encode", ("--data", first), 1),
        ("update", ("--add", more), 2),
        ("update", ("--remove", first), 1),
        ("rotate", ("--data", first), 1),
    ):
        ran = psi("dataset", command, "semicolons", *column, *files)
        assert (ran.code, ran.document.get("items")) == (0, n_items), ran.out


def test_a_column_of_whole_numbers_is_read_as_text_where_that_is_said(
    office: Office, tmp_path: Path
) -> None:
    numbers = tmp_path / "numbers.parquet"
    parquet.write_table(pa.table({"number": [4915112345678]}), numbers)
    column = ("--home", office.home(PLATFORM), "--key", "account=number", "--namespace", "x/1")
    first = office.table("accounts.csv", "number", ["1"])
    assert psi("dataset", "encode", "typed", *column, "--data", first).code == 0
    update = ("dataset", "update", "typed", *column, "--add", numbers, "--json")
    assert psi(*update).reason == "column_not_text"
    assert psi(*update, "--as-text").document["items"] == 2
