"""What a policy file says, and what a decision makes of mandate, policy, budget and time."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from mandate_examples import AUTHORITY, ISSUER, NOW, make_mandate, make_request

from psishare.errors import AuthorisationError, ConfigError, ExitCode, InternalError
from psishare.exchange.reasons import REASONS
from psishare.mandates.asked import Asked
from psishare.mandates.decision import Decision, Verdict, decide
from psishare.mandates.policy import Policy
from psishare.mandates.sealed_request import CanonicalForm, SealedRequest
from psishare.mandates.spent import Spent, Usage

# A Saturday noon in UTC, two in the afternoon in Berlin.
assert datetime(2026, 8, 1, 12, tzinfo=UTC) == NOW
CODES = {reason.code for reason in REASONS}


class Urgent(Asked):
    """What is asked for in an emergency."""

    @property
    def is_emergency(self) -> bool:
        return True


def load(path: Path, text: str) -> Policy:
    file = path / "policy.toml"
    file.write_text(f"version = 1\n{text}\n", encoding="utf-8")
    return Policy.load(file)


def decided(
    policy: Policy,
    *,
    now: datetime = NOW,
    urgent: bool = False,
    dataset_rows: int | None = 1_000_000,
    epoch_began: datetime | None = None,
    approved: bool = False,
    spent: Spent | None = None,
    validator_role: str = "judge",
    mandate: dict[str, Any] | None = None,
    **changes: Any,
) -> Decision:
    kind = Urgent if urgent else Asked
    asked = kind(
        mandate=make_mandate(validator_role=validator_role, **(mandate or {})),
        request=make_request(**changes),
        dataset_rows=dataset_rows,
        epoch_began=epoch_began,
        approved=approved,
    )
    return decide(policy, asked, spent or Spent(), now)


def outcome(decision: Decision) -> str:
    """Return the verdict with the reason, checked to be in the table and told in a sentence."""
    rule = decision.rule
    if rule is None:
        assert decision.verdict is Verdict.ALLOW
        return "allow"
    assert rule.reason in CODES
    assert 10 < len(rule.message) < 300
    error = decision.refusal()
    assert (type(error), error.reason) == (AuthorisationError, rule.reason)
    assert error.exit_code is ExitCode.REFUSED
    return f"{decision.verdict} {rule.reason}"


def test_platform_without_policy_allows_what_the_mandate_allows(tmp_path: Path) -> None:
    policy = Policy.load(tmp_path / "policy.toml")
    assert policy == Policy()
    assert outcome(decided(policy, rows=0, dataset_rows=None)) == "allow"
    assert outcome(decided(policy, rows=1_000)) == "allow"


def test_what_is_allowed_has_no_refusal() -> None:
    with pytest.raises(InternalError):
        decided(Policy()).refusal()


SEALED: dict[str, Any] = {
    "kinds": ["phone"],
    "protocols": ["oprf"],
    "sealed_request": SealedRequest(
        namespace="",
        ruleset=CanonicalForm(version=1, digest="cd" * 32),
        rows=1_000,
        frame_rows=1_000,
        frames=("ab" * 32,),
    ),
}
CASES: dict[str, tuple[str, dict[str, Any], str]] = {
    "another issuer": ('issuers = ["other.example"]', {}, "refuse policy_issuer"),
    "the issuer": (f'issuers = ["{ISSUER}", "other.example"]', {}, "allow"),
    "another authority": ('authorities = ["other.example"]', {}, "refuse policy_authority"),
    "the authority": (f'authorities = ["{AUTHORITY}"]', {}, "allow"),
    "another kind": ('kinds = ["email"]', {}, "refuse policy_kind"),
    "another output": ('outputs = ["count"]', {}, "refuse policy_output"),
    "another protocol": ('protocols = ["ecdh"]', {}, "refuse policy_protocol"),
    "another dataset": ('datasets = ["suppliers"]', {}, "refuse policy_dataset"),
    "no dataset": ('datasets = ["customers"]', {"dataset": None}, "refuse mandate_other_dataset"),
    "a list that nobody approved": (
        'approved_lists = "committed"',
        {},
        "refuse policy_list_not_approved",
    ),
    "a list that is only committed to": (
        'approved_lists = "sealed"',
        {"mandate": {"input_commitment": "ab" * 32}},
        "refuse policy_list_not_approved",
    ),
    "a list that is committed to": (
        'approved_lists = "committed"',
        {"mandate": {"input_commitment": "ab" * 32}},
        "allow",
    ),
    "a list that is sealed": (
        'approved_lists = "sealed"',
        {"mandate": SEALED, "rows": 1_000, "ruleset_sha256": "cd" * 32, "frame_rows": 1_000},
        "allow",
    ),
    "a sealed list asked in other frames": (
        'approved_lists = "sealed"',
        {"mandate": SEALED, "rows": 1_000, "ruleset_sha256": "cd" * 32, "frame_rows": 999},
        "refuse sealed_request_differs",
    ),
    "too few": ("min_rows = 10", {"rows": 9}, "refuse policy_min_rows"),
    "just enough": ("min_rows = 10", {"rows": 10}, "allow"),
    "too many": ("max_rows_per_exchange = 10", {"rows": 11}, "refuse policy_max_rows"),
    "just not too many": ("max_rows_per_exchange = 10", {"rows": 10}, "allow"),
    "too large a share": (
        "max_share_of_dataset = 0.01",
        {"rows": 11, "dataset_rows": 1_099},
        "refuse policy_max_share",
    ),
    "the largest share": (
        "max_share_of_dataset = 0.01",
        {"rows": 10, "dataset_rows": 1_099},
        "allow",
    ),
    "a share of nothing": (
        "max_share_of_dataset = 0.5",
        {"rows": 1, "dataset_rows": 0},
        "refuse policy_max_share",
    ),
    "a share of who knows": (
        "max_share_of_dataset = 0.5",
        {"rows": 1, "dataset_rows": None},
        "refuse policy_max_share",
    ),
    "an old epoch": (
        "max_epoch_days = 30",
        {"epoch_began": NOW - timedelta(days=30, seconds=1)},
        "refuse policy_epoch_age",
    ),
    "an epoch on its last day": (
        "max_epoch_days = 30",
        {"epoch_began": NOW - timedelta(days=30)},
        "allow",
    ),
    "a list that is no epoch": ("max_epoch_days = 30", {"epoch_began": None}, "allow"),
    "no judge": (
        '[[validators]]\nroles = ["judge", "court"]',
        {"validator_role": "officer"},
        "refuse policy_validator_role",
    ),
    "a role that counts for nothing": (
        'validator_roles = ["judge"]',
        {"validator_role": "officer"},
        "refuse policy_validator_role",
    ),
    "a judge": ('[[validators]]\nroles = ["judge"]', {}, "allow"),
    "no judge where none is due": (
        '[[validators]]\nroles = ["judge"]\nkinds = ["email"]',
        {"validator_role": "officer"},
        "allow",
    ),
    "no judge for an output": (
        '[[validators]]\nroles = ["judge"]\noutputs = ["matches"]\nkinds = ["phone"]',
        {"validator_role": "prosecutor"},
        "refuse policy_validator_role",
    ),
    "one of two rules on validators": (
        (
            '[[validators]]\nroles = ["judge", "officer"]\n'
            '[[validators]]\nroles = ["judge"]\nkinds = ["phone"]'
        ),
        {"validator_role": "officer"},
        "refuse policy_validator_role",
    ),
    "an emergency": ("", {"urgent": True}, "refuse policy_emergency"),
    "an allowed emergency": ("[emergency]\nallowed = true", {"urgent": True}, "allow"),
    "another's emergency": (
        '[emergency]\nallowed = true\nauthorities = ["other.example"]',
        {"urgent": True},
        "refuse policy_emergency_authority",
    ),
    "a large emergency": (
        "[emergency]\nallowed = true\nmax_rows = 5",
        {"urgent": True, "rows": 6},
        "refuse policy_emergency_rows",
    ),
    "no emergency": ("[emergency]\nmax_rows = 5", {"rows": 6}, "allow"),
    "outside hours": (
        'timezone = "Europe/Berlin"\n[[hours]]\nopens = "08:00"\ncloses = "14:00"',
        {},
        "refuse policy_outside_hours",
    ),
    "in hours": (
        'timezone = "Europe/Berlin"\n[[hours]]\nopens = "14:00"\ncloses = "14:01"',
        {},
        "allow",
    ),
    "a weekend": (
        'timezone = "UTC"\n[[hours]]\ndays = ["mon", "tue", "wed", "thu", "fri"]',
        {},
        "refuse policy_outside_hours",
    ),
    "the second of two": (
        'timezone = "UTC"\n[[hours]]\ndays = ["mon"]\n[[hours]]\ndays = ["sat"]',
        {},
        "allow",
    ),
    "an emergency at night": (
        (
            'timezone = "UTC"\n[[hours]]\ndays = ["mon"]\n'
            "[emergency]\nallowed = true\noutside_hours = true"
        ),
        {"urgent": True},
        "allow",
    ),
    "an emergency in a strict house": (
        'timezone = "UTC"\n[[hours]]\ndays = ["mon"]\n[emergency]\nallowed = true',
        {"urgent": True},
        "refuse policy_outside_hours",
    ),
    "a second operator": ("[approval]\nalways = true", {}, "hold approval_required"),
    "an approved offer": ("[approval]\nalways = true", {"approved": True}, "allow"),
    "many rows": ("[approval]\nabove_rows = 99", {}, "hold approval_required"),
    "few rows": ("[approval]\nabove_rows = 100", {}, "allow"),
    "a grave kind": ('[approval]\nkinds = ["phone"]', {}, "hold approval_required"),
    "a grave output": ('[approval]\noutputs = ["matches"]', {}, "hold approval_required"),
    "a new authority": (
        f'[approval]\nauthorities = ["{AUTHORITY}"]',
        {},
        "hold approval_required",
    ),
    "an urgent second operator": (
        "[emergency]\nallowed = true\n[approval]\nemergency = true",
        {"urgent": True},
        "hold approval_required",
    ),
    "what is refused is not held": (
        "min_rows = 1000\n[approval]\nalways = true",
        {},
        "refuse policy_min_rows",
    ),
    "an approval allows nothing else": (
        "min_rows = 1000\n[approval]\nalways = true",
        {"approved": True},
        "refuse policy_min_rows",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_policy_decides(tmp_path: Path, name: str) -> None:
    text, changes, expected = CASES[name]
    assert outcome(decided(load(tmp_path, text), **changes)) == expected


def test_budget_decides_after_the_policy_and_before_an_approval(tmp_path: Path) -> None:
    spent = Spent(mandate=Usage(4_901, 1))
    policy = load(tmp_path, "[approval]\nalways = true")
    assert outcome(decided(policy, spent=spent)) == "refuse budget_rows_exhausted"
    policy = load(tmp_path, 'kinds = ["email"]')
    assert outcome(decided(policy, spent=spent)) == "refuse policy_kind"


def test_mandate_decides_before_the_policy(tmp_path: Path) -> None:
    policy = load(tmp_path, 'kinds = ["email"]')
    assert outcome(decided(policy, rows=1_001)) == "refuse mandate_over_rows"


def test_every_rule_in_force_is_told_whether_or_not_it_passes(tmp_path: Path) -> None:
    policy = load(tmp_path, 'kinds = ["email"]\nmin_rows = 1\n[approval]\nabove_rows = 1000')
    told = {rule.reason: rule.passes for rule in decided(policy).refusing}
    assert told["policy_min_rows"]
    assert not told["policy_kind"]
    assert "policy_outside_hours" not in told
    assert all(told[reason] for reason in told if reason.startswith(("mandate_", "budget_")))


def test_hours_follow_the_zone_through_a_change_of_its_clock(tmp_path: Path) -> None:
    policy = load(
        tmp_path, 'timezone = "Europe/Berlin"\n[[hours]]\nopens = "08:00"\ncloses = "09:00"'
    )
    summer, winter = (datetime(2026, month, 15, 6, 30, tzinfo=UTC) for month in (7, 1))
    (hours,) = policy.hours or ()
    assert hours.hold(policy.local(summer))
    assert not hours.hold(policy.local(winter))
    assert hours.hold(policy.local(winter + timedelta(hours=1)))


def test_a_day_may_have_23_or_25_hours(tmp_path: Path) -> None:
    policy = load(tmp_path, 'timezone = "Europe/Berlin"')
    lengths = []
    for month, day in ((3, 29), (6, 1), (10, 25)):
        starts, ends = policy.day(datetime(2026, month, day, 12, tzinfo=UTC))
        lengths.append((ends - starts) / timedelta(hours=1))
    assert lengths == [23, 24, 25]


WHOLE = """
timezone = "Europe/Berlin"
clock_tolerance_s = 60
revocation_max_age_s = 86400
issuers = ["prosecution.example"]
authorities = ["police.example/unit-3"]
kinds = ["phone"]
outputs = ["matches"]
protocols = ["oprf"]
datasets = ["customers"]
validator_roles = ["judge"]
approved_lists = "committed"
min_rows = 100
max_rows_per_exchange = 100
max_share_of_dataset = 0.001
max_epoch_days = 90
max_rows_per_mandate = 1000
max_exchanges_per_mandate = 10

