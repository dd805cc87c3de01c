"""A court approves exactly one list: nothing else is evaluated, charged, or left unfound."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import hostile_exchange
import pyarrow as pa
import pytest
from hostile_exchange import (
    COMMON,
    Dying,
    endings,
    entries,
    failed,
    resumed,
    told,
    verified,
)
from platform_work import elements_computed
from stage import AUTHORITY, KIND, NAME, PLATFORM, RULESET, VALIDATOR, Stage, column

from psishare import _native
from psishare.datasets.store import DatasetStore
from psishare.errors import (
    AuthorisationError,
    ConfigError,
    InputError,
    PsishareError,
    VerificationError,
)
from psishare.evidence.replay import Replay, ReplayFault, replay, signed_requests
from psishare.evidence.verify import verify_evidence
from psishare.exchange import authority as authority_side
from psishare.exchange import prepared_request
from psishare.exchange.authority import Outcome
from psishare.exchange.offer import Ruleset
from psishare.exchange.offering import EncodedOffering
from psishare.exchange.opened import OpenedExchange
from psishare.exchange.opening import unseal_opening
from psishare.exchange.prepared_request import (
    ApprovedInput,
    Subject,
    approved_input,
    check_request,
    prepare_request,
    recall,
)
from psishare.exchange.request_file import open_request, read_request
from psishare.mandates.envelope import read_envelope
from psishare.psi import suite
from psishare.transport.channel import Call

if TYPE_CHECKING:
    from psishare.exchange.ask import Ask
    from psishare.exchange.platform import Platform
    from psishare.mandates.mandate import Mandate

PREFIX = b"phone\x00\x00"
OURS = [PREFIX + value for value in hostile_exchange.OURS]
THEIRS = [PREFIX + value for value in hostile_exchange.THEIRS]
OTHER = PREFIX + b"+4915199999999"
SUBJECT = Subject(PLATFORM, NAME, KIND, "", RULESET)
FRAME_ROWS = 7


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count what the platform computes in the group."""
    return elements_computed(monkeypatch)


def prepared(stage: Stage, values: list[bytes], *, sealed: bool = True) -> bytes:
    return prepare_request(
        stage.homes[AUTHORITY],
        SUBJECT,
        column(values),
        [stage.homes[VALIDATOR].card],
        sealed=sealed,
        frame_rows=FRAME_ROWS,
    )


def approving(stage: Stage, request: bytes, **changes: Any) -> bytes:
    """Return a mandate that approves a request, signed by both."""
    head = read_request(request)
    fields: dict[str, Any] = {
        "datasets": [NAME],
        "protocols": ["oprf"],
        "outputs": ["matches"],
        "max_rows_per_exchange": head.rows,
        "max_rows_total": 10 * head.rows,
        "sealed_request": head.sealed_request,
        "input_commitment": head.input_commitment,
    }
    return stage.envelope(**(fields | changes))


def lying(monkeypatch: pytest.MonkeyPatch, *, frame_rows: int = FRAME_ROWS) -> None:
    """Let the authority ask whatever it likes under a mandate that approves one list."""
    monkeypatch.setattr(
        authority_side, "approved_input", lambda *_: ApprovedInput(None, frame_rows)
    )
    monkeypatch.setattr(
        "psishare.exchange.signed_requests.SignedRequests._require_approved", lambda *_: None
    )


def spent(stage: Stage, mandate: bytes) -> int:
    return stage.rooms().budget.usage(read_envelope(mandate).mandate.id).rows


# What is approved is asked.


def test_the_approved_list_is_asked_and_matches_are_found(
    stage: Stage, evaluations: list[int]
) -> None:
    mandate = approving(stage, prepared(stage, OURS))
    platform = stage.responder(stage.encode(THEIRS))
    outcome = stage.exchange(platform, stage.ask(OURS, mandate=mandate))
    assert outcome.matched.to_pylist() == COMMON
    assert evaluations == [7, 7, 6]
    assert endings(stage) == (["closed"], ["closed"])


