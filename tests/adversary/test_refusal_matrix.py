"""The matrix of refusals and holds: each has its reason, its exit code, its entry in both logs, and costs
nothing: not one group operation is made, not one row reserved.

Every row is one way in which an offer must not be opened. The operations are counted by the interpreter's
profiling hook (tests/native_operations.py), whichever driver would have made them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hostile_exchange import OURS, THEIRS, Dying, Line, entries, failed
from native_operations import BY_PLATFORM, counted
from stage import (
    AUTHORITY,
    ISSUER,
    KIND,
    NAME,
    OPERATOR,
    PLATFORM,
    RULESET,
    VALIDATOR,
    Stage,
    column,
)

from psishare import _native
from psishare.client import import_mandate, import_revocations, revoke_mandates
from psishare.errors import (
    AuthorisationError,
    ExitCode,
    ProtocolError,
    PsishareError,
    VerificationError,
)
from psishare.exchange import authority as authority_side
from psishare.exchange.approvals import Approvals
from psishare.exchange.document import now
from psishare.exchange.journal import Journal
from psishare.exchange.offer import OFFER, Offer, Ruleset
from psishare.exchange.offering import ListOffering
from psishare.exchange.prepared_request import ApprovedInput, Subject, prepare_request, recall
from psishare.exchange.reasons import reason_of
from psishare.exchange.register import State
from psishare.exchange.request_file import read_request
from psishare.keys import canonical
from psishare.keys.statement import sign_statement
from psishare.mandates.draft import Grounds
from psishare.mandates.envelope import key_id, new_envelope, read_envelope, sign_envelope
from psishare.mandates.mandate import Mandate
from psishare.mandates.policy import (
    Approval,
    Emergency,
    Hours,
    PerDay,
    Policy,
    Validators,
)
from psishare.psi.suite import Output, Protocol
from psishare.transport.channel import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from psishare.exchange.ask import Ask
    from psishare.exchange.platform import Platform

DAY, HOUR = timedelta(days=1), timedelta(hours=1)
N = len(OURS)
OPEN = Policy()
URGENT = Grounds("danger to life", now() + 48 * HOUR)
OVERDUE = Grounds("danger to life", now() - HOUR)
NEVER = Policy(timezone="UTC", hours=(Hours(days=frozenset({"mon"}), closes="00:01"),))
MONDAY = datetime(2026, 11, 23, 12, tzinfo=UTC)
ALWAYS_HELD = Policy(approval=Approval(always=True))

REFUSED, HELD = "exchange.refused", "exchange.held"


@dataclass(frozen=True)
class Row:
    """One way in which an offer must not be opened.

    Attributes:
        reason: what it must be refused or held for.
        mandate: changes of the mandate's draft.
        envelope: makes the envelope, where it is not signed as it should be.
        ask: changes of what is asked.
        policy: the platform's.
        act: what has happened before the offer is made.
        alter: changes the offer request on its way.
        offering: changes of the list served.
        error: the class of the error.
        entry: the type of the entry in both logs.
    """

    reason: str
    mandate: dict[str, Any] = field(default_factory=dict)
    envelope: Callable[[Stage, dict[str, Any]], bytes] | None = None
    ask: dict[str, Any] = field(default_factory=dict)
    policy: Policy = OPEN
    act: Callable[[Stage, Platform, bytes], None] | None = None
    alter: Callable[[Stage, Any], None] | None = None
    offering: dict[str, Any] = field(default_factory=dict)
    error: type[PsishareError] = AuthorisationError
    entry: str = REFUSED


# Envelopes that are not signed as they should be.


def signed_by(**keys: str) -> Callable[[Stage, dict[str, Any]], bytes]:
    """Return what signs an issuer's or validator's place with some party's key."""

    def make(stage: Stage, changes: dict[str, Any]) -> bytes:
        mandate = stage.mandate(**changes)
        data = new_envelope(mandate)
        for role, key in keys.items():
            signer = stage.homes[key].log_signer()
            data = sign_envelope(data, signer, party=getattr(mandate, role))
        return data

    return make