[[validators]]
roles = ["judge"]
kinds = ["phone"]
outputs = ["matches", "both"]

[per_day]
rows = 100
exchanges = 100
rows_per_authority = 100
exchanges_per_authority = 100
rows_per_kind = 100
exchanges_per_kind = 100

[[hours]]
days = ["sat"]
opens = "08:00"
closes = "24:00"

[emergency]
allowed = true
authorities = ["police.example/unit-3"]
max_rows = 10
outside_hours = true

[approval]
always = false
above_rows = 1000
kinds = ["iban"]
outputs = ["both"]
authorities = ["customs.example"]
emergency = true
approvers = ["second.telecom.example"]
ticket_hours = 24
"""


def test_policy_with_every_key_is_read(tmp_path: Path) -> None:
    policy = load(tmp_path, WHOLE)
    committed = {"input_commitment": "ab" * 32}
    assert outcome(decided(policy, mandate=committed)) == "allow"
    assert policy.clock_tolerance_s == 60
    assert policy.approval.ticket_hours == 24
    keys = tomllib.loads(WHOLE)
    assert {"version", *keys} == set(Policy.model_fields)
    for name in ("per_day", "emergency", "approval"):
        assert set(keys[name]) == set(type(getattr(policy, name)).model_fields)


@pytest.mark.parametrize(
    "text",
    [
        "version = 1",
        "unknown_key = 3",
        "min_rows = -1",
        "min_rows = true",
        'min_rows = "1"',
        "kinds = []",
        "kinds = [1]",
        'kinds = ["Phone"]',
        'outputs = ["all"]',
        'issuers = ["psishare/x"]',
        "clock_tolerance_s = 90000",
        "max_share_of_dataset = 0.0",
        "max_share_of_dataset = 1.1",
        "max_share_of_dataset = nan",
        "max_share_of_dataset = inf",
        'max_share_of_dataset = "0.1"',
        'timezone = "Middle/Earth"',
        'timezone = "../../etc/passwd"',
        'timezone = "Europe"',
        'timezone = ""',
        "[[hours]]",
        "hours = []",
        'timezone = "UTC"\n[[hours]]\nopens = "25:00"',
        'timezone = "UTC"\n[[hours]]\ncloses = "24:01"',
        'timezone = "UTC"\n[[hours]]\nopens = "8:00"',
        'timezone = "UTC"\n[[hours]]\nopens = 08:00:00',
        'timezone = "UTC"\n[[hours]]\nopens = "09:00"\ncloses = "09:00"',
        'timezone = "UTC"\n[[hours]]\ndays = ["caturday"]',
        "[[validators]]",
        '[[validators]]\nroles = ["king"]',
        '[validators]\nroles = ["judge"]',
        "[per_day]\nrows = 0",
        "[per_day]\nunknown = 1",
        "[emergency]\nallowed = 1",
        "[approval]\nticket_hours = 0",
        "[approval]\nabove_rows = -1",
        "kinds = ",
        "\x00",
    ],
)
def test_policy_file_that_is_wrong_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert caught.value.reason == "policy_invalid"


@pytest.mark.parametrize("text", ["", "min_rows = 1", "version = 2", 'version = "1"'])
def test_policy_file_of_no_known_version_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        Policy.load(path)
    assert caught.value.reason == "policy_invalid"


def test_the_key_that_is_wrong_is_named(tmp_path: Path) -> None:
    for text, named in (
        ("[approval]\nticket_hours = 0", "approval.ticket_hours"),
        ('timezone = "UTC"\n[[hours]]\nopens = "25:00"', "hours.opens"),
        ("[[hours]]", "hours without timezone"),
        ("mni_rows = 5", "mni_rows"),
    ):
        with pytest.raises(ConfigError) as caught:
            load(tmp_path, text)
        assert caught.value.message.endswith(f"wrong or unknown: {named}")


def test_policy_file_that_is_not_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError):
        Policy.load(path)
    with pytest.raises(ConfigError):
        Policy.load(tmp_path)


def test_the_policy_that_the_operators_guide_shows_is_one(tmp_path: Path) -> None:
    text = (Path(__file__).parents[3] / "docs" / "operations.md").read_text(encoding="utf-8")
    shown = text.split("```toml\n")[1].split("```")[0].removeprefix("version = 1\n")
    policy = load(tmp_path, shown)
    assert policy.emergency.allowed
    assert policy.approval.ticket_hours == 48