def test_an_auditor_finds_the_approved_frames_in_the_log_alone(stage: Stage) -> None:
    mandate = approving(stage, prepared(stage, OURS))
    stage.exchange(stage.responder(stage.encode(THEIRS)), stage.ask(OURS, mandate=mandate))
    trust = {name: home.card for name, home in stage.homes.items()}
    for party in (PLATFORM, AUTHORITY):
        verdict = verify_evidence(stage.homes[party].log_path, trust, mandates=[mandate])
        (exchange,) = verdict.exchanges
        assert (exchange.mandate, verdict.n_uncovered) == ("covers", 0)


# What is not approved is not.


def test_another_list_is_refused_before_it_is_sent(stage: Stage) -> None:
    mandate = approving(stage, prepared(stage, OURS))
    for other in (OURS[1:], OURS[::-1], [*OURS[:-1], OTHER]):
        with pytest.raises(InputError) as caught:
            stage.exchange(stage.responder(stage.encode(THEIRS)), stage.ask(other, mandate=mandate))
        assert caught.value.reason == "list_not_approved"
    assert told(stage, PLATFORM) == told(stage, AUTHORITY) == []


def test_a_home_that_did_not_prepare_the_list_asks_nothing(stage: Stage) -> None:
    mandate = approving(stage, prepared(stage, OURS))
    (kept,) = stage.homes[AUTHORITY].mandates_path.glob("*.request")
    kept.unlink()
    with pytest.raises(ConfigError) as caught:
        stage.exchange(stage.responder(stage.encode(THEIRS)), stage.ask(OURS, mandate=mandate))
    assert caught.value.reason == "request_missing"


@pytest.mark.parametrize("values", [OURS, [*OURS[:-1], OTHER]])
def test_a_dishonest_authority_has_nothing_evaluated_and_nothing_charged(
    stage: Stage, evaluations: list[int], monkeypatch: pytest.MonkeyPatch, values: list[bytes]
) -> None:
    """Neither another list, nor the same list under another seed."""
    mandate = approving(stage, prepared(stage, OURS))
    lying(monkeypatch)
    platform = stage.responder(stage.encode(THEIRS))
    error = failed(stage.asker(stage.channel(platform)), stage.ask(values, mandate=mandate))
    assert (type(error), error.reason) == (AuthorisationError, "sealed_request_differs")
    assert evaluations == []
    assert spent(stage, mandate) == 0
    assert told(stage, PLATFORM)[-1] == ("exchange.aborted", "sealed_request_differs")
    assert endings(stage) == (["aborted"], ["aborted"])


def test_the_log_names_the_authority_for_a_frame_that_was_not_approved(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    mandate = approving(stage, prepared(stage, OURS))
    lying(monkeypatch)
    platform = stage.responder(stage.encode(THEIRS))
    failed(stage.asker(stage.channel(platform)), stage.ask(OURS[::-1], mandate=mandate))
    assert entries(stage, PLATFORM)[-1].fields["at_fault"] == AUTHORITY


@pytest.mark.parametrize("changed", [0, 1, 2])
def test_one_changed_frame_ends_the_exchange_before_it_is_evaluated(
    stage: Stage, evaluations: list[int], monkeypatch: pytest.MonkeyPatch, changed: int
) -> None:
    request = prepared(stage, OURS)
    sealed = read_request(request).sealed_request
    assert sealed is not None
    frames = [*sealed.frames]
    frames[changed] = "00" * 32
    altered = sealed.model_copy(update={"frames": tuple(frames)})
    mandate = approving(stage, request, sealed_request=altered)
    seed = _native.Seed.from_secret_bytes(recall(stage.homes[AUTHORITY], sealed.digest)[0])
    lying(monkeypatch)
    monkeypatch.setattr(
        authority_side, "approved_input", lambda *_: ApprovedInput(seed, FRAME_ROWS)
    )
    platform = stage.responder(stage.encode(THEIRS))
    error = failed(stage.asker(stage.channel(platform)), stage.ask(OURS, mandate=mandate))
    assert error.reason == "sealed_request_differs"
    # The frames before it were approved; nothing of it or after it is.
    assert sum(evaluations) <= spent(stage, mandate) <= changed * FRAME_ROWS
    assert endings(stage) == (["aborted"], ["aborted"])


OFFERS: dict[str, dict[str, Any]] = {
    "fewer rows": {"identifiers": column(OURS[:-1])},
    "other frames": {"frame_rows": 5},
}


@pytest.mark.parametrize("change", OFFERS)
def test_an_offer_of_another_shape_is_refused(
    stage: Stage, evaluations: list[int], monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    mandate = approving(stage, prepared(stage, OURS))
    ask = replace(stage.ask(OURS, mandate=mandate), **OFFERS[change])
    lying(monkeypatch, frame_rows=ask.frame_rows)
    platform = stage.responder(stage.encode(THEIRS))
    error = failed(stage.asker(stage.channel(platform)), ask)
    assert (type(error), error.reason) == (AuthorisationError, "sealed_request_differs")
    assert error.party == PLATFORM
    refusal = ("exchange.refused", "sealed_request_differs")
    assert told(stage, PLATFORM)[-1] == told(stage, AUTHORITY)[-1] == refusal
    assert evaluations == []
    assert spent(stage, mandate) == 0
    verified(stage)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"protocol": suite.Protocol.ECDH}, "mandate_other_protocol"),
        ({"dataset": "suppliers"}, "mandate_other_dataset"),
    ],
)
def test_a_sealed_request_is_of_one_dataset_and_protocol(
    stage: Stage, changes: dict[str, Any], reason: str
) -> None:
    mandate = approving(stage, prepared(stage, OURS))
    platform = stage.responder(stage.listing(THEIRS), stage.listing(THEIRS, name="suppliers"))
    ask = stage.ask(OURS, mandate=mandate, **({"protocol": suite.Protocol.ECDH} | changes))
    assert failed(stage.asker(stage.channel(platform)), ask).reason == reason


