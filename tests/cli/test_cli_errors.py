"""Every failure ends in its exit code, one clear sentence, and no result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cli_stage import AUTHORITY, PLATFORM, Office, psi

from psishare.cli import console
from psishare.parties.home import Home

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = "127.0.0.1:1"
"""An address at which nothing listens."""


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    return Office(tmp_path_factory.mktemp("office"))


@pytest.fixture(scope="module")
def mandate(office: Office) -> Path:
    return office.mandate()


def test_misuse_ends_with_2_and_says_how_to_get_help() -> None:
    ran = psi("match", "--home", "x")
    assert (ran.code, ran.out) == (2, "")
    assert "--help" in ran.err
    assert "--platform" in ran.err


def test_misuse_with_json_is_an_object_on_standard_output() -> None:
    ran = psi("match", "--home", "x", "--json")
    assert (ran.code, ran.reason, ran.err) == (2, "usage", "")


def test_an_unknown_command_ends_with_2() -> None:
    assert psi("reveal").code == 2


def test_a_home_that_is_not_there_ends_with_3(tmp_path: Path) -> None:
    ran = psi("party", "show", "--home", tmp_path / "none")
    assert (ran.code, ran.out) == (3, "")
    assert ran.err.startswith("error: ")
    assert "to mend: " in ran.err


def test_an_error_with_json_has_all_its_parts(tmp_path: Path) -> None:
    ran = psi("party", "show", "--home", tmp_path / "none", "--json")
    assert ran.err == ""
    assert set(ran.document["error"]) == {"message", "reason", "party", "mend", "exit_code"}
    assert ran.document["error"]["exit_code"] == ran.code == 3


def test_the_home_can_come_from_the_environment(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PSISHARE_HOME", str(office.home(PLATFORM)))
    assert psi("party", "show", "--json").document["id"] == PLATFORM


def test_a_home_of_another_role_ends_with_3(office: Office, mandate: Path, tmp_path: Path) -> None:
    ran = psi(
        *("serve", "--home", office.home(AUTHORITY), "--listen", "127.0.0.1:0"),
        *("--dataset", "customers", "--json"),
    )
    assert (ran.code, ran.reason) == (3, "role_unfit")


def test_serve_without_anything_to_serve_ends_with_3(office: Office) -> None:
    ran = psi("serve", "--home", office.home(PLATFORM), "--listen", "127.0.0.1:0", "--json")
    assert (ran.code, ran.reason) == (3, "nothing_to_serve")


def test_serve_wants_a_key_and_a_name_for_each_list(office: Office) -> None:
    ran = psi(
        *("serve", "--home", office.home(PLATFORM), "--listen", "127.0.0.1:0"),
        *("--data", office.customers, "--json"),
    )
    assert (ran.code, ran.reason) == (2, "usage")


def test_a_result_in_a_missing_folder_is_refused_before_anything_is_asked(
    office: Office, mandate: Path, tmp_path: Path
) -> None:
    out = tmp_path / "missing" / "out.csv"
    ran = psi(*office.asking(NOBODY, mandate, "--out", out, "--json"))
    # The order shows that nothing was asked: nobody listens at the address, which would end with 6.
    assert (ran.code, ran.document["error"]["exit_code"]) == (4, 4)
    assert not out.parent.exists()


def test_a_result_that_is_there_is_never_overwritten_unasked(
    office: Office, mandate: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    out.write_text("mine", encoding="utf-8")
    ran = psi(*office.asking(NOBODY, mandate, "--out", out, "--json"))
    assert (ran.code, ran.reason) == (4, "output_exists")
    assert out.read_text(encoding="utf-8") == "mine"


def test_a_file_to_be_overwritten_survives_a_failure(
    office: Office, mandate: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    out.write_text("mine", encoding="utf-8")
    ran = psi(
        *office.asking(NOBODY, mandate, "--out", out, "--overwrite", "--timeout", "2", "--json")
    )
    assert ran.code == 6
    assert out.read_text(encoding="utf-8") == "mine"


def test_an_unreachable_platform_ends_with_6_and_leaves_no_result(
    office: Office, mandate: Path, tmp_path: Path
) -> None:
    ran = psi(
        *office.asking(NOBODY, mandate, "--out", tmp_path / "out.csv", "--timeout", "2", "--json")
    )
    assert ran.code == 6
    assert ran.document["error"]["party"] == PLATFORM
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("--data", "nowhere.csv"), "input_unreadable"),
        (("--key", "phone=nothing"), "column_missing"),
        (("--key", "phone"), "key_malformed"),
        (("--key", "shoe=phone"), "kind_unknown"),
    ],
)
def test_a_list_that_cannot_be_used_ends_with_4(
    office: Office, mandate: Path, tmp_path: Path, change: tuple[str, str], reason: str
) -> None:
    ran = psi(*office.asking(NOBODY, mandate, "--out", tmp_path / "out.csv", "--json", *change))
    assert (ran.code, ran.reason) == (4, reason)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("output", ["count", "both"])
@pytest.mark.parametrize("protocol", [[], ["--protocol", "openmined"]])
def test_an_output_that_the_protocol_cannot_give_is_asked_of_nobody(
    office: Office, mandate: Path, tmp_path: Path, protocol: list[str], output: str
) -> None:
    log = office.homes[AUTHORITY].log_path / "checkpoint"
    before = log.read_bytes()
    out = () if output == "count" else ("--out", tmp_path / "out.csv")
    asking = office.asking(NOBODY, mandate, *protocol, "--output", output, *out, "--json")
    for more in ((), ("--dry-run",)):
        ran = psi(*asking, *more)
        assert (ran.code, ran.reason) == (4, "output_unsupported")
        assert ran.document["error"]["mend"] == f"{output} needs --protocol ecdh."
    assert log.read_bytes() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "more", [["--output", "count", "--out", "x.csv"], [], ["--out", "-", "--json"]]
)
def test_out_goes_with_rows_and_with_rows_only(
    office: Office, mandate: Path, more: list[str]
) -> None:
    assert psi(*office.asking(NOBODY, mandate, *more)).code == 2


def test_a_fault_of_psishare_ends_with_70_and_one_sentence(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(_path: Path) -> Home:
        raise ZeroDivisionError("a secret value")

    monkeypatch.delenv("PSISHARE_TRACEBACK", raising=False)
    monkeypatch.setattr(Home, "open", fault)
    ran = psi("party", "show", "--home", office.home(PLATFORM))
    assert (ran.code, ran.out) == (70, "")
    assert "ZeroDivisionError" in ran.err
    assert "Traceback" not in ran.err
    assert "secret value" not in ran.err


def test_a_fault_of_psishare_shows_its_traceback_on_demand(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(_path: Path) -> Home:
        raise ZeroDivisionError

    monkeypatch.setenv("PSISHARE_TRACEBACK", "1")
    monkeypatch.setattr(Home, "open", fault)
    ran = psi("party", "show", "--home", office.home(PLATFORM), "--json")
    assert (ran.code, ran.reason) == (70, "internal")
    assert "Traceback" in ran.err


def test_an_interrupt_ends_with_130(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_path: Path) -> Home:
        raise KeyboardInterrupt

    monkeypatch.setattr(Home, "open", interrupt)
    ran = psi("party", "show", "--home", office.home(PLATFORM))
    assert (ran.code, ran.out, ran.err) == (130, "", "interrupted\n")


def test_text_from_elsewhere_is_not_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    console.say_fields({"name": "[red]Tele[/red] :smile:"})
    console.say_table(["[b]"], [["[link=x]y[/link]"]])
    printed = capsys.readouterr().out
    assert "[red]Tele[/red] :smile:" in printed
    assert "[link=x]y[/link]" in printed
