"""Four eyes on the command line: held, shown, approved or rejected by another key, gone on with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from cli_stage import AUTHORITY, ISSUER, MATCHING, PLATFORM, Office, Ran, psi

import psishare

if TYPE_CHECKING:
    from pathlib import Path

OPERATOR = "second.tele.example"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    return furnished(tmp_path_factory.mktemp("office"))


def furnished(folder: Path) -> Office:
    """Return an office whose platform has an operator, and holds what is asked of it."""
    made = Office(folder)
    made.encode()
    made.homes[OPERATOR] = psishare.init_party(
        made.folder / "second", party_id=OPERATOR, role="operator", display_name="second desk"
    )
    (made.home(PLATFORM) / "policy.toml").write_text(
        "version = 1\n[approval]\nabove_rows = 2\n", encoding="utf-8"
    )
    return made


def written(path: Path, passphrase: str) -> Path:
    path.write_text(passphrase, encoding="utf-8")
    path.chmod(0o600)
    return path


def trust(office: Office) -> None:
    ran = psi(
        *("peer", "add", office.card(OPERATOR), "--home", office.home(PLATFORM)),
        *("--trust", "approver", "--fingerprint", office.homes[OPERATOR].card.fingerprint()),
    )
    assert (ran.code, "trusted as approver" in ran.out) == (0, True)


def decide(office: Office, command: str, ticket: str, *more: str | Path) -> Ran:
    return psi(command, ticket, "--home", office.home(PLATFORM), *more)


def ticket_of(asked: Ran) -> str:
    """Return the ticket's number, as the refusal tells the authority to use it."""
    found = re.search(r"match --resume ([0-9a-f]{16})", asked.document["error"]["mend"])
    assert found is not None
    return found[1]


def test_a_second_operator_lets_an_offer_go_on(office: Office, tmp_path: Path) -> None:
    trust(office)
    out = tmp_path / "matches.csv"
    own = ("--operator", office.home(OPERATOR))
    with office.serving() as server:
        asked = psi(*office.asking(server.address, office.mandate(), "--out", out, "--json"))
        assert (asked.code, asked.reason) == (5, "approval_required")
        assert not out.exists()
        ticket = ticket_of(asked)
        shown = decide(office, "approve", ticket[:10], "--show")
        assert shown.code == 0
        for part in (AUTHORITY, "3 identifiers of kind phone", "to find accounts of suspects"):
            assert part in shown.out
        resume = ("match", "--resume", ticket[:10], "--home", office.home(AUTHORITY), "--json")
        early = psi(*resume)
        assert (early.code, early.reason) == (5, "approval_required")
        said = psi(*resume[:-1]).err
        assert f"held by: {PLATFORM}" in said
        assert "refused" not in said
        check = ("policy", "check", "--home", office.home(PLATFORM), "--offer", ticket, "--json")
        foreseen = psi(*check)
        assert (foreseen.code, foreseen.document["verdict"]) == (5, "hold")
        assert psi(*check, "--approved").document["verdict"] == "allow"
        approved = decide(office, "approve", ticket[:10], *own, "--json")
        assert (approved.code, approved.document["state"]) == (0, "approved")
        again = decide(office, "approve", ticket, *own, "--json")
        assert (again.code, again.reason) == (4, "approval_repeated")
        gone_on = psi(*resume)
        assert gone_on.code == 0, gone_on.out
    rows = [line.split(",")[0] for line in out.read_text(encoding="utf-8").splitlines()[1:]]
    assert rows == [str(row) for row in MATCHING]
    done = decide(office, "approve", ticket, *own, "--json")
    assert (done.code, done.reason) == (4, "not_held")
    verified = psi(
        *("audit", "verify", office.homes[PLATFORM].log_path, "--json"),
        *("--trust", office.card(PLATFORM), "--trust", office.card(AUTHORITY)),
        *("--trust", office.card(OPERATOR)),
    )
    assert verified.code == 0
    assert "exchange.approved" in verified.out