def test_an_auditor_names_an_exchange_that_asked_something_else(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even a platform that looks away cannot hide it: the signed transcript is another chain."""
    mandate = approving(stage, prepared(stage, OURS))
    lying(monkeypatch)
    monkeypatch.setattr(
        "psishare.exchange.opened.OpenedExchange._require_approved", lambda *_: None
    )
    stage.exchange(stage.responder(stage.encode(THEIRS)), stage.ask(OURS[::-1], mandate=mandate))
    trust = {name: home.card for name, home in stage.homes.items()}
    for party in (PLATFORM, AUTHORITY):
        verdict = verify_evidence(stage.homes[party].log_path, trust, mandates=[mandate])
        (exchange,) = verdict.exchanges
        assert (exchange.mandate, verdict.n_uncovered) == ("sealed_request_differs", 1)


# Aborted and repeated.


def test_an_aborted_exchange_is_repeated_with_the_very_same_frames(
    stage: Stage, evaluations: list[int]
) -> None:
    mandate = approving(stage, prepared(stage, OURS))
    platform = stage.responder(stage.encode(THEIRS))
    dying = Dying(platform, stage.caller(), Call.EVALUATE, after=True, nth=2)
    failed(stage.asker(dying), stage.ask(OURS, mandate=mandate))
    outcome = stage.exchange(platform, stage.ask(OURS, mandate=mandate))
    assert outcome.matched.to_pylist() == COMMON
    assert sum(evaluations) <= 2 * len(OURS)
    frames = _requests(stage)
    assert len(frames) == 2
    # The second began as the first: a platform that saw both has seen one list, once.
    shorter, longer = sorted(frames, key=len)
    assert longer[: len(shorter)] == shorter
    assert len(longer) == 32 * len(OURS)


def _requests(stage: Stage) -> list[bytes]:
    return [path.read_bytes() for path in stage.homes[AUTHORITY].exchanges_path.glob("*/elements")]


def test_the_mandate_s_caps_say_how_often_it_may_be_tried(
    stage: Stage, evaluations: list[int]
) -> None:
    mandate = approving(stage, prepared(stage, OURS), max_exchanges=1)
    platform = stage.responder(stage.encode(THEIRS))
    stage.exchange(platform, stage.ask(OURS, mandate=mandate))
    evaluations.clear()
    error = failed(stage.asker(stage.channel(platform)), stage.ask(OURS, mandate=mandate))
    assert error.reason == "budget_exchanges_exhausted"
    assert evaluations == []


def test_no_two_requests_share_a_seed_or_an_element(stage: Stage) -> None:
    first, second = prepared(stage, OURS), prepared(stage, OURS)
    heads = [read_request(each) for each in (first, second)]
    frames = [set(head.sealed_request.frames) for head in heads if head.sealed_request]
    assert not frames[0] & frames[1]
    secrets = {recall(stage.homes[AUTHORITY], head.digest)[0] for head in heads}
    assert len(secrets) == 2


# The validator.


def opened_by_the_court(stage: Stage, request: bytes) -> Any:
    court = stage.homes[VALIDATOR]
    return open_request(request, court.id, court.sealing_key())


def drafted(stage: Stage, request: bytes, **changes: Any) -> Mandate:
    return read_envelope(approving(stage, request, **changes)).mandate


@pytest.mark.parametrize("sealed", [True, False])
def test_the_validator_reads_the_list_and_computes_everything_again(
    stage: Stage, sealed: bool
) -> None:
    request = prepared(stage, OURS, sealed=sealed)
    opened = opened_by_the_court(stage, request)
    assert opened.identifiers.to_pylist() == OURS
    assert opened.values() == hostile_exchange.OURS
    check_request(drafted(stage, request), opened)


@pytest.mark.parametrize("sealed", [True, False])
def test_the_validator_finds_a_list_that_is_not_the_one_approved(
    stage: Stage, sealed: bool
) -> None:
    request = prepared(stage, OURS, sealed=sealed)
    other = prepared(stage, [*OURS[:-1], OTHER], sealed=sealed)
    opened = opened_by_the_court(stage, request)
    with pytest.raises(VerificationError) as caught:
        check_request(drafted(stage, other), opened)
    assert caught.value.reason == "request_differs"


def test_the_validator_finds_one_name_that_was_slipped_in(stage: Stage) -> None:
    """The list that the court is shown lacks a name that the frames hold."""
    request = prepared(stage, OURS)
    opened = opened_by_the_court(stage, request)
    shown = replace(opened, identifiers=pa.array([*OURS[:-1], OTHER], pa.large_binary()))
    with pytest.raises(VerificationError, match="other elements"):
        check_request(drafted(stage, request), shown)
    fewer = replace(opened, identifiers=opened.identifiers.slice(0, 19))
    with pytest.raises(VerificationError):
        check_request(drafted(stage, request), fewer)


@pytest.mark.parametrize("slipped_in", [OURS[0], b"email\x00\x00a@example.com", b"+49151"])
def test_the_validator_refuses_a_list_that_does_not_read_as_it_is(
    stage: Stage, slipped_in: bytes
) -> None:
    request = prepared(stage, [*OURS[:-1], slipped_in])
    with pytest.raises(VerificationError, match=r"twice|another kind"):
        check_request(drafted(stage, request), opened_by_the_court(stage, request))


@pytest.mark.parametrize(
    "value",
    [
        b"\x1b[1A\x1b[2K+4915199999999",
        b"+4915199999999\n+4915199999998",
        b"+49 151 99999999",
        b"\xff",
    ],
    ids=["escapes", "two lines", "another spelling", "no text"],
)
@pytest.mark.parametrize("sealed", [True, False])
def test_the_validator_refuses_a_value_that_hides_others_from_its_reader(
    stage: Stage, value: bytes, sealed: bool
) -> None:
    request = prepared(stage, [*OURS, PREFIX + value], sealed=sealed)
    with pytest.raises(VerificationError, match="no canonical identifier") as caught:
        check_request(drafted(stage, request), opened_by_the_court(stage, request))
    assert caught.value.reason == "request_differs"


@pytest.mark.parametrize(
    "changes",
    [{"platform": "bank.example"}, {"authority": "customs.example"}, {"datasets": ["suppliers"]}],
)
def test_the_validator_refuses_a_mandate_for_others_than_the_request(
    stage: Stage, changes: dict[str, Any]
) -> None:
    request = prepared(stage, OURS)
    with pytest.raises(VerificationError) as caught:
        check_request(drafted(stage, request, **changes), opened_by_the_court(stage, request))
    assert caught.value.reason == "request_differs"


def test_nobody_but_its_readers_opens_a_request(stage: Stage) -> None:
    request = prepared(stage, OURS)
    platform = stage.homes[PLATFORM]
    with pytest.raises(ConfigError) as caught:
        open_request(request, platform.id, platform.sealing_key())
    assert caught.value.reason == "request_not_for_us"
    with pytest.raises(VerificationError):
        open_request(request, VALIDATOR, platform.sealing_key())
    assert not any(value in request for value in OURS)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: b"",
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data.replace(b'"rows":20', b'"rows":21', 1),
        lambda data: data.replace(b'"version":1', b'"version":2', 1),
        lambda data: data.replace(b":null,", b':"%s",' % (b"00" * 32), 1),
        lambda data: data.replace(b"\n", b" \n", 1),
        lambda data: b"{}\n" + data,
        lambda data: b"x" * 70_000,
    ],
)
def test_a_damaged_request_is_refused(stage: Stage, spoil: Any) -> None:
    request = spoil(prepared(stage, OURS))
    with pytest.raises(PsishareError) as caught:
        check_request(drafted(stage, prepared(stage, OURS)), opened_by_the_court(stage, request))
    assert caught.value.reason in {"request_malformed", "request_differs", "unsealing_failed"}


def test_every_byte_of_what_is_sealed_counts(stage: Stage) -> None:
    request = prepared(stage, OURS)
    start = request.index(b"\n") + 1
    for position in range(start, len(request), 101):
        altered = bytearray(request)
        altered[position] ^= 1
        with pytest.raises(VerificationError):
            opened_by_the_court(stage, bytes(altered))


# The input commitment.


def test_a_committed_list_is_asked_under_a_fresh_seed_each_time(stage: Stage) -> None:
    request = prepared(stage, OURS, sealed=False)
    mandate = approving(stage, request)
    platform = stage.responder(stage.encode(THEIRS))
    for _ in range(2):
        outcome = stage.exchange(platform, stage.ask(OURS, mandate=mandate))
        assert outcome.matched.to_pylist() == COMMON
    first, second = _requests(stage)
    assert not {first[i : i + 32] for i in range(0, 640, 32)} & {
        second[i : i + 32] for i in range(0, 640, 32)
    }


def test_another_list_than_the_committed_is_refused_before_it_is_sent(stage: Stage) -> None:
    mandate = approving(stage, prepared(stage, OURS, sealed=False))
    with pytest.raises(InputError) as caught:
        stage.exchange(stage.responder(stage.encode(THEIRS)), stage.ask(OURS[1:], mandate=mandate))
    assert caught.value.reason == "list_not_approved"
    assert told(stage, PLATFORM) == []


def test_two_commitments_to_one_list_do_not_resemble_each_other(stage: Stage) -> None:
    heads = [read_request(prepared(stage, OURS, sealed=False)) for _ in range(2)]
    assert heads[0].input_commitment != heads[1].input_commitment


# Sizes.


def test_an_empty_list_is_not_prepared(stage: Stage) -> None:
    with pytest.raises(InputError) as caught:
        prepared(stage, [])
    assert caught.value.reason == "request_empty"


def test_more_frames_than_a_mandate_holds_are_not_prepared(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prepared_request, "MAX_FRAMES", 2)
    with pytest.raises(InputError) as caught:
        prepared(stage, OURS)
    assert caught.value.reason == "request_too_large"


def test_a_mandate_with_the_most_frames_fits_its_envelope(stage: Stage) -> None:
    request = read_request(prepared(stage, OURS)).sealed_request
    assert request is not None
    most = request.model_copy(
        update={"frames": ("ab" * 32,) * 512, "rows": 512 * 32_768, "frame_rows": 32_768}
    )
    text = "x" * 2048
    envelope = stage.envelope(
        datasets=["d" * 64],
        protocols=["oprf"],
        outputs=["matches"],
        max_rows_per_exchange=most.rows,
        max_rows_total=most.rows,
        sealed_request=most,
        purpose=text,
        necessity=text,
        legal_basis="x" * 512,
        court_sealing_key=stage.homes[VALIDATOR].card.sealing_key_bytes,
    )
    assert read_envelope(envelope).mandate.sealed_request == most


def test_an_approval_is_looked_for_only_where_there_is_one(stage: Stage) -> None:
    mandate = read_envelope(stage.envelope()).mandate
    assert approved_input(stage.homes[AUTHORITY], mandate, column(OURS)).seed is None


def ask_of(stage: Stage, mandate: bytes, ruleset: Ruleset) -> Ask:
    return replace(stage.ask(OURS, mandate=mandate), ruleset=ruleset)


def test_a_list_in_another_canonical_form_is_refused(stage: Stage) -> None:
    mandate = approving(stage, prepared(stage, OURS))
    platform = stage.responder(stage.encode(THEIRS))
    ask = ask_of(stage, mandate, Ruleset(version=2, digest="cd" * 32))
    assert failed(stage.asker(stage.channel(platform)), ask).reason == "ruleset_mismatch"


def replayed(stage: Stage, mandate: bytes, values: list[bytes], salt: bytes | None) -> Replay:
    home = stage.homes[AUTHORITY]
    (folder,) = home.exchanges_path.iterdir()
    sealed = (folder / "opening.sealed").read_bytes()
    opening = unseal_opening(sealed, bytes.fromhex(folder.name), home.sealing_key())
    trust = {name: party.card for name, party in stage.homes.items()}
    signed = signed_requests(stage.homes[PLATFORM].log_path, trust, folder.name)
    commitment = read_envelope(mandate).mandate.input_commitment
    return replay(
        replace(signed, input_commitment=commitment), opening, column(values), input_salt=salt
    )


def test_a_replay_finds_a_list_that_the_mandate_does_not_commit_to(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The platform cannot see it, and every signature is good; salt and opening show it."""
    request = prepared(stage, OURS, sealed=False)
    mandate = approving(stage, request)
    salt = opened_by_the_court(stage, request).secret
    asked = [*OURS[:-1], OTHER]
    lying(monkeypatch)
    stage.exchange(stage.responder(stage.encode(THEIRS)), stage.ask(asked, mandate=mandate))
    assert replayed(stage, mandate, asked, salt).fault is ReplayFault.INPUT_DIFFERS
    without = replayed(stage, mandate, asked, None)
    assert (without.fault, without.input_checked) == (None, False)


def test_a_replay_bears_out_the_list_that_the_mandate_commits_to(stage: Stage) -> None:
    request = prepared(stage, OURS, sealed=False)
    mandate = approving(stage, request)
    salt = opened_by_the_court(stage, request).secret
    stage.exchange(stage.responder(stage.encode(THEIRS)), stage.ask(OURS, mandate=mandate))
    found = replayed(stage, mandate, OURS, salt)
    assert (found.fault, found.input_checked) == (None, True)


# Interrupted and gone on with.


def interrupted(stage: Stage, mandate: bytes) -> None:
    """Lose the connection for good once the first frame has been answered."""
    platform = stage.responder(stage.encode(THEIRS))
    dying = Dying(platform, stage.caller(), Call.EVALUATE, after=True)
    failed(stage.asker(dying), stage.ask(OURS, mandate=mandate))


def served_again(stage: Stage) -> Platform:
    """Return the platform's side as its next process has it."""
    home = stage.homes[PLATFORM]
    store = DatasetStore(home.datasets_path, public_key=home.card.log_key, vault=home.vault)
    stage.platform.register.close()
    stage.platform = stage.side(PLATFORM)
    platform = stage.responder(EncodedOffering(store.open(NAME)))
    platform.recover()
    return platform


def test_an_interrupted_exchange_goes_on_under_the_same_approval(
    stage: Stage, evaluations: list[int]
) -> None:
    mandate = approving(stage, prepared(stage, OURS), max_rows_total=len(OURS))
    interrupted(stage, mandate)
    (outcome,) = resumed(stage, served_again(stage), OURS)
    assert isinstance(outcome, Outcome)
    assert outcome.matched.to_pylist() == COMMON
    assert spent(stage, mandate) == len(OURS)
    assert endings(stage) == (["closed"], ["closed"])


def test_a_platform_that_starts_again_still_compares_every_frame(
    stage: Stage, evaluations: list[int]
) -> None:
    mandate = approving(stage, prepared(stage, OURS))
    interrupted(stage, mandate)
    evaluations.clear()
    sealed = read_envelope(mandate).mandate.sealed_request
    assert sealed is not None
    seen: list[int] = []

    def noting(exchange: OpenedExchange, index: int, digest: bytes) -> None:
        assert exchange.mandate.mandate.sealed_request == sealed
        assert sealed.approves(index, digest)
        seen.append(index)
        require(exchange, index, digest)

    require = OpenedExchange._require_approved
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenedExchange, "_require_approved", noting)
        resumed(stage, served_again(stage), OURS)
    assert {1, 2} <= set(seen)
