"""Mandates that are withdrawn, replaced or not validated: refused before any group operation, and logged.

Each case is tried on an offer, on a delivery, and on an exchange that is open already.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hostile_exchange import OURS, THEIRS, Line, endings, failed, told, verified
from platform_work import elements_computed
from stage import AUTHORITY, ISSUER, PLATFORM, VALIDATOR, Stage

from psishare.client import import_mandate, import_revocations, revoke_mandates
from psishare.errors import AuthorisationError, ExitCode, PsishareError
from psishare.evidence.verify import verify_evidence
from psishare.exchange.document import now
from psishare.keys import canonical
from psishare.mandates.draft import Grounds
from psishare.mandates.envelope import new_envelope, read_envelope, sign_envelope
from psishare.mandates.mandate import parse_mandate
from psishare.mandates.policy import Emergency, Policy
from psishare.psi import suite
from psishare.transport.channel import Call

if TYPE_CHECKING:
    from collections.abc import Callable

HOUR = timedelta(hours=1)
EMERGENCY = Grounds("danger to life", now() + 48 * HOUR)


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count what the platform computes in the group."""
    return elements_computed(monkeypatch)


def issued_alone(stage: Stage, **changes: Any) -> bytes:
    data = new_envelope(stage.mandate(**({"emergency": EMERGENCY} | changes)))
    return sign_envelope(data, stage.homes[ISSUER].log_signer(), party=ISSUER)


def revoked_by(party: str) -> Callable[[Stage, bytes], None]:
    def act(stage: Stage, mandate: bytes) -> None:
        data = revoke_mandates(stage.homes[party], [mandate])
        import_revocations(stage.homes[PLATFORM], data)

    return act


def superseded(stage: Stage, mandate: bytes) -> None:
    successor = stage.envelope(supersedes=read_envelope(mandate).mandate.id)
    import_mandate(stage.homes[PLATFORM], successor)


def list_damaged(stage: Stage, mandate: bytes) -> None:
    """Somebody puts a list there that the issuer has not signed."""
    import_revocations(stage.homes[PLATFORM], revoke_mandates(stage.homes[ISSUER], []))
    (held,) = stage.homes[PLATFORM].mandates_path.glob("*.revocations")
    held.write_bytes(held.read_bytes().replace(b'"signature":"', b'"signature":"AAAA', 1))


def nothing(stage: Stage, mandate: bytes) -> None:
    """Leave everything as it is."""


@dataclass(frozen=True)
class Case:
    """A mandate, what becomes known of it, and the platform's policy."""

    reason: str
    act: Callable[[Stage, bytes], None] = nothing
    policy: Policy = Policy()  # noqa: RUF009  it is frozen
    envelope: Callable[[Stage], bytes] = Stage.envelope
    at_offer_only: bool = False