def forged(stage: Stage, changes: dict[str, Any]) -> bytes:
    """Put the issuer's signature under the validator's key id as well."""
    fields = canonical.loads(stage.envelope(**changes), max_bytes=10**6, what="the envelope")
    ids = {name: key_id(stage.homes[name].card.log_key) for name in (ISSUER, VALIDATOR)}
    by_id = {signature["keyid"]: signature for signature in fields["signatures"]}
    by_id[ids[VALIDATOR]]["sig"] = by_id[ids[ISSUER]]["sig"]
    return canonical.dumps(fields)


def one_party(stage: Stage, changes: dict[str, Any]) -> bytes:
    document = stage.mandate(**changes).model_dump(mode="json") | {"validator": ISSUER}
    data = new_envelope(Mandate.model_validate_json(json.dumps(document)))
    return sign_envelope(data, stage.homes[ISSUER].log_signer(), party=ISSUER)


def other_payload(stage: Stage, changes: dict[str, Any]) -> bytes:
    """Put another mandate under the signatures of a good one."""
    good = canonical.loads(stage.envelope(**changes), max_bytes=10**6, what="the envelope")
    wider = new_envelope(stage.mandate(max_rows_total=10**9))
    fields = canonical.loads(wider, max_bytes=10**6, what="the envelope")
    return canonical.dumps(fields | {"signatures": good["signatures"]})


# What has happened before.


def revoked_by(party: str) -> Callable[[Stage, Platform, bytes], None]:
    def act(stage: Stage, _platform: Platform, mandate: bytes) -> None:
        data = revoke_mandates(stage.homes[party], [mandate])
        import_revocations(stage.homes[PLATFORM], data)

    return act


def superseded(stage: Stage, _platform: Platform, mandate: bytes) -> None:
    successor = stage.envelope(supersedes=read_envelope(mandate).mandate.id)
    import_mandate(stage.homes[PLATFORM], successor)


def list_damaged(stage: Stage, _platform: Platform, mandate: bytes) -> None:
    import_revocations(stage.homes[PLATFORM], revoke_mandates(stage.homes[ISSUER], []))
    (held,) = stage.homes[PLATFORM].mandates_path.glob("*.revocations")
    held.write_bytes(held.read_bytes().replace(b'"signature":"', b'"signature":"AAAA', 1))


def spent(stage: Stage, _platform: Platform, mandate: bytes) -> None:
    """Close an exchange of the whole list under the same mandate."""
    stage.exchange(stage.responder(stage.listing(THEIRS)), asked(stage, mandate))


def spent_under_another(stage: Stage, _platform: Platform, mandate: bytes) -> None:
    spent(stage, _platform, stage.envelope())


def reserved_now(stage: Stage, platform: Platform, mandate: bytes) -> None:
    """Leave another exchange open that has reserved rows and asked for none yet."""
    line = Dying(platform, stage.caller(), Call.EVALUATE, after=False)
    failed(stage.asker(line), asked(stage, mandate))
    assert len(stage.rooms().budget.open_exchanges()) == 1


def asked(stage: Stage, mandate: bytes, **changes: Any) -> Ask:
    return stage.ask(OURS, **({"protocol": Protocol.ECDH, "mandate": mandate} | changes))


# What is altered on its way.


def swap_mandate(stage: Stage, request: Any) -> None:
    request.mandate = stage.envelope()


def cut_mandate(stage: Stage, request: Any) -> None:
    request.mandate = request.mandate[:-1]


def resigned(**changes: Any) -> Callable[[Stage, Any], None]:
    """Return what makes another offer of it, signed by its authority: a dishonest authority's."""

    def alter(stage: Stage, request: Any) -> None:
        offer = Offer.parse(request.offer.document).model_copy(update=changes)
        request.offer.document = offer.document()
        signer = stage.homes[AUTHORITY].log_signer()
        request.offer.signature = sign_statement(signer, OFFER, offer.document())

    return alter


