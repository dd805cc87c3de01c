"""``psishare offline``: seven commands, and never a file after a failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from cli_stage import AUTHORITY, MATCHING, PLATFORM, Office, Ran, psi

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    made = Office(tmp_path_factory.mktemp("office"))
    made.encode()
    return made


class Courier:
    """Two sides that know each other by files in a folder."""

    def __init__(self, office: Office, folder: Path, mandate: Path) -> None:
        self.office = office
        self.folder = folder
        self.mandate = mandate
        self.platform: list[Any] = ["--home", office.home(PLATFORM)]
        self.authority: list[Any] = ["--home", office.home(AUTHORITY)]
        self.asked: list[Any] = [
            "--data",
            office.suspects,
            "--key",
            "phone=phone",
            "--region",
            "DE",
        ]

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.parcel"

    def sync(self) -> None:
        made = psi(
            *("offline", "export", "customers", *self.platform, "--authority", AUTHORITY),
            *("--mandate", self.mandate, "--out", self.file("customers"), "--json"),
        )
        assert made.code == 0, made.err
        taken = psi(
            *("offline", "sync", self.file("customers"), *self.authority),
            *("--mandate", self.mandate, "--json"),
        )
        assert taken.code == 0, taken.err
        assert (taken.document["dataset"], taken.document["items"]) == ("customers", 5)

    def request(self, *more: Any, dataset: str = "customers") -> Ran:
        return psi(
            *("offline", "request", *self.authority, "--platform", PLATFORM, "--dataset", dataset),
            *("--mandate", self.mandate, *self.asked, "--out", self.file("request"), "--json"),
            *more,
        )

    def step(self, name: str, parcel: str, out: Path | str, *more: Any) -> Ran:
        side = self.platform if name in {"answer", "confirm"} else self.authority
        return psi("offline", name, self.file(parcel), *side, "--out", out, "--json", *more)

    def finished(self, *served: Any) -> None:
        """Carry an exchange up to its confirmation."""
        for name, parcel, out in (
            ("answer", "request", "answer"),
            ("finish", "answer", "receipt"),
            ("confirm", "receipt", "confirmation"),
        ):
            more = served if name != "finish" else ()
            ran = self.step(name, parcel, self.file(out), *more)
            assert ran.code == 0, ran.out


@pytest.fixture
def courier(office: Office, tmp_path: Path) -> Courier:
    return Courier(office, tmp_path, office.mandate())


def test_a_whole_exchange_by_files(courier: Courier, tmp_path: Path) -> None:
    courier.sync()
    asked = courier.request().document
    assert (asked["rows"], asked["distinct"]) == (5, 3)
    served = ("--dataset", "customers")
    courier.finished(*served)
    again = courier.step("answer", "request", tmp_path / "again.parcel", *served)
    assert again.document["repeated"] is True
    assert (tmp_path / "again.parcel").read_bytes() == courier.file("answer").read_bytes()
    out = tmp_path / "matches.csv"
    found = courier.step("release", "confirmation", out)
    assert (found.code, found.document["matched"], found.document["cosigned"]) == (0, 2, False)
    rows = [int(line.split(",")[0]) for line in out.read_text(encoding="utf-8").splitlines()[1:]]
    assert rows == MATCHING
    shown = psi("exchange", "show", asked["exchange_id"][:12], *courier.authority, "--json")
    assert shown.document["state"] == "closed"
    assert set(shown.document["signatures"].values()) == {"good"}
    over = courier.step("release", "confirmation", tmp_path / "more.csv")
    assert (over.code, over.reason) == (4, "exchange_finished")
    assert not (tmp_path / "more.csv").exists()


def test_no_request_is_made_for_what_its_protocol_cannot_give(courier: Courier) -> None:
    ran = courier.request("--output", "count")
    assert (ran.code, ran.reason) == (4, "output_unsupported")
    assert not courier.file("request").exists()


def test_a_count_of_a_list_by_files(courier: Courier, tmp_path: Path) -> None:
    courier.request("--protocol", "ecdh", "--output", "count", dataset="list")
    customers = tmp_path / "semicolons.csv"
    commas = courier.office.customers.read_text(encoding="utf-8")
    customers.write_text(commas.replace(",", ";"), encoding="utf-8")
    served = ("--data", customers, "--key", "phone=number", "--name", "list")
    courier.finished(*served, "--delimiter", ";")
    refused = courier.step("release", "confirmation", tmp_path / "out.csv")
    assert (refused.code, refused.reason) == (2, "usage")
    ran = psi("offline", "release", courier.file("confirmation"), *courier.authority)
    assert (ran.code, ran.out) == (0, "2\n")
    assert not (tmp_path / "out.csv").exists()


def test_a_list_that_was_moved_is_named_again(courier: Courier, tmp_path: Path) -> None:
    courier.sync()
    moved = tmp_path / "moved.csv"
    moved.write_bytes(courier.office.suspects.read_bytes())
    here = courier.office.folder / "here.csv"
    here.write_bytes(moved.read_bytes())
    courier.asked[1] = here
    courier.request()
    served = ("--dataset", "customers")
    courier.step("answer", "request", courier.file("answer"), *served)
    here.unlink()
    gone = courier.step("finish", "answer", courier.file("receipt"))
    assert (gone.code, gone.reason) == (4, "input_unreadable")
    other = tmp_path / "other.csv"
    other.write_text("row,phone\n1,+4915112345678\n", encoding="utf-8")
    differs = courier.step("finish", "answer", courier.file("receipt"), "--data", other)
    assert (differs.code, differs.reason) == (4, "list_differs")
    assert not courier.file("receipt").exists()
    assert courier.step("finish", "answer", courier.file("receipt"), "--data", moved).code == 0


def test_a_refusal_is_an_answer(courier: Courier, office: Office, tmp_path: Path) -> None:
    courier.mandate = office.mandate("small.mandate", max_rows_per_exchange=1)
    courier.request("--protocol", "ecdh", dataset="list")
    served = ("--data", office.customers, "--key", "phone=number", "--name", "list")
    answered = courier.step("answer", "request", courier.file("answer"), *served)
    assert answered.code == 0
    told = {name: answered.document[name] for name in ("state", "reason", "authority")}
    assert told == {"state": "refused", "reason": "mandate_over_rows", "authority": AUTHORITY}
    finished = courier.step("finish", "answer", courier.file("receipt"))
    assert (finished.code, finished.reason) == (5, "mandate_over_rows")
    assert not courier.file("receipt").exists()


def test_a_damaged_parcel_ends_with_exit_code_7_and_no_file(courier: Courier) -> None:
    courier.request("--protocol", "ecdh", dataset="list")
    data = bytearray(courier.file("request").read_bytes())
    data[-1] ^= 1
    courier.file("damaged").write_bytes(bytes(data))
    served = ("--data", courier.office.customers, "--key", "phone=number", "--name", "list")
    ran = courier.step("answer", "damaged", courier.file("answer"), *served)
    assert (ran.code, ran.reason) == (7, "parcel_damaged")
    assert not courier.file("answer").exists()


def test_a_file_that_is_there_is_not_replaced_unasked(courier: Courier) -> None:
    courier.file("request").write_bytes(b"mine")
    ran = courier.request("--protocol", "ecdh", dataset="list")
    assert (ran.code, ran.reason) == (4, "output_exists")
    assert courier.file("request").read_bytes() == b"mine"
    assert courier.request("--protocol", "ecdh", "--overwrite", dataset="list").code == 0
    nowhere = courier.step(
        "answer", "request", courier.folder / "none" / "answer.parcel", "--dataset", "customers"
    )
    assert (nowhere.code, nowhere.reason) == (4, "output_unwritable")


def test_each_side_does_its_own_steps(courier: Courier) -> None:
    courier.request("--protocol", "ecdh", dataset="list")
    wrong = psi(
        *("offline", "answer", courier.file("request"), *courier.authority),
        *("--dataset", "customers", "--out", courier.file("answer"), "--json"),
    )
    assert (wrong.code, wrong.reason) == (3, "role_unfit")
    nothing = courier.step("answer", "request", courier.file("answer"))
    assert (nothing.code, nothing.reason) == (3, "nothing_to_serve")


def test_text_for_people_names_the_file_and_for_whom_it_is(courier: Courier) -> None:
    ran = psi(
        *("offline", "request", *courier.authority, "--platform", PLATFORM, "--dataset", "list"),
        *("--mandate", courier.mandate, *courier.asked, "--protocol", "ecdh"),
        *("--out", courier.file("request")),
    )
    assert ran.code == 0
    assert f"{courier.file('request')}, for {PLATFORM}" in ran.out