def test_a_second_operator_ends_an_offer(office: Office, tmp_path: Path) -> None:
    trust(office)
    out = tmp_path / "matches.csv"
    with office.serving() as server:
        asked = psi(*office.asking(server.address, office.mandate(), "--out", out, "--json"))
        assert asked.reason == "approval_required"
        ticket = ticket_of(asked)
        strangers = decide(office, "reject", ticket, "--operator", office.home(ISSUER), "--json")
        assert (strangers.code, strangers.reason) == (5, "approver_untrusted")
        own = ("--operator", office.home(OPERATOR))
        assert "The offer is rejected." in decide(office, "reject", ticket, *own).out
        refused = psi("match", "--resume", ticket, "--home", office.home(AUTHORITY), "--json")
        assert (refused.code, refused.reason) == (5, "approval_rejected")
    assert not out.exists()
    rows = psi("exchange", "list", "--home", office.home(AUTHORITY), "--json").document
    (row,) = [e for e in rows["exchanges"] if e["exchange_id"].startswith(ticket)]
    assert row["state"] == "refused"


def test_nothing_is_decided_unless_both_homes_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PSISHARE_PASSPHRASE_FILE", raising=False)
    office = furnished(tmp_path)
    trust(office)
    files = {
        party: written(tmp_path / f"{party}.pass", f"the passphrase of {party}")
        for party in (PLATFORM, OPERATOR)
    }
    with office.serving() as server:
        asked = psi(
            *office.asking(server.address, office.mandate(), "--out", tmp_path / "m.csv", "--json")
        )
        ticket = ticket_of(asked)
    for party, file in files.items():
        assert (
            psi(
                "party", "passphrase", "--home", office.home(party), "--new-passphrase-file", file
            ).code
            == 0
        )

    def deciding(command: str, platform: str, operator: str | None) -> Ran:
        own = ("--operator", office.home(OPERATOR), "--passphrase-file", files[platform])
        file = () if operator is None else ("--operator-passphrase-file", files[operator])
        return decide(office, command, ticket, *own, *file, "--json")

    platform_lock = str(office.home(PLATFORM) / "keys" / "lock.json")
    for command in ("approve", "reject"):
        for given, lock in (
            ((PLATFORM, None), str(office.home(OPERATOR) / "keys" / "lock.json")),
            ((OPERATOR, None), platform_lock),
            ((OPERATOR, OPERATOR), platform_lock),
        ):
            ran = deciding(command, *given)
            assert (ran.code, ran.reason) == (3, "passphrase_wrong")
            assert lock in ran.document["error"]["message"]
    monkeypatch.setenv("PSISHARE_PASSPHRASE_FILE", str(files[OPERATOR]))
    named = decide(office, "approve", ticket, "--operator", office.home(OPERATOR), "--json")
    assert named.reason == "passphrase_wrong"
    assert "it came from PSISHARE_PASSPHRASE_FILE" in named.document["error"]["message"]
    assert "Unset PSISHARE_PASSPHRASE_FILE" in named.document["error"]["mend"]
    with psishare.Party.open(office.home(PLATFORM)) as opened:
        told = [opened.log.entry(index) for index in range(opened.log.size)]
    assert not any(b"exchange.approved" in e or b"exchange.rejected" in e for e in told)
    approved = deciding("approve", PLATFORM, OPERATOR)
    assert (approved.code, approved.document["state"]) == (0, "approved")
    assert deciding("reject", PLATFORM, OPERATOR).reason == "approval_repeated"


def test_nobody_approves_without_a_key(office: Office) -> None:
    assert decide(office, "approve", "00").code == 2
    unknown = decide(office, "approve", "zz", "--show", "--json")
    assert (unknown.code, unknown.reason) == (4, "exchange_not_found")


def test_only_a_platform_holds_offers(office: Office) -> None:
    ran = psi("approve", "00", "--home", office.home(AUTHORITY), "--show", "--json")
    assert (ran.code, ran.reason) == (3, "role_unfit")
