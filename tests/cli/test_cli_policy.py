"""What would become of an offer is told beforehand: by the platform's policy, and by a dry run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cli_stage import AUTHORITY, ISSUER, PLATFORM, VALIDATOR, Office, Ran, psi

import psishare
from psishare.audit.log import Log
from psishare.mandates.budget import Budget

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Office:
    made = Office(tmp_path_factory.mktemp("office"))
    made.encode()
    return made


@pytest.fixture
def policy(office: Office) -> Iterator[Path]:
    path = office.home(PLATFORM) / "policy.toml"
    yield path
    path.unlink(missing_ok=True)


def check(office: Office, mandate: Path, *more: str) -> Ran:
    return psi(
        *("policy", "check", mandate, "--home", office.home(PLATFORM)),
        *("--dataset", "customers", "--rows", "4", *more),
    )


def dry_run(office: Office, mandate: Path, *more: str) -> Ran:
    return psi(
        *("match", "--dry-run", "--home", office.home(AUTHORITY), "--platform", PLATFORM),
        *("--dataset", "customers", "--mandate", mandate, "--data", office.suspects),
        *("--key", "phone=phone", "--region", "DE", *more),
    )


def sizes(office: Office) -> list[int]:
    return [
        Log.open(
            office.homes[party].log_path,
            **psishare.client.opened_home.log_signers(office.homes[party]),
        ).size
        for party in (PLATFORM, AUTHORITY)
    ]


def test_what_is_allowed_is_told_rule_by_rule(office: Office) -> None:
    before = sizes(office)
    ran = check(office, office.mandate())
    assert (ran.code, ran.err) == (0, "")
    assert "verdict" in ran.out
    assert "allow" in ran.out.splitlines()[-1]
    assert "NO" not in ran.out
    document = check(office, office.mandate(), "--json").document
    assert (document["verdict"], document["reason"]) == ("allow", None)
    assert {rule["reason"] for rule in document["rules"]} >= {
        "mandate_unsigned",
        "mandate_over_rows",
        "budget_rows_exhausted",
    }
    assert all(rule["passes"] for rule in document["rules"])
    assert sizes(office) == before


def test_what_is_refused_is_told_with_every_rule_that_fails(office: Office, policy: Path) -> None:
    policy.write_text('version = 1\nmax_rows_per_exchange = 3\noutputs = ["count"]\n')
    ran = check(office, office.mandate(), "--json")
    assert ran.code == 5
    document = ran.document
    assert (document["verdict"], document["reason"]) == ("refuse", "policy_output")
    failed = {rule["reason"]: rule["sentence"] for rule in document["rules"] if not rule["passes"]}
    assert failed.keys() == {"policy_output", "policy_max_rows"}
    assert "the policy allows 3 an exchange" in failed["policy_max_rows"]
    text = check(office, office.mandate())
    assert text.code == 5
    assert "refuse: the policy does not allow the output matches [policy_output]" in text.out


def test_the_size_of_an_encoded_dataset_is_known(office: Office, policy: Path) -> None:
    policy.write_text("version = 1\nmax_share_of_dataset = 0.8\n")
    mandate = office.mandate()
    assert check(office, mandate, "--json").document["verdict"] == "allow"
    small = check(office, mandate, "--json", "--dataset-rows", "4").document
    assert small["reason"] == "policy_max_share"


def test_what_would_be_held_is_told_and_so_is_what_follows(office: Office, policy: Path) -> None:
    policy.write_text("version = 1\n[approval]\nabove_rows = 3\n")
    held = check(office, office.mandate(), "--json")
    assert held.code == 5
    assert (held.document["verdict"], held.document["reason"]) == ("hold", "approval_required")
    assert check(office, office.mandate(), "--approved").code == 0


def test_another_time_is_another_decision(office: Office) -> None:
    late = check(office, office.mandate(), "--json", "--at", "2099-01-01T00:00:00Z")
    assert late.document["reason"] == "mandate_expired"
    assert check(office, office.mandate(), "--at", "tomorrow").code == 2


def test_what_was_spent_is_told_and_counts(office: Office) -> None:
    mandate = office.mandate(max_rows_total=5)
    with office.serving() as server:
        assert psi(*office.asking(server.address, mandate, "--out", "-")).code == 0
    ran = check(office, mandate, "--json")
    assert ran.document["spent"]["mandate"] == {"rows": 3, "exchanges": 1}
    assert ran.document["spent"]["day"]["exchanges"] >= 1
    assert ran.document["reason"] == "budget_rows_exhausted"
    with Budget(office.home(PLATFORM) / "state.db") as budget:
        assert budget.open_exchanges() == ()


def test_a_mandate_that_nobody_signed_is_refused(office: Office, tmp_path: Path) -> None:
    drafted = tmp_path / "draft.mandate"
    signed = psishare.draft_mandate(
        office.homes[ISSUER],
        "case 2",
        issuer=ISSUER,
        validator=VALIDATOR,
        validator_role="court",
        authority=AUTHORITY,
        platform=PLATFORM,
        kinds=["phone", "email"],
        outputs=["matches"],
        max_rows_per_exchange=10,
        max_rows_total=10,
        max_exchanges=1,
        jurisdiction="XX",
        legal_basis="section 100",
        purpose="suspects",
        not_before=psishare.exchange.document.now(),
        not_after=psishare.exchange.document.now().replace(year=2099),
        now=psishare.exchange.document.now(),
    )
    drafted.write_bytes(signed.envelope)
    assert check(office, drafted, "--json").reason == "kind_unknown"
    ran = check(office, drafted, "--json", "--kind", "phone")
    assert (ran.code, ran.document["reason"]) == (5, "mandate_unsigned")


def test_an_offer_is_named_or_described(office: Office) -> None:
    home = ("--home", office.home(PLATFORM))
    assert psi("policy", "check", *home).code == 2
    assert psi("policy", "check", office.mandate(), *home, "--rows", "3").code == 2
    unknown = psi("policy", "check", *home, "--offer", "zz", "--json")
    assert (unknown.code, unknown.reason) == (4, "exchange_not_found")


def test_only_a_platform_has_a_policy(office: Office) -> None:
    ran = psi(
        *("policy", "check", office.mandate(), "--home", office.home(AUTHORITY)),
        *("--dataset", "customers", "--rows", "4", "--json"),
    )
    assert (ran.code, ran.reason) == (3, "role_unfit")


def test_a_dry_run_tells_who_would_learn_what_and_asks_nobody(office: Office) -> None:
    before = sizes(office)
    ran = dry_run(office, office.mandate())
    assert (ran.code, ran.err) == (0, "")
    assert "3 distinct identifiers" in ran.out
    assert "not one identifier of the list" in ran.out
    assert "The mandate allows it." in ran.out
    assert "not verified" in ran.out
    assert sizes(office) == before
    document = dry_run(office, office.mandate(), "--json").document
    assert (document["rows"], document["distinct"], document["allowed"]) == (5, 3, True)
    assert document["rejected"] == {"letters": 1}
    assert document["mandate"]["verified"] is None


def test_a_dry_run_says_that_both_would_learn(office: Office) -> None:
    both = dry_run(office, office.mandate(), "--protocol", "ecdh", "--output", "both")
    assert "which of its own identifiers matched" in both.out
    assert "looked up again" not in both.out


def test_a_dry_run_names_what_the_mandate_does_not_allow(office: Office) -> None:
    narrow = office.mandate(max_rows_per_exchange=2, outputs=["count"])
    ran = dry_run(office, narrow, "--json")
    assert (ran.code, ran.document["allowed"]) == (5, False)
    failed = {rule["reason"] for rule in ran.document["rules"] if not rule["passes"]}
    assert failed == {"mandate_other_output", "mandate_over_rows"}
    assert "The mandate does not allow it." in dry_run(office, narrow).out


def test_a_dry_run_verifies_where_the_signers_are_pinned(office: Office) -> None:
    office.pin(AUTHORITY, ISSUER, "issuer")
    office.pin(AUTHORITY, VALIDATOR, "validator")
    mandate = office.mandate()
    assert dry_run(office, mandate, "--json").document["mandate"]["verified"] is True
    forged = office.folder / "forged.mandate"
    head, mark, tail = mandate.read_bytes().partition(b'"sig":"')
    forged.write_bytes(head + mark + (b"B" if tail.startswith(b"A") else b"A") + tail[1:])
    altered = dry_run(office, forged, "--json")
    assert altered.code == 5
    assert altered.document["mandate"]["verified"] is False
    assert altered.document["rules"][0]["reason"] == "mandate_signature_invalid"
    for party in (ISSUER, VALIDATOR):
        psishare.unpin_peer(office.homes[AUTHORITY], party)


def test_a_match_that_is_no_dry_run_needs_an_address(office: Office) -> None:
    ran = psi(
        *("match", "--home", office.home(AUTHORITY), "--platform", PLATFORM, "--out", "x.csv"),
        *("--dataset", "customers", "--mandate", office.mandate(), "--data", office.suspects),
        *("--key", "phone=phone"),
    )
    assert ran.code == 2
    assert "--address" in ran.err
