"""Mandates on the command line: prepared lists, emergencies, successors, withdrawals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cli_stage import AUTHORITY, ISSUER, PLATFORM, SUSPECTS, VALIDATOR, Office, Ran, psi

if TYPE_CHECKING:
    from pathlib import Path

NUMBERS = ["+4915112345678", "+33699999999", "+447712345678"]
UNTIL = datetime.now(UTC) + timedelta(days=30)


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    made = Office(tmp_path_factory.mktemp("office"))
    made.encode()
    return made


def request(office: Office, path: Path, *more: str | Path) -> Ran:
    return psi(
        *("mandate", "request", path, "--home", office.home(AUTHORITY), "--platform", PLATFORM),
        *("--dataset", "customers", "--data", office.suspects, "--key", "phone=phone"),
        *("--region", "DE", "--for", office.card(VALIDATOR), *more),
    )


def draft(office: Office, path: Path, *more: str | Path) -> Ran:
    return psi(
        *("mandate", "draft", path, "--home", office.home(ISSUER), "--validator", VALIDATOR),
        *("--not-after", f"{UNTIL:%Y-%m-%d}", "--jurisdiction", "XX", "--case", "case 1"),
        *("--legal-basis", "section 100", "--purpose", "suspects", *more),
    )


def drafted_for(office: Office, path: Path, *more: str | Path) -> Ran:
    known = ("--authority", AUTHORITY, "--platform", PLATFORM, "--kind", "phone")
    return draft(office, path, *known, "--max-rows", "10", *more)


def sign(office: Office, path: Path, party: str, *more: str | Path) -> Ran:
    return psi("mandate", "sign", path, "--home", office.home(party), *more)


def verify(office: Office, path: Path) -> Ran:
    return psi("mandate", "verify", path, "--home", office.home(PLATFORM), "--json")


def imported(office: Office, path: Path, *more: str) -> Ran:
    return psi("mandate", "import", path, "--home", office.home(PLATFORM), *more)


def field(ran: Ran, name: str) -> str:
    found = [line for line in ran.out.splitlines() if line.startswith(name)]
    assert len(found) == 1, ran.out
    return found[0].removeprefix(name).strip()


# A prepared list.


def test_a_prepared_list_becomes_a_mandate_that_its_validator_has_checked(
    office: Office, tmp_path: Path
) -> None:
    prepared, path, names = (tmp_path / name for name in ("case.request", "m", "list.txt"))
    told = request(office, prepared, "--json")
    assert (told.code, told.document["rows"]) == (0, len(NUMBERS))
    assert told.document["rejected"] == {"letters": 1}
    mandate = draft(office, path, "--request", prepared, "--json").document["mandate"]
    assert mandate["sealed_request"] == told.document["sealed_request"]
    assert (mandate["authority"], mandate["platform"]) == (AUTHORITY, PLATFORM)
    assert (mandate["kinds"], mandate["datasets"]) == (["phone"], ["customers"])
    assert (mandate["max_rows_per_exchange"], mandate["max_rows_total"]) == (3, 3)
    assert sign(office, path, ISSUER).code == 0
    before = path.read_bytes()
    ran = sign(office, path, VALIDATOR, "--json")
    assert (ran.code, ran.reason) == (4, "request_unseen")
    assert path.read_bytes() == before
    ran = sign(office, path, VALIDATOR, "--request", prepared, "--list-to", names)
    assert "Checked: 3 elements in 1 frames" in ran.out
    assert told.document["digest"] in ran.out
    assert names.read_text(encoding="utf-8").split() == NUMBERS
    assert names.stat().st_mode & 0o777 == 0o600
    assert verify(office, path).code == 0
    shown = psi("mandate", "show", path)
    assert field(shown, "sealed request").startswith(told.document["digest"])
    assert not any(number in ran.out + shown.out + told.out for number in NUMBERS)


def test_the_validator_signs_nothing_that_differs(office: Office, tmp_path: Path) -> None:
    first, second, path = (tmp_path / name for name in ("a.request", "b.request", "m"))
    request(office, first)
    request(office, second)
    draft(office, path, "--request", first)
    before = path.read_bytes()
    names = tmp_path / "list.txt"
    ran = sign(office, path, VALIDATOR, "--request", second, "--list-to", names, "--json")
    assert (ran.code, ran.reason) == (8, "request_differs")
    assert path.read_bytes() == before
    assert not names.exists()


@pytest.mark.parametrize("way", ["sealed", "committed"])
def test_match_asks_the_approved_list_and_no_other(
    office: Office, tmp_path: Path, way: str
) -> None:
    prepared, path, out = tmp_path / "case.request", tmp_path / "m", tmp_path / "out.csv"
    more = () if way == "sealed" else ("--commit-only",)
    assert request(office, prepared, *more).code == 0
    assert draft(office, path, "--request", prepared, "--max-exchanges", "3").code == 0
    sign(office, path, ISSUER)
    ran = sign(office, path, VALIDATOR, "--request", prepared, "--json")
    assert ran.document["checked"]["sealed"] is (way == "sealed")
    dry = psi(*office.asking("x:1", path, "--dry-run", "--json")).document
    assert (dry["allowed"], dry["list_approved"]) == (True, True)
    longer = office.table("longer.csv", "phone", [*SUSPECTS, "+4915100000000"])
    asking = office.asking("x:1", path, "--dry-run")
    at = asking.index("--data") + 1
    ran = psi(*asking[:at], str(longer), *asking[at + 1 :])
    assert (ran.code, "this one may not be asked" in ran.out) == (5, True)
    with office.serving() as server:
        asking = office.asking(server.address, path, "--out", out, "--json")
        at = asking.index("--data") + 1
        ran = psi(*asking[:at], str(longer), *asking[at + 1 :])
        assert (ran.code, ran.reason) == (4, "list_not_approved")
        assert not out.exists()
        ran = psi(*asking)
    assert (ran.code, ran.document["asked"]) == (0, 3)
    exchange_id = ran.document["exchange_id"]
    told = psi(
        *("audit", "replay", office.homes[PLATFORM].log_path, exchange_id, "--json"),
        *("--home", office.home(AUTHORITY), "--data", office.suspects, "--key", "phone=phone"),
        *("--region", "DE", "--trust", office.card(PLATFORM), "--trust", office.card(AUTHORITY)),
    )
    assert (told.code, told.document["replays"]) == (0, True)
    assert told.document["input_checked"] is (way == "committed")


def test_a_request_is_for_those_whom_it_names(office: Office, tmp_path: Path) -> None:
    prepared, path = tmp_path / "case.request", tmp_path / "m"
    told = request(office, prepared, "--for", office.card(ISSUER), "--json").document
    assert [reader["party"] for reader in told["readers"]] == [VALIDATOR, ISSUER]
    draft(office, path, "--request", prepared)
    assert "Checked" in sign(office, path, ISSUER, "--request", prepared).out
    alone = tmp_path / "alone.request"
    request(office, alone)
    ran = sign(office, path, ISSUER, "--request", alone, "--json")
    assert (ran.code, ran.reason) == (3, "request_not_for_us")


@pytest.mark.parametrize(
    "more", [("--authority", "customs.example"), ("--max-rows", "7"), ("--protocol", "ecdh")]
)
def test_a_draft_that_contradicts_its_request_ends_with_4(
    office: Office, tmp_path: Path, more: tuple[str, str]
) -> None:
    prepared, path = tmp_path / "case.request", tmp_path / "m"
    request(office, prepared)
    ran = draft(office, path, "--request", prepared, *more, "--json")
    assert (ran.code, ran.reason) == (4, "mandate_invalid")
    assert not path.exists()


def test_a_draft_without_a_request_says_who_asks_whom(office: Office, tmp_path: Path) -> None:
    assert draft(office, tmp_path / "m").code == 2
    assert draft(office, tmp_path / "m", "--authority", AUTHORITY).code == 2


def test_what_is_no_request_ends_with_4(office: Office, tmp_path: Path) -> None:
    ran = draft(office, tmp_path / "m", "--request", office.suspects, "--json")
    assert (ran.code, ran.reason) == (4, "request_malformed")


def test_only_an_authority_prepares_a_list(office: Office, tmp_path: Path) -> None:
    ran = request(office, tmp_path / "r", "--home", office.home(PLATFORM), "--json")
    assert (ran.code, ran.reason) == (3, "role_unfit")
    assert list(tmp_path.iterdir()) == []


def test_the_list_is_written_nowhere_else_by_the_validator(office: Office, tmp_path: Path) -> None:
    ran = sign(office, office.mandate("plain.mandate"), ISSUER, "--list-to", tmp_path / "list")
    assert ran.code == 2


# The paper that a mandate stands for.


def test_the_paper_is_compared_with_what_was_signed(office: Office, tmp_path: Path) -> None:
    order, other, path = tmp_path / "order.pdf", tmp_path / "other.pdf", tmp_path / "m"
    order.write_bytes(b"order")
    other.write_bytes(b"another order")
    drafted_for(office, path, "--attachment", order)
    for party in (ISSUER, VALIDATOR):
        sign(office, path, party)
    checking = ("mandate", "verify", path, "--home", office.home(PLATFORM), "--json")
    assert psi(*checking, "--attachment", order).document["attachment"] == "same"
    ran = psi(*checking, "--attachment", other)
    assert (ran.code, ran.reason) == (8, "attachment_differs")


# Withdrawals.


def test_a_withdrawn_mandate_no_longer_verifies(office: Office, tmp_path: Path) -> None:
    path, listed = office.mandate("withdrawn.mandate"), tmp_path / "withdrawn.list"
    assert verify(office, path).code == 0
    made = psi(
        *("mandate", "revoke", listed, "--home", office.home(ISSUER), "--mandate", path, "--json")
    )
    assert len(made.document["revocations"]["revoked"]) >= 1
    assert "counts here from now on" in imported(office, listed).out
    ran = verify(office, path)
    assert (ran.code, ran.reason) == (5, "mandate_revoked")
    assert verify(office, office.mandate("other.mandate")).code == 0


def test_an_older_list_is_refused_with_8(office: Office, tmp_path: Path) -> None:
    older, newer = tmp_path / "older.list", tmp_path / "newer.list"
    for path in (older, newer):
        assert psi("mandate", "revoke", path, "--home", office.home(VALIDATOR)).code == 0
    assert imported(office, newer).code == 0
    ran = imported(office, older, "--json")
    assert (ran.code, ran.reason) == (8, "revocations_older")


def test_nobody_withdraws_another_s_mandate(office: Office, tmp_path: Path) -> None:
    path = office.mandate("mine.mandate")
    ran = psi(
        *("mandate", "revoke", tmp_path / "l", "--home", office.home(PLATFORM)),
        *("--mandate", path, "--json"),
    )
    assert (ran.code, ran.reason) == (4, "mandate_not_ours")
    assert not (tmp_path / "l").exists()


def test_a_platform_that_insists_on_fresh_lists_refuses_without_one(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    fresh = Office(tmp_path_factory.mktemp("fresh"))
    policy = fresh.homes[PLATFORM].policy_path
    policy.write_text("version = 1\nrevocation_max_age_s = 86400\n", encoding="utf-8")
    path = fresh.mandate()
    ran = verify(fresh, path)
    assert (ran.code, ran.reason) == (5, "mandate_revocations_stale")
    listed = tmp_path / "renewed.list"
    psi("mandate", "revoke", listed, "--home", fresh.home(ISSUER))
    imported(fresh, listed)
    assert verify(fresh, path).code == 0


# Emergencies and successors.


def emergency(office: Office, path: Path, *more: str | Path) -> Ran:
    until = datetime.now(UTC) + timedelta(days=2)
    return drafted_for(
        office,
        path,
        *("--validate-by", f"{until:%Y-%m-%d}", "--emergency-ground", "danger to life", *more),
    )


def test_an_emergency_shows_what_is_missing_and_until_when(office: Office, tmp_path: Path) -> None:
    path = tmp_path / "m"
    assert emergency(office, path).code == 0
    sign(office, path, ISSUER)
    ran = verify(office, path)
    assert (ran.code, ran.reason) == (5, "policy_emergency")
    assert "danger to life" in field(psi("mandate", "show", path), "emergency")
    sign(office, path, VALIDATOR)
    assert verify(office, path).document["validated"] is True
    told = imported(office, path, "--json").document
    assert (told["validated"], told["supersedes"]) == (True, None)


@pytest.mark.parametrize(
    "more",
    [
        ("--validate-by", "2099-01-01"),
        ("--emergency-ground", "danger"),
        ("--no-notice-until", "2099-01-01"),
        ("--no-notice-ground", "danger"),
    ],
)
def test_a_ground_and_its_time_go_together(
    office: Office, tmp_path: Path, more: tuple[str, str]
) -> None:
    assert drafted_for(office, tmp_path / "m", *more).code == 2


def test_a_delayed_notice_is_shown(office: Office, tmp_path: Path) -> None:
    path = tmp_path / "m"
    grounds = ("--no-notice-until", "2099-01-01", "--no-notice-ground", "flight risk")
    drafted_for(office, path, *grounds, "--erase-by", "2099-02-01")
    shown = psi("mandate", "show", path)
    assert "2099-01-01T23:59:59Z: flight risk" in field(shown, "no notice")
    assert field(shown, "erase by") == "2099-02-01T23:59:59Z"


def test_a_successor_ends_the_mandate_before_it(office: Office, tmp_path: Path) -> None:
    first, path = office.mandate("first.mandate"), tmp_path / "m"
    first_id = verify(office, first).document["mandate"]["id"]
    drafted_for(office, path, "--supersedes", first_id)
    sign(office, path, ISSUER)
    sign(office, path, VALIDATOR)
    assert first_id in imported(office, path).out
    ran = verify(office, first)
    assert (ran.code, ran.reason) == (5, "mandate_superseded")
    assert verify(office, path).code == 0


def test_imports_stand_in_the_log(office: Office) -> None:
    ran: Any = office.verify(PLATFORM)
    assert ran.code == 0
