"""``audit verify``: both logs, offline, with public cards alone and nothing native loaded."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from cli_stage import AUTHORITY, ISSUER, PLATFORM, VALIDATOR, Office, psi

if TYPE_CHECKING:
    from pathlib import Path

BLOCKED = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name in ("psishare._native", "pyarrow", "grpc"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Block())
from psishare.cli import main
main()
"""


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    made = Office(tmp_path_factory.mktemp("office"))
    made.encode()
    with made.serving() as server:
        out = made.folder / "out.csv"
        ran = psi(*made.asking(server.address, made.mandate(), "--out", out, "--json"))
    assert ran.code == 0
    return made


@pytest.fixture(scope="module", autouse=True)
def verdicts(office: Office) -> dict[str, dict[str, Any]]:
    """Return both logs' verdicts, before any test adds an entry of its own."""
    return {party: office.verify(party).document for party in (AUTHORITY, PLATFORM)}


def test_audit_verify_runs_with_everything_native_blocked(office: Office) -> None:
    for party in (PLATFORM, AUTHORITY):
        done = subprocess.run(
            [
                *(sys.executable, "-c", BLOCKED, "audit", "verify"),
                *(str(office.homes[party].log_path), "--trust", str(office.card(PLATFORM))),
                *("--trust", str(office.card(AUTHORITY))),
            ],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith(f"The log of {party} verifies.\n")
        assert "closed" in done.stdout
        (peer,) = {AUTHORITY, PLATFORM} - {party}
        told = re.search(rf"cosigned by  {peer} up to (\d+) of (\d+)(.*)\n", done.stdout)
        assert told is not None
        n_after = int(told[2]) - int(told[1])
        assert told[3] == (f", {n_after} came after" if n_after else "")


def test_the_verdict_in_json_names_every_exchange_and_whom_was_trusted(
    office: Office, verdicts: dict[str, dict[str, Any]]
) -> None:
    ours, theirs = verdicts[AUTHORITY], verdicts[PLATFORM]
    assert (ours["verified"], ours["party"], theirs["party"]) == (True, AUTHORITY, PLATFORM)
    for verdict, peer in ((ours, PLATFORM), (theirs, AUTHORITY)):
        [exchange] = verdict["exchanges"]
        assert (exchange["ending"], exchange["peer"], exchange["rows"]) == ("closed", peer, 3)
        assert verdict["cosigned"][peer] == verdict["tree_size"]
        assert verdict["after_cosigned"] == {peer: 0}
        assert sum(verdict["entries"].values()) == verdict["tree_size"]
        assert verdict["trusted"][PLATFORM] == office.homes[PLATFORM].card.fingerprint()
    assert ours["exchanges"][0]["exchange_id"] == theirs["exchanges"][0]["exchange_id"]


def test_a_changed_log_ends_with_8(office: Office, tmp_path: Path) -> None:
    copy = tmp_path / "log"
    shutil.copytree(office.homes[PLATFORM].log_path, copy)
    for bundle in (path for path in copy.glob("tile/entries/**/*") if path.is_file()):
        bundle.write_bytes(bundle.read_bytes().replace(b"closed", b"opened"))
    ran = psi(
        *("audit", "verify", copy, "--trust", office.card(PLATFORM)),
        *("--trust", office.card(AUTHORITY), "--json"),
    )
    assert (ran.code, ran.document["error"]["exit_code"]) == (8, 8)


def test_a_folder_without_a_log_ends_with_8(office: Office, tmp_path: Path) -> None:
    ran = psi("audit", "verify", tmp_path, "--trust", office.card(PLATFORM), "--json")
    assert (ran.code, ran.reason) == (8, "log_missing")


@pytest.mark.parametrize("trusted", [PLATFORM, ISSUER])
def test_without_the_cards_of_both_parties_it_ends_with_3(office: Office, trusted: str) -> None:
    ran = psi(
        *("audit", "verify", office.homes[AUTHORITY].log_path),
        *("--trust", office.card(trusted), "--json"),
    )
    assert (ran.code, ran.reason) == (3, "card_missing")


def test_a_card_that_is_not_there_or_not_one_ends_with_3(office: Office, tmp_path: Path) -> None:
    log = office.homes[AUTHORITY].log_path
    ran = psi("audit", "verify", log, "--trust", tmp_path / "none", "--json")
    assert (ran.code, ran.reason) == (3, "card_missing")
    ran = psi("audit", "verify", log, "--trust", office.suspects, "--json")
    assert (ran.code, ran.reason) == (3, "card_malformed")


def new_party(home: Path) -> None:
    named = ("--id", PLATFORM, "--role", "platform", "--name", "N")
    assert psi("party", "init", "--home", home, *named, "--no-passphrase").code == 0


def test_two_different_cards_of_one_party_end_with_3(office: Office, tmp_path: Path) -> None:
    other = tmp_path / "other"
    new_party(other)
    psi("party", "export", tmp_path / "other.card", "--home", other)
    ran = psi(
        *("audit", "verify", office.homes[PLATFORM].log_path, "--json"),
        *("--trust", office.card(PLATFORM), "--trust", tmp_path / "other.card"),
    )
    assert (ran.code, ran.reason) == (3, "card_changed")


def test_the_keys_of_the_wrong_party_of_that_name_do_not_verify(
    office: Office, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    new_party(other)
    psi("party", "export", tmp_path / "other.card", "--home", other)
    ran = psi(
        *("audit", "verify", office.homes[PLATFORM].log_path, "--json"),
        *("--trust", tmp_path / "other.card", "--trust", office.card(AUTHORITY)),
    )
    assert ran.code == 8


def test_fsck_names_the_file_and_the_byte_that_differ(office: Office, tmp_path: Path) -> None:
    folder = tmp_path / "log"
    shutil.copytree(office.homes[PLATFORM].log_path, folder)
    trust = ("--trust", office.card(PLATFORM), "--trust", office.card(AUTHORITY))
    assert psi("audit", "fsck", folder, *trust).code == 0
    tile = max((folder / "tile" / "0" / "000.p").iterdir(), key=lambda path: int(path.name))
    data = bytearray(tile.read_bytes())
    data[33] ^= 1
    tile.write_bytes(data)
    ran = psi("audit", "fsck", folder, *trust, "--json")
    assert ran.code == 8
    assert ran.document["faults"][0] == {
        "path": tile.relative_to(folder).as_posix(),
        "byte": 33,
        "finding": "differs from the entries",
    }


def test_bundles_verify_and_reconcile_with_everything_native_blocked(
    office: Office, tmp_path: Path
) -> None:
    trust = [
        word
        for party in (PLATFORM, AUTHORITY, ISSUER, VALIDATOR)
        for word in ("--trust", str(office.card(party)))
    ]
    bundles = []
    for party in (PLATFORM, AUTHORITY):
        path = tmp_path / f"{party}.bundle"
        ran = psi("audit", "export", path, "--home", office.home(party), "--json")
        assert (ran.code, ran.document["missing_mandates"]) == (0, [])
        bundles.append(str(path))
    for words in (["verify", bundles[0]], ["verify", bundles[1]], ["reconcile", *bundles]):
        done = subprocess.run(
            [sys.executable, "-c", BLOCKED, "audit", *words, *trust, "--json"],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
    ran = psi("audit", "verify", bundles[0], *trust, "--json")
    [exchange] = ran.document["exchanges"]
    assert (ran.document["scope"], exchange["mandate"]) == ({"scope": "all"}, "covers")


def test_a_policy_whose_quorum_is_missing_ends_with_8(office: Office, tmp_path: Path) -> None:
    log = office.homes[PLATFORM].log_path
    trust = ("--trust", office.card(PLATFORM), "--trust", office.card(AUTHORITY))
    own = office.homes[PLATFORM].card.verifiers()[0].encode()
    cosigner = office.homes[AUTHORITY].card.cosigner_keys()[0].encode()
    stranger = office.homes[ISSUER].card.cosigner_keys()[0].encode()
    policy = tmp_path / "policy"
    for lines, code in (
        ([f"log {own}", f"witness a {cosigner}", "quorum a"], 0),
        ([f"log {own}", f"witness b {stranger}", "quorum b"], 8),
        ([f"log {own}", f"witness a {cosigner}", f"witness b {stranger}"], 3),
    ):
        policy.write_text("\n".join(["# who must have seen it", *lines, ""]), encoding="utf-8")
        assert psi("audit", "verify", log, *trust, "--policy", policy).code == code
    policy.write_text(
        f"log {own}\nwitness a {cosigner}\nwitness b {stranger}\ngroup g any a b\nquorum g\n",
        encoding="utf-8",
    )
    assert psi("audit", "verify", log, *trust, "--policy", policy).code == 0


def test_a_replay_passes_with_the_list_and_names_the_row_of_another(
    office: Office, tmp_path: Path
) -> None:
    trust = ("--trust", office.card(PLATFORM), "--trust", office.card(AUTHORITY))
    log = office.homes[PLATFORM].log_path
    [exchange] = psi("audit", "verify", log, *trust, "--json").document["exchanges"]
    asked = ("audit", "replay", log, exchange["exchange_id"], *trust, "--home")
    column = ("--key", "phone=phone", "--region", "DE", "--json")
    ran = psi(*asked, office.home(AUTHORITY), "--data", office.suspects, *column)
    assert (ran.code, ran.document["replays"], ran.document["rows"]) == (0, True, 3)
    other = tmp_path / "other.csv"
    other.write_text(
        office.suspects.read_text(encoding="utf-8").replace("33 6 99", "33 6 98"), encoding="utf-8"
    )
    ran = psi(*asked, office.home(AUTHORITY), "--data", other, *column)
    assert (ran.code, ran.document["fault"], ran.document["row"]) == (8, "list_differs", 1)
    other.write_text(
        office.suspects.read_text(encoding="utf-8").replace(",", ";"), encoding="utf-8"
    )
    ran = psi(*asked, office.home(AUTHORITY), "--data", other, *column, "--delimiter", ";")
    assert (ran.code, ran.document["replays"]) == (0, True)
    ran = psi(*asked, office.home(PLATFORM), "--data", office.suspects, *column)
    assert (ran.code, ran.reason) == (3, "opening_missing")


def test_an_exchange_s_end_is_proven_by_a_file_of_its_own(office: Office, tmp_path: Path) -> None:
    trust = ("--trust", office.card(PLATFORM), "--trust", office.card(AUTHORITY))
    [exchange] = office.verify(PLATFORM).document["exchanges"]
    proof = tmp_path / "end.tlog-proof"
    asked = ("audit", "prove", exchange["exchange_id"], proof, "--home", office.home(PLATFORM))
    assert psi(*asked, "--json").code == 0
    assert (psi(*asked, "--json").code, proof.stat().st_mode & 0o777) == (4, 0o600)
    ran = psi("audit", "check-proof", proof, *trust, "--json")
    assert (ran.code, ran.document["exchange_id"]) == (0, exchange["exchange_id"])
    assert (ran.document["party"], ran.document["type"]) == (PLATFORM, "exchange.closed")
    data = proof.read_bytes()
    proof.write_bytes(data.replace(b"\nindex ", b"\nindex 1", 1))
    assert psi("audit", "check-proof", proof, *trust, "--json").code == 8
    ran = psi(
        "audit", "prove", "ab" * 32, tmp_path / "none", "--home", office.home(PLATFORM), "--json"
    )
    assert (ran.code, ran.reason, (tmp_path / "none").exists()) == (4, "exchange_not_found", False)


def test_a_dataset_is_replayed_by_an_auditor_without_its_key(
    office: Office, tmp_path: Path
) -> None:
    # A platform of its own, for its log gets an entry.
    platform, auditor = tmp_path / "tele", tmp_path / "auditor"
    shutil.copytree(office.home(PLATFORM), platform)
    named = ("--id", "audit.example", "--role", "auditor", "--name", "A", "--no-passphrase")
    assert psi("party", "init", "--home", auditor, *named).code == 0
    ask, answer = tmp_path / "ask.bin", tmp_path / "answer.bin"
    listed = ("--data", office.customers, "--key", "phone=number", "--home", auditor, "--json")
    ran = psi("audit", "dataset-ask", ask, *listed)
    assert (ran.code, ran.document["identifiers"]) == (0, 5)
    asked = ("audit", "dataset-answer", ask, answer, "--dataset", "customers")
    assert psi(*asked, "--home", platform, "--json").code == 0
    trust = ("--trust", office.card(PLATFORM), "--trust", office.card(AUTHORITY))
    check = ("audit", "dataset-check", ask, answer, *listed, *trust, "--evidence")
    ran = psi(*check, platform / "log")
    assert (ran.code, ran.document["replays"], ran.document["published"]) == (0, True, True)
    ran = psi(*check, office.homes[AUTHORITY].log_path)
    assert ran.code == 8
    ran = psi("audit", "verify", platform / "log", *trust, "--json")
    assert ran.document["entries"]["dataset.replayed"] == 1


def test_an_updated_dataset_is_replayed_from_its_list_and_its_changes(
    office: Office, tmp_path: Path
) -> None:
    platform, auditor = tmp_path / "tele", tmp_path / "auditor"
    shutil.copytree(office.home(PLATFORM), platform)
    named = ("--id", "audit.example", "--role", "auditor", "--name", "A", "--no-passphrase")
    assert psi("party", "init", "--home", auditor, *named).code == 0
    gone, new = tmp_path / "gone.csv", tmp_path / "new.csv"
    gone.write_text("row;number\n1;+4915112345678\n", encoding="utf-8")
    new.write_text("row;number\n6;+4915187654321\n7;+33612345679\n", encoding="utf-8")
    customers = tmp_path / "customers.csv"
    customers.write_text(
        office.customers.read_text(encoding="utf-8").replace(",", ";"), encoding="utf-8"
    )
    column = ("--key", "phone=number", "--delimiter", ";")
    updated = psi(
        *("dataset", "update", "customers", "--home", platform, *column),
        *("--add", new, "--remove", gone, "--json"),
    )
    assert updated.code == 0, updated.out
    ask, answer = tmp_path / "ask.bin", tmp_path / "answer.bin"
    listed = ("--data", customers, *column, "--home", auditor, "--json")
    changes = ("--change", f"remove={gone}", "--change", f"add={new}")
    asked = ("audit", "dataset-answer", ask, answer, "--dataset", "customers")
    assert psi("audit", "dataset-ask", ask, *listed).code == 0
    assert psi(*asked, "--home", platform, "--json").reason == "list_differs"
    assert psi("audit", "dataset-ask", ask, *listed, *changes, "--overwrite").code == 0
    assert psi(*asked, "--home", platform, "--json").code == 0
    trust = ("--trust", office.card(PLATFORM), "--trust", office.card(AUTHORITY))
    check = ("audit", "dataset-check", ask, answer, *listed, *trust, "--evidence")
    ran = psi(*check, platform / "log", *changes)
    assert (ran.code, ran.document["replays"], ran.document["listed"]) == (0, True, 6)
    assert psi(*check, platform / "log").reason == "list_differs"
    assert psi("audit", "dataset-ask", ask, *listed, "--change", "new.csv").code == 2