CASES: dict[str, Case] = {
    "revoked by its issuer": Case("mandate_revoked", revoked_by(ISSUER)),
    "revoked by its validator": Case("mandate_revoked", revoked_by(VALIDATOR)),
    "superseded": Case("mandate_superseded", superseded),
    "no revocation list": Case(
        "mandate_revocations_stale",
        policy=Policy(revocation_max_age_s=3600),
        at_offer_only=True,
    ),
    "a revocation list that is not the issuer's": Case("mandate_revocations_stale", list_damaged),
    "an emergency where none is taken": Case(
        "policy_emergency", envelope=issued_alone, at_offer_only=True
    ),
    "an emergency that was not validated in time": Case(
        "mandate_validation_overdue",
        policy=Policy(emergency=Emergency(allowed=True)),
        envelope=lambda stage: issued_alone(
            stage,
            emergency=Grounds("danger to life", now() - HOUR),
            not_before=now() - 24 * HOUR,
        ),
        at_offer_only=True,
    ),
    "a validator of another role": Case(
        "policy_validator_role",
        policy=Policy(validator_roles=frozenset({"court"})),
        at_offer_only=True,
    ),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
each_later = pytest.mark.parametrize(
    "case",
    [case for case in CASES.values() if not case.at_offer_only],
    ids=[name for name, case in CASES.items() if not case.at_offer_only],
)


def require_refused(error: PsishareError, reason: str) -> None:
    assert (type(error), error.reason) == (AuthorisationError, reason)
    assert error.exit_code is ExitCode.REFUSED
    assert error.mend


@each_case
def test_an_offer_under_such_a_mandate_is_refused_and_nothing_evaluated(
    stage: Stage, evaluations: list[int], case: Case
) -> None:
    # The dataset has been delivered under another mandate, so that the offer is what is refused.
    offering = stage.encode(THEIRS)
    stage.exchange(stage.responder(offering), stage.ask(OURS))
    evaluations.clear()
    mandate = case.envelope(stage)
    case.act(stage, mandate)
    platform = stage.responder(stage.listing(THEIRS), policy=case.policy)
    before = len(told(stage, PLATFORM))
    ask = stage.ask(OURS, mandate=mandate, protocol=suite.Protocol.ECDH)
    require_refused(failed(stage.asker(stage.channel(platform)), ask), case.reason)
    for party in (PLATFORM, AUTHORITY):
        assert told(stage, party)[before:] == [("exchange.refused", case.reason)]
    assert evaluations == []
    assert stage.rooms().budget.usage(read_envelope(mandate).mandate.id).rows == 0
    verified(stage)


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (Policy(issuers=frozenset({"other.example"})), "policy_issuer"),
        (Policy(authorities=frozenset({"customs.example"})), "policy_authority"),
        (Policy(kinds=frozenset({"email"})), "policy_kind"),
        (Policy(protocols=frozenset({"ecdh"})), "policy_protocol"),
        (Policy(datasets=frozenset({"suppliers"})), "policy_dataset"),
    ],
)
def test_a_dataset_is_not_delivered_against_the_policy(
    stage: Stage, evaluations: list[int], policy: Policy, reason: str
) -> None:
    platform = stage.responder(stage.encode(THEIRS), policy=policy)
    error = failed(stage.asker(stage.channel(platform)), stage.ask(OURS))
    require_refused(error, reason)
    for party in (PLATFORM, AUTHORITY):
        assert told(stage, party) == [("dataset.refused", reason)]
    assert evaluations == []
    verified(stage)


def test_a_dataset_is_not_delivered_in_an_emergency_of_another_authority(stage: Stage) -> None:
    mandate = issued_alone(stage)
    allowed = Emergency(allowed=True, authorities=frozenset({"customs.example"}))
    platform = stage.responder(stage.encode(THEIRS), policy=Policy(emergency=allowed))
    error = failed(stage.asker(stage.channel(platform)), stage.ask(OURS, mandate=mandate))
    require_refused(error, "policy_emergency_authority")
    verified(stage)


@each_case
def test_a_dataset_is_not_delivered_under_such_a_mandate(
    stage: Stage, evaluations: list[int], case: Case
) -> None:
    mandate = case.envelope(stage)
    case.act(stage, mandate)
    platform = stage.responder(stage.encode(THEIRS), policy=case.policy)
    error = failed(stage.asker(stage.channel(platform)), stage.ask(OURS, mandate=mandate))
    require_refused(error, case.reason)
    for party in (PLATFORM, AUTHORITY):
        assert told(stage, party) == [("dataset.refused", case.reason)]
    assert evaluations == []


@each_later
def test_an_open_exchange_ends_before_the_next_frame(
    stage: Stage, evaluations: list[int], case: Case
) -> None:
    mandate = case.envelope(stage)
    frames: list[Any] = []

    def before_the_second(request: Any) -> None:
        frames.append(request.index)
        if len(frames) == 2:
            case.act(stage, mandate)

    platform = stage.responder(stage.encode(THEIRS), policy=case.policy)
    line = Line(platform, stage.caller(), requests={Call.EVALUATE: before_the_second})
    error = failed(stage.asker(line), stage.ask(OURS, mandate=mandate))
    require_refused(error, case.reason)
    assert told(stage, PLATFORM)[-1] == ("exchange.aborted", case.reason)
    assert sum(evaluations) <= 7
    assert endings(stage) == (["aborted"], ["aborted"])