def sign_with_another_key(stage: Stage, request: Any) -> None:
    request.offer.signature = stage.homes[ISSUER].log_signer().sign(request.offer.document)


def garble(_stage: Stage, request: Any) -> None:
    request.offer.document = request.offer.document.replace(b'"rows":20', b'"rows":-1')


ROWS: dict[str, Row] = {
    # The mandate's own words.
    "expired": Row("mandate_expired", {"not_before": now() - 3 * DAY, "not_after": now() - DAY}),
    "not yet valid": Row(
        "mandate_not_yet_valid", {"not_before": now() + DAY, "not_after": now() + 2 * DAY}
    ),
    "for another authority": Row("mandate_other_authority", {"authority": "customs.example"}),
    "to another platform": Row("mandate_other_platform", {"platform": "bank.example"}),
    "of another dataset": Row("mandate_other_dataset", {"datasets": ["suppliers"]}),
    "about another kind": Row("mandate_other_kind", {"kinds": ["email"]}),
    "for another output": Row("mandate_other_output", {"outputs": ["count"]}),
    "by another protocol": Row("mandate_other_protocol", {"protocols": ["openmined"]}),
    "over the rows of an exchange": Row("mandate_over_rows", {"max_rows_per_exchange": N - 1}),
    "more is to be learnt than it allows": Row(
        "mandate_other_output", {"outputs": ["matches"]}, ask={"output": Output.BOTH}
    ),
    # Its envelope.
    "without its validator": Row("mandate_unsigned", envelope=signed_by(issuer=ISSUER)),
    "without its issuer": Row("mandate_unsigned", envelope=signed_by(validator=VALIDATOR)),
    "signed by nobody": Row("mandate_unsigned", envelope=signed_by()),
    "signed by another for its issuer": Row(
        "mandate_unsigned", envelope=signed_by(issuer=AUTHORITY, validator=VALIDATOR)
    ),
    "signed by another for its validator": Row(
        "mandate_unsigned", envelope=signed_by(issuer=ISSUER, validator=AUTHORITY)
    ),
    "of an issuer that is not trusted": Row(
        "mandate_issuer_untrusted",
        {"issuer": AUTHORITY},
        signed_by(issuer=AUTHORITY, validator=VALIDATOR),
    ),
    "of an unknown issuer": Row(
        "mandate_issuer_untrusted",
        {"issuer": "nobody.example"},
        signed_by(issuer=ISSUER, validator=VALIDATOR),
    ),
    "of a validator that is not trusted": Row(
        "mandate_validator_untrusted",
        {"validator": AUTHORITY},
        signed_by(issuer=ISSUER, validator=AUTHORITY),
    ),
    "issuer and validator changed places": Row(
        "mandate_issuer_untrusted",
        {"issuer": VALIDATOR, "validator": ISSUER},
        signed_by(issuer=VALIDATOR, validator=ISSUER),
    ),
    "one party in two roles": Row("mandate_roles_not_distinct", envelope=one_party),
    "one key in two roles": Row("mandate_roles_not_distinct", envelope=forged),
    "an altered payload": Row("mandate_signature_invalid", envelope=other_payload),
    "swapped for another on its way": Row("mandate_mismatch", alter=swap_mandate),
    "altered on its way": Row("mandate_mismatch", alter=cut_mandate),
    # What has become known of it.
    "revoked by its issuer": Row("mandate_revoked", act=revoked_by(ISSUER)),
    "revoked by its validator": Row("mandate_revoked", act=revoked_by(VALIDATOR)),
    "revocations unknown": Row(
        "mandate_revocations_stale", policy=Policy(revocation_max_age_s=3600)
    ),
    "revocations damaged": Row("mandate_revocations_stale", act=list_damaged),
    "superseded": Row("mandate_superseded", act=superseded),
    "an emergency where none is taken": Row(
        "policy_emergency", {"emergency": URGENT}, signed_by(issuer=ISSUER)
    ),
    "an emergency that was not validated": Row(
        "mandate_validation_overdue",
        {"emergency": OVERDUE, "not_before": now() - DAY},
        signed_by(issuer=ISSUER),
        policy=Policy(emergency=Emergency(allowed=True)),
    ),
    "an emergency of another authority": Row(
        "policy_emergency_authority",
        {"emergency": URGENT},
        signed_by(issuer=ISSUER),
        policy=Policy(
            emergency=Emergency(allowed=True, authorities=frozenset({"customs.example"}))
        ),
    ),
    "a large emergency": Row(
        "policy_emergency_rows",
        {"emergency": URGENT},
        signed_by(issuer=ISSUER),
        policy=Policy(emergency=Emergency(allowed=True, max_rows=N - 1)),
    ),
    # The policy.
    "an issuer out of policy": Row(
        "policy_issuer", policy=Policy(issuers=frozenset({"other.example"}))
    ),
    "an authority out of policy": Row(
        "policy_authority", policy=Policy(authorities=frozenset({"customs.example"}))
    ),
    "a kind out of policy": Row("policy_kind", policy=Policy(kinds=frozenset({"email"}))),
    "an output out of policy": Row("policy_output", policy=Policy(outputs=frozenset({"count"}))),
    "a protocol out of policy": Row(
        "policy_protocol", policy=Policy(protocols=frozenset({"oprf"}))
    ),
    "a dataset out of policy": Row(
        "policy_dataset", policy=Policy(datasets=frozenset({"suppliers"}))
    ),
    "no judge where one is due": Row(
        "policy_validator_role",
        {"validator_role": "officer"},
        policy=Policy(
            validators=(Validators(roles=frozenset({"judge"}), kinds=frozenset({KIND})),)
        ),
    ),
    "a validator that counts for nothing": Row(
        "policy_validator_role",
        {"validator_role": "officer"},
        policy=Policy(validator_roles=frozenset({"judge", "court"})),
    ),
    "fewer rows than the least": Row("policy_min_rows", policy=Policy(min_rows=N + 1)),
    "more rows than the most": Row("policy_max_rows", policy=Policy(max_rows_per_exchange=N - 1)),
    "a large part of the dataset": Row(
        "policy_max_share", policy=Policy(max_share_of_dataset=Decimal("0.5"))
    ),
    "a list that nobody has approved": Row(
        "policy_list_not_approved", policy=Policy(approved_lists="sealed")
    ),
    "an epoch that is too old": Row(
        "policy_epoch_age",
        policy=Policy(max_epoch_days=30),
        offering={"epoch_began": now() - 31 * DAY},
    ),
    "outside hours": Row("policy_outside_hours", policy=NEVER),
    # The budget.
    "over the rows in all": Row("budget_rows_exhausted", {"max_rows_total": N - 1}),
    "rows spent": Row("budget_rows_exhausted", {"max_rows_total": 2 * N - 1}, act=spent),
    "exchanges spent": Row("budget_exchanges_exhausted", {"max_exchanges": 1}, act=spent),
    "rows taken by a concurrent exchange": Row(
        "budget_rows_exhausted", {"max_rows_total": 2 * N - 1}, act=reserved_now
    ),
    "the only exchange taken by a concurrent one": Row(
        "budget_exchanges_exhausted", {"max_exchanges": 1}, act=reserved_now
    ),
    "rows of a mandate": Row(
        "budget_mandate_rows", policy=Policy(max_rows_per_mandate=2 * N - 1), act=spent
    ),
    "exchanges of a mandate": Row(
        "budget_mandate_exchanges", policy=Policy(max_exchanges_per_mandate=1), act=spent
    ),
    "rows of a day": Row(
        "budget_day_rows",
        policy=Policy(per_day=PerDay(rows=2 * N - 1)),
        act=spent_under_another,
    ),
    "rows of an authority": Row(
        "budget_authority_rows",
        policy=Policy(per_day=PerDay(rows_per_authority=2 * N - 1)),
        act=spent_under_another,
    ),
    "rows about a kind": Row(
        "budget_kind_rows",
        policy=Policy(per_day=PerDay(rows_per_kind=2 * N - 1)),
        act=spent_under_another,
    ),
    "exchanges of a day": Row(
        "budget_day_exchanges", policy=Policy(per_day=PerDay(exchanges=1)), act=spent_under_another
    ),
    "exchanges of an authority": Row(
        "budget_authority_exchanges",
        policy=Policy(per_day=PerDay(exchanges_per_authority=1)),
        act=spent_under_another,
    ),
    "exchanges about a kind": Row(
        "budget_kind_exchanges",
        policy=Policy(per_day=PerDay(exchanges_per_kind=1)),
        act=spent_under_another,
    ),
    # A second operator.
    "every offer is held": Row("approval_required", policy=ALWAYS_HELD, entry=HELD),
    "many rows are held": Row(
        "approval_required", policy=Policy(approval=Approval(above_rows=N - 1)), entry=HELD
    ),
    "a kind is held": Row(
        "approval_required", policy=Policy(approval=Approval(kinds=frozenset({KIND}))), entry=HELD
    ),
    "an output is held": Row(
        "approval_required",
        policy=Policy(approval=Approval(outputs=frozenset({"matches"}))),
        entry=HELD,
    ),
    "an authority is held": Row(
        "approval_required",
        policy=Policy(approval=Approval(authorities=frozenset({AUTHORITY}))),
        entry=HELD,
    ),
    "an emergency is held": Row(
        "approval_required",
        {"emergency": URGENT},
        signed_by(issuer=ISSUER),
        policy=Policy(emergency=Emergency(allowed=True), approval=Approval(emergency=True)),
        entry=HELD,
    ),
    # The offer itself.
    "a dataset that is not served": Row("dataset_unknown", ask={"dataset": "suppliers"}),
    "a dataset that is revoked": Row("dataset_revoked", offering={"is_revoked": True}),
    "another kind than the dataset's": Row("kind_mismatch", ask={"kind": "email"}),
    "another namespace": Row("kind_mismatch", ask={"namespace": "crm"}),
    "another canonical form": Row(
        "ruleset_mismatch", ask={"ruleset": Ruleset(version=7, digest="cd" * 32)}
    ),
    "an output that the protocol lacks": Row(
        "output_unsupported", ask={"protocol": Protocol.OPENMINED, "output": Output.COUNT}
    ),
    "more rows than one exchange may ask": Row("over_max_query", offering={"max_query": N - 1}),
    "another suite": Row("version_mismatch", alter=resigned(suite="P256-SHA256")),
    "another version of the wire": Row("version_mismatch", alter=resigned(wire_version=99)),
    "an offer of yesterday": Row(
        "clock_skew", alter=resigned(time=f"{now() - DAY:%Y-%m-%dT%H:%M:%SZ}")
    ),
    "an offer of tomorrow": Row(
        "clock_skew", alter=resigned(time=f"{now() + DAY:%Y-%m-%dT%H:%M:%SZ}")
    ),
    "an offer for another platform": Row(
        "offer_misdirected", alter=resigned(platform="bank.example"), error=ProtocolError
    ),
    "an offer for another connection": Row(
        "offer_misdirected", alter=resigned(platform_certificate="ab" * 32), error=ProtocolError
    ),
    "an offer in another's name": Row(
        "peer_impersonation", alter=resigned(authority="customs.example")
    ),
    "an offer signed by another": Row(
        "signature_invalid", alter=sign_with_another_key, error=VerificationError
    ),
    "an offer that is none": Row("document_malformed", alter=garble, error=VerificationError),
}


def test_the_matrix_has_sixty_rows_and_more() -> None:
    assert len(ROWS) >= 60
    assert len({row.reason for row in ROWS.values()}) >= 45


def served(stage: Stage, row: Row) -> Platform:
    listing = stage.listing(THEIRS)
    fields = {name: getattr(listing, name) for name in listing.__dataclass_fields__}
    return stage.responder(ListOffering(**(fields | row.offering)), policy=row.policy)


def told_since(stage: Stage, party: str, start: int) -> list[tuple[str, str]]:
    return [
        (entry.type, entry.fields["reason"])
        for entry in entries(stage, party)[start:]
        if entry.type.startswith("exchange.")
    ]


@pytest.mark.parametrize("name", ROWS)
def test_nothing_is_evaluated(stage: Stage, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    row = ROWS[name]
    if row.reason == "policy_outside_hours":
        # Noon of a Monday whose only minute is the first.
        monkeypatch.setattr("psishare.mandates.policy.Policy.local", lambda *_: MONDAY)
    mandate = (row.envelope or (lambda s, c: s.envelope(**c)))(stage, row.mandate)
    platform = served(stage, row)
    if row.act is not None:
        row.act(stage, platform, mandate)
    before = {party: len(entries(stage, party)) for party in (PLATFORM, AUTHORITY)}
    budget = stage.rooms().budget
    used = budget.usage(read_envelope(mandate).mandate.id)
    alter = row.alter or (lambda _stage, _request: None)
    requests = {Call.OFFER: lambda request: alter(stage, request)}
    line = Line(platform, stage.caller(), requests=requests)
    ask = asked(stage, mandate, **row.ask)
    with counted() as operations:
        error = failed(stage.asker(line), ask)
    assert operations == {}
    assert (type(error), error.reason) == (row.error, row.reason)
    assert error.exit_code is row.error.exit_code
    if row.error is AuthorisationError:
        assert error.exit_code is ExitCode.REFUSED
    assert error.mend
    reason = reason_of(error)
    assert reason is not None
    assert row.entry in reason.entries
    for party in (PLATFORM, AUTHORITY):
        assert told_since(stage, party, before[party]) == [(row.entry, row.reason)]
    assert budget.usage(read_envelope(mandate).mandate.id) == used


# What takes more than one offer.


def held(stage: Stage, platform: Platform) -> Any:
    failed(stage.asker(stage.channel(platform)), asked(stage, stage.envelope()))
    (row,) = [row for row in stage.platform.register.rows() if row.state is State.HELD]
    return row


def rejected(stage: Stage, row: Any, _monkeypatch: pytest.MonkeyPatch) -> None:
    decide(stage, row, "rejected")


def too_late(stage: Stage, row: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    decide(stage, row, "approved")
    late = now() + 73 * HOUR
    monkeypatch.setattr("psishare.exchange.approvals.now", lambda: late)


def withdrawn(stage: Stage, row: Any, _monkeypatch: pytest.MonkeyPatch) -> None:
    decide(stage, row, "approved")
    stage.platform.peers.remove(OPERATOR)


def undecided(stage: Stage, row: Any, _monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it wait."""


def decide(stage: Stage, row: Any, verdict: Any) -> None:
    approvals = Approvals(stage.rooms(policy=ALWAYS_HELD), Journal(stage.platform.log))
    signer = stage.homes[OPERATOR].log_signer()
    approvals.decide(row, operator=OPERATOR, signer=signer, verdict=verdict)


@pytest.mark.parametrize(
    ("act", "reason"),
    [
        (rejected, "approval_rejected"),
        (too_late, "ticket_expired"),
        (withdrawn, "approval_withdrawn"),
        (undecided, "approval_required"),
    ],
)
def test_nothing_is_evaluated_of_a_held_offer_that_may_not_go_on(
    stage: Stage, act: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = stage.responder(stage.listing(THEIRS), policy=ALWAYS_HELD)
    row = held(stage, platform)
    act(stage, row, monkeypatch)
    before = {party: len(entries(stage, party)) for party in (PLATFORM, AUTHORITY)}
    asker = stage.asker(stage.channel(platform))
    with counted() as operations, pytest.raises(AuthorisationError) as raised:
        asker.resume(row.exchange_id, column(OURS))
    assert operations == {}
    assert (raised.value.reason, raised.value.exit_code) == (reason, ExitCode.REFUSED)
    expected = [] if act is undecided else [(REFUSED, reason)]
    for party in (PLATFORM, AUTHORITY):
        assert told_since(stage, party, before[party]) == expected
    assert stage.rooms().budget.open_exchanges() == ()


def test_nothing_is_evaluated_of_an_offer_that_comes_again(stage: Stage) -> None:
    line = Line(stage.responder(stage.listing(THEIRS)), stage.caller())
    stage.asker(line).exchange(asked(stage, stage.envelope()))
    before = len(entries(stage, PLATFORM))
    with counted() as operations, pytest.raises(AuthorisationError) as raised:
        line.again(Call.OFFER)
    assert operations == {}
    assert (raised.value.reason, raised.value.exit_code) == ("exchange_repeated", ExitCode.REFUSED)
    assert told_since(stage, PLATFORM, before) == [(REFUSED, "exchange_repeated")]


def test_nothing_is_evaluated_of_a_sealed_request_with_its_first_frame_changed(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = Subject(PLATFORM, NAME, KIND, "", RULESET)
    request = prepare_request(
        stage.homes[AUTHORITY],
        subject,
        column(OURS),
        [stage.homes[VALIDATOR].card],
        sealed=True,
        frame_rows=7,
    )
    sealed = read_request(request).sealed_request
    assert sealed is not None
    altered = sealed.model_copy(update={"frames": ("00" * 32, *sealed.frames[1:])})
    mandate = stage.envelope(
        datasets=[NAME],
        protocols=["oprf"],
        outputs=["matches"],
        max_rows_per_exchange=N,
        sealed_request=altered,
    )
    seed = _native.Seed.from_secret_bytes(recall(stage.homes[AUTHORITY], sealed.digest)[0])
    # A dishonest authority: its own software would not send it.
    monkeypatch.setattr(authority_side, "approved_input", lambda *_: ApprovedInput(seed, 7))
    monkeypatch.setattr(
        "psishare.exchange.signed_requests.SignedRequests._require_approved", lambda *_: None
    )
    platform = stage.responder(stage.encode(THEIRS))
    with counted() as operations:
        error = failed(stage.asker(stage.channel(platform)), stage.ask(OURS, mandate=mandate))
    assert not operations.keys() & BY_PLATFORM
    assert (error.reason, error.exit_code) == ("sealed_request_differs", ExitCode.REFUSED)
    assert ("exchange.aborted", "sealed_request_differs") in [
        (e.type, getattr(e, "reason", None)) for e in entries(stage, PLATFORM)
    ]
    assert stage.rooms().budget.usage(read_envelope(mandate).mandate.id).rows == 0


DELIVERIES = ("expired", "for another authority", "about another kind", "revoked by its issuer")


@pytest.mark.parametrize("name", DELIVERIES)
def test_nothing_is_delivered_either(stage: Stage, name: str) -> None:
    row = ROWS[name]
    mandate = stage.envelope(**row.mandate)
    platform = stage.responder(stage.encode(THEIRS))
    if row.act is not None:
        row.act(stage, platform, mandate)
    with counted() as operations:
        error = failed(stage.asker(stage.channel(platform)), stage.ask(OURS, mandate=mandate))
    assert operations == {}
    assert (error.reason, error.exit_code) == (row.reason, ExitCode.REFUSED)
    digest = hashlib.sha256(mandate).hexdigest()
    for party in (PLATFORM, AUTHORITY):
        (entry,) = [e for e in entries(stage, party) if e.type == "dataset.refused"]
        assert (entry.fields["reason"], entry.fields["mandate_sha256"]) == (row.reason, digest)


@pytest.mark.parametrize("protocol", [Protocol.OPRF, Protocol.ECDH, Protocol.OPENMINED])
def test_the_operations_of_an_exchange_that_opens_are_counted(
    stage: Stage, protocol: Protocol
) -> None:
    if protocol is Protocol.OPENMINED:
        pytest.importorskip("private_set_intersection")
    offering = stage.encode(THEIRS) if protocol is Protocol.OPRF else stage.listing(THEIRS)
    with counted() as operations:
        stage.exchange(stage.responder(offering), stage.ask(OURS, protocol=protocol))
    assert sum(operations.values()) > 1