def test_a_stale_list_fails_closed_until_it_is_renewed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = Policy(revocation_max_age_s=3600)
    platform = stage.responder(stage.listing(THEIRS), policy=policy)
    ask = stage.ask(OURS, protocol=suite.Protocol.ECDH)
    import_revocations(stage.homes[PLATFORM], revoke_mandates(stage.homes[ISSUER], []))
    stage.exchange(platform, ask)
    # Two hours later: the offer's own time is of that hour, too.
    for module in ("psishare.exchange.admission", "psishare.exchange.authority"):
        monkeypatch.setattr(f"{module}.now", lambda: now() + 2 * HOUR)
    error = failed(stage.asker(stage.channel(platform)), ask)
    assert error.reason == "mandate_revocations_stale"
    monkeypatch.undo()
    import_revocations(stage.homes[PLATFORM], revoke_mandates(stage.homes[ISSUER], []))
    stage.exchange(platform, ask)


def test_an_emergency_is_used_on_one_signature_and_later_on_two(stage: Stage) -> None:
    platform = stage.responder(
        stage.listing(THEIRS), policy=Policy(emergency=Emergency(allowed=True))
    )
    alone = issued_alone(stage)
    stage.exchange(platform, stage.ask(OURS, mandate=alone, protocol=suite.Protocol.ECDH))
    both = sign_envelope(alone, stage.homes[VALIDATOR].log_signer(), party=VALIDATOR)
    strict = stage.responder(stage.listing(THEIRS))
    stage.exchange(strict, stage.ask(OURS, mandate=both, protocol=suite.Protocol.ECDH))
    usage = stage.rooms().budget.usage(read_envelope(both).mandate.id)
    assert (usage.exchanges, usage.rows) == (2, 2 * len(OURS))
    assert endings(stage) == (["closed"] * 2, ["closed"] * 2)


def test_validating_an_emergency_brings_no_newer_dataset(stage: Stage) -> None:
    """It is the same mandate: what was delivered under it was delivered, though its envelope differs."""
    alone = issued_alone(stage)
    taking = Policy(emergency=Emergency(allowed=True))
    stage.exchange(
        stage.responder(stage.encode(THEIRS), policy=taking), stage.ask(OURS, mandate=alone)
    )
    both = sign_envelope(alone, stage.homes[VALIDATOR].log_signer(), party=VALIDATOR)
    newer = stage.responder(stage.encode(THEIRS[1:]))
    error = failed(stage.asker(stage.channel(newer)), stage.ask(OURS, mandate=both))
    assert error.reason == "mandate_not_standing"


def test_a_successor_counts_from_its_first_use(stage: Stage) -> None:
    platform = stage.responder(stage.listing(THEIRS))
    first = stage.envelope()
    ask = stage.ask(OURS, mandate=first, protocol=suite.Protocol.ECDH)
    stage.exchange(platform, ask)
    successor = stage.envelope(supersedes=read_envelope(first).mandate.id)
    stage.exchange(platform, stage.ask(OURS, mandate=successor, protocol=suite.Protocol.ECDH))
    error = failed(stage.asker(stage.channel(platform)), ask)
    require_refused(error, "mandate_superseded")


def test_a_mandate_of_version_1_is_honoured_and_can_be_revoked(stage: Stage) -> None:
    fields = stage.mandate().model_dump(mode="json") | {"version": 1}
    del fields["erase_by"]
    data = new_envelope(parse_mandate(canonical.dumps(fields)))
    for party in (ISSUER, VALIDATOR):
        data = sign_envelope(data, stage.homes[party].log_signer(), party=party)
    platform = stage.responder(stage.listing(THEIRS))
    ask = stage.ask(OURS, mandate=data, protocol=suite.Protocol.ECDH)
    stage.exchange(platform, ask)
    revoked_by(ISSUER)(stage, data)
    error = failed(stage.asker(stage.channel(platform)), ask)
    require_refused(error, "mandate_revoked")
    trust = {name: home.card for name, home in stage.homes.items()}
    log = stage.homes[PLATFORM].log_path
    assert verify_evidence(log, trust, mandates=[data]).exchanges[0].mandate == "covers"


def test_imports_are_in_the_platform_s_log(stage: Stage) -> None:
    mandate = stage.envelope()
    import_mandate(stage.homes[PLATFORM], mandate)
    data = revoke_mandates(stage.homes[ISSUER], [mandate])
    import_revocations(stage.homes[PLATFORM], data)
    import_revocations(stage.homes[PLATFORM], data)
    assert stage.entries(PLATFORM)[-2:] == ["mandate.imported", "revocations.imported"]
    verified(stage)
