"""Files that were changed, cut off, swapped, replayed or misaddressed are refused, and change nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from air_gap import AirGap
from hostile_exchange import endings, told, verified
from stage import AUTHORITY, OPERATOR, PLATFORM, CopiedStage, Stage

from psishare.errors import (
    AuditError,
    AuthorisationError,
    ConfigError,
    InputError,
    PeerError,
    ProtocolError,
    PsishareError,
    VerificationError,
)
from psishare.evidence.reconcile import reconcile
from psishare.exchange import offline_authority, offline_platform
from psishare.exchange.approvals import Approvals
from psishare.exchange.document import now
from psishare.exchange.journal import Journal
from psishare.exchange.opened import OpenedExchange
from psishare.exchange.parcels import Addressed, Parcels
from psishare.exchange.platform import Platform
from psishare.exchange.register import State
from psishare.exchange.rooms import AuthorityRooms
from psishare.exchange.run import Run
from psishare.mandates.policy import Approval, Policy
from psishare.psi import suite
from psishare.psi.suite import Output
from psishare.transport.parcel import FIRST_LINE_BYTES, Kind
from psishare.transport.wire_pb2 import LogHead

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OURS = [b"a%d" % i for i in range(20)]
THEIRS = [b"a%d" % i for i in range(12, 30)]
COMMON = list(range(12, 20))
ECDH: dict[str, Any] = {"protocol": suite.Protocol.ECDH}


@pytest.fixture
def gap(stage: Stage, tmp_path: Path) -> AirGap:
    return AirGap(stage, tmp_path, stage.listing(THEIRS))


def reason(call: Callable[[], object], kind: type[PsishareError] = PsishareError) -> str:
    with pytest.raises(kind) as raised:
        call()
    return raised.value.reason


def changed(path: Path, place: int) -> Path:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    other = path.with_name("changed.parcel")
    other.write_bytes(bytes(data))
    return other


def cut(path: Path, n_bytes: int) -> Path:
    other = path.with_name("cut.parcel")
    other.write_bytes(path.read_bytes()[:n_bytes])
    return other


def state(stage: Stage, party: str) -> State:
    (row,) = stage.side(party).register.rows()[:1]
    return row.state


def sizes(stage: Stage) -> tuple[int, int]:
    return stage.side(PLATFORM).log.size, stage.side(AUTHORITY).log.size


# Damage on the way.


@pytest.mark.parametrize("step", ["answer", "finish", "confirm", "release"])
def test_a_damaged_parcel_changes_nothing_and_the_whole_one_goes_on(
    gap: AirGap, stage: Stage, step: str
) -> None:
    """A changed byte, a cut, a wrong file: none is looked into; then everything goes its way."""
    request = gap.request(stage.ask(OURS, **ECDH))
    parcels = {"answer": request}
    parcels["finish"] = gap.answer(request).parcel if step != "answer" else request
    if step in {"confirm", "release"}:
        parcels["confirm"] = gap.finish(OURS, parcels["finish"])
    if step == "release":
        parcels["release"] = gap.confirm(parcels["confirm"]).parcel
    steps: dict[str, Callable[[Path], Any]] = {
        "answer": gap.answer,
        "finish": lambda path: gap.finish(OURS, path),
        "confirm": gap.confirm,
        "release": lambda path: gap.release(OURS, path),
    }
    whole, before = parcels[step], sizes(stage)
    size = whole.stat().st_size
    for place in (0, FIRST_LINE_BYTES + 10, size // 2, size - 1):
        assert reason(lambda p=place: steps[step](changed(whole, p)), ProtocolError).startswith(  # type: ignore[misc]
            "parcel_"
        )
    for length in (0, 25, size // 2, size - 1):
        assert reason(lambda n=length: steps[step](cut(whole, n)), ProtocolError) in {  # type: ignore[misc]
            "parcel_malformed",
            "parcel_damaged",
        }
    assert sizes(stage) == before
    steps[step](whole)
    verified(stage)


def test_a_parcel_for_another_party_is_not_opened(gap: AirGap, stage: Stage) -> None:
    request = gap.request(stage.ask(OURS, **ECDH))
    answer = gap.answer(request).parcel
    assert reason(lambda: gap.finish(OURS, request)) == "parcel_unopened"
    assert reason(lambda: gap.answer(answer)) == "parcel_unopened"


def test_a_parcel_of_another_step_is_refused(gap: AirGap, stage: Stage) -> None:
    request = gap.request(stage.ask(OURS, **ECDH))
    answer = gap.answer(request).parcel
    assert reason(lambda: gap.confirm(request)) == "parcel_unexpected"
    assert reason(lambda: gap.release(OURS, answer)) == "parcel_unexpected"
    receipt = gap.finish(OURS, answer)
    assert reason(lambda: gap.answer(receipt)) == "parcel_unexpected"


def test_a_sender_that_is_not_pinned_is_refused(gap: AirGap, stage: Stage) -> None:
    request = gap.request(stage.ask(OURS, **ECDH))
    stage.platform.peers.remove(AUTHORITY)
    assert reason(lambda: gap.answer(request), AuthorisationError) == "peer_unknown"


# Replay.


def test_a_request_that_comes_twice_gets_the_same_bytes(gap: AirGap, stage: Stage) -> None:
    request = gap.request(stage.ask(OURS, **ECDH))
    first = gap.answer(request)
    data, before = first.parcel.read_bytes(), sizes(stage)
    # Even where it is served no more: nothing is looked at but the parcel.
    with gap.platform(stage.listing([b"other"], name="other")) as platform:
        again = platform.answer(request)
    assert (first.repeated, again.repeated) == (False, True)
    assert again.parcel.read_bytes() == data
    assert sizes(stage) == before
    receipt = gap.finish(OURS, again.parcel)
    confirmed = gap.confirm(receipt)
    data, before = confirmed.parcel.read_bytes(), sizes(stage)
    assert gap.confirm(receipt).parcel.read_bytes() == data
    # A request that comes after all is over still gets its own answer.
    assert gap.answer(request).parcel.read_bytes() == first.parcel.read_bytes()
    assert sizes(stage) == before
    assert gap.release(OURS, confirmed.parcel).matched.to_pylist() == COMMON


def test_a_request_is_charged_once_however_often_it_comes(gap: AirGap, stage: Stage) -> None:
    mandate = stage.envelope()
    request = gap.request(stage.ask(OURS, mandate=mandate, **ECDH))
    for _ in range(3):
        gap.answer(request)
    with gap.platform() as platform:
        row = stage.platform.register.rows()[0]
        assert row.mandate_id is not None
        usage = platform._rooms.budget.usage(row.mandate_id)
    assert (usage.rows, usage.exchanges) == (len(OURS), 1)


def test_another_parcel_with_an_answered_offer_is_refused(
    gap: AirGap, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An authority seals the same offer and frames again: the parcel is another one."""
    request = gap.request(stage.ask(OURS, **ECDH))
    gap.answer(request)
    row = stage.authority.register.rows()[0]
    asker = gap.authority()
    home = stage.homes[AUTHORITY]
    run = Run.again(home, home.log_signer(), row, stage.ask(OURS).identifiers)
    _encoded, driver = asker._prepare_again(run)
    again = request.with_name("again.parcel")
    asker._write_request(run, stage.ask(OURS).identifiers, driver, again)
    assert again.read_bytes() != request.read_bytes()
    before = sizes(stage)
    assert reason(lambda: gap.answer(again), AuthorisationError) == "exchange_repeated"
    assert sizes(stage) == before


def test_answers_and_confirmations_are_taken_once(gap: AirGap, stage: Stage) -> None:
    answer = gap.answer(gap.request(stage.ask(OURS, **ECDH))).parcel
    receipt = gap.finish(OURS, answer)
    data = receipt.read_bytes()
    assert gap.finish(OURS, answer).read_bytes() == data
    confirmation = gap.confirm(receipt).parcel
    assert gap.release(OURS, confirmation).matched.to_pylist() == COMMON
    assert gap.release(OURS, confirmation).matched.to_pylist() == COMMON
    gap.authority().hand_over(stage.authority.register.rows()[0].exchange_id)
    assert reason(lambda: gap.release(OURS, confirmation), InputError) == "exchange_finished"
    assert reason(lambda: gap.finish(OURS, answer), InputError) == "exchange_finished"
    verified(stage)


def test_an_answer_to_another_exchange_is_not_taken_for_this_one(gap: AirGap, stage: Stage) -> None:
    """Two requests are under way; each answer finds its own, with its own list alone."""
    other = [b"b1", b"a13"]
    first = gap.request(stage.ask(OURS, **ECDH))
    second = gap.request(stage.ask(other, **ECDH))
    answers = [gap.answer(first).parcel, gap.answer(second).parcel]
    assert reason(lambda: gap.finish(OURS, answers[1]), InputError) == "list_differs"
    receipts = [gap.finish(OURS, answers[0]), gap.finish(other, answers[1])]
    confirmations = [gap.confirm(receipt).parcel for receipt in receipts]
    assert gap.release(OURS, confirmations[0]).matched.to_pylist() == COMMON
    assert gap.release(other, confirmations[1]).matched.to_pylist() == [1]
    assert endings(stage) == (["closed", "closed"], ["closed", "closed"])


def test_an_answer_that_was_overtaken_is_taken_all_the_same(gap: AirGap, stage: Stage) -> None:
    """The later head came with the proof that it extends the earlier one."""
    requests = [gap.request(stage.ask(OURS, **ECDH)) for _ in range(3)]
    answers = [gap.answer(request).parcel for request in requests]
    for answer in reversed(answers):
        confirmation = gap.confirm(gap.finish(OURS, answer)).parcel
        assert gap.release(OURS, confirmation).matched.to_pylist() == COMMON
    assert endings(stage) == (["closed"] * 3, ["closed"] * 3)


def test_an_older_head_of_another_history_is_a_fork(
    gap: AirGap, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The platform shows in an answer that was overtaken another log than it shows later."""
    requests = [gap.request(stage.ask(OURS, **ECDH)) for _ in range(2)]
    answers = [gap.answer(request).parcel for request in requests]
    gap.finish(OURS, answers[1])
    register = stage.authority.register
    (size,) = [s for s in range(1, 20) if register.proof_of(PLATFORM, s)][-1:]
    proof = LogHead.FromString(register.proof_of(PLATFORM, size) or b"")
    proof.consistency[0] = bytes(32)
    register.keep_proofs(PLATFORM, {size: proof.SerializeToString()})
    assert reason(lambda: gap.finish(OURS, answers[0]), VerificationError) == "log_inconsistent"
    assert told(stage, AUTHORITY)[-1] == ("exchange.aborted", "log_inconsistent")


def test_a_parcel_whose_head_fits_nothing_is_stale(
    gap: AirGap, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the platform remembers was forgotten here: it says so, and the next request fits."""
    gap.exchange(stage.ask(OURS, **ECDH))
    stage.authority.register.head_known(PLATFORM, stage.authority.log.size)
    with monkeypatch.context() as patch:
        patch.setattr("psishare.exchange.parcels.last_cosigned", lambda _log, _peer: 0)
        request = gap.request(stage.ask(OURS, **ECDH))
    answered = gap.answer(request)
    assert answered.reason is None
    assert reason(lambda: gap.finish(OURS, answered.parcel), PeerError) == "log_head_stale"
    assert told(stage, AUTHORITY)[-1] == ("exchange.aborted", "log_head_stale")
    assert gap.exchange(stage.ask(OURS, **ECDH)).matched.to_pylist() == COMMON


def test_what_a_platform_has_cosigned_is_known_of_it_again(gap: AirGap, stage: Stage) -> None:
    """What was forgotten stands in the log itself, beside the checkpoint."""
    gap.exchange(stage.ask(OURS, **ECDH))
    stage.authority.register.head_known(PLATFORM, stage.authority.log.size)
    assert gap.exchange(stage.ask(OURS, **ECDH)).matched.to_pylist() == COMMON


def test_requests_may_be_answered_in_any_order(gap: AirGap, stage: Stage) -> None:
    requests = [gap.request(stage.ask(OURS, **ECDH)) for _ in range(3)]
    answered = [gap.answer(request) for request in reversed(requests)]
    for each in answered:
        confirmation = gap.confirm(gap.finish(OURS, each.parcel)).parcel
        assert gap.release(OURS, confirmation).matched.to_pylist() == COMMON


# Misaddressed offers: the ends that an offer binds.


def test_an_offline_offer_is_worth_nothing_on_a_connection(
    stage: Stage, gap: AirGap, monkeypatch: pytest.MonkeyPatch
) -> None:
    responder = stage.responder(stage.listing(THEIRS))
    asker = stage.asker(stage.channel(responder))
    monkeypatch.setattr(asker, "_own_end", lambda: stage.homes[AUTHORITY].card.offline_end)
    assert reason(lambda: asker.exchange(stage.ask(OURS, **ECDH))) == "offer_misdirected"


def test_an_offer_made_for_a_connection_is_worth_nothing_in_a_parcel(
    stage: Stage, gap: AirGap, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = stage.homes[AUTHORITY].tls_identity().certificate_sha256
    monkeypatch.setattr(offline_authority.OfflineAuthority, "_own_end", lambda _self: digest)
    answered = gap.answer(gap.request(stage.ask(OURS, **ECDH)))
    assert (answered.state, answered.reason) == (State.REFUSED, "offer_misdirected")
    assert told(stage, PLATFORM)[-1] == ("exchange.refused", "offer_misdirected")
    assert reason(lambda: gap.finish(OURS, answered.parcel)) == "offer_misdirected"
    assert told(stage, AUTHORITY)[-1] == ("exchange.refused", "offer_misdirected")


# Refusals, budgets, mandates.


@pytest.mark.parametrize(
    ("changes", "policy", "code"),
    [
        ({"max_rows_per_exchange": 5}, Policy(), "mandate_over_rows"),
        ({"max_rows_total": 5, "max_rows_per_exchange": 5}, Policy(), "mandate_over_rows"),
        ({"outputs": ["count"]}, Policy(), "mandate_other_output"),
        ({}, Policy(min_rows=1_000), "policy_min_rows"),
    ],
)
def test_a_refusal_travels_and_stands_in_both_logs(
    gap: AirGap, stage: Stage, changes: dict[str, Any], policy: Policy, code: str
) -> None:
    request = gap.request(stage.ask(OURS, mandate=stage.envelope(**changes), **ECDH))
    answered = gap.answer(request, policy=policy)
    assert (answered.state, answered.reason) == (State.REFUSED, code)
    assert reason(lambda: gap.finish(OURS, answered.parcel), AuthorisationError) == code
    assert told(stage, PLATFORM)[-1] == told(stage, AUTHORITY)[-1] == ("exchange.refused", code)
    # Once more: the same refusal, and nothing new in either log.
    before = sizes(stage)
    assert gap.answer(request).parcel == answered.parcel
    assert reason(lambda: gap.finish(OURS, answered.parcel), InputError) == "exchange_finished"
    assert sizes(stage) == before
    verified(stage)


def test_a_mandate_that_ends_on_the_way_closes_nothing(
    gap: AirGap, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = gap.finish(OURS, gap.answer(gap.request(stage.ask(OURS, **ECDH))).parcel)
    later = now() + timedelta(days=3)
    for name in ("platform", "opened"):
        monkeypatch.setattr(f"psishare.exchange.{name}.now", lambda: later, raising=False)
    confirmed = gap.confirm(receipt)
    monkeypatch.undo()
    assert (confirmed.state, confirmed.reason) == (State.ABORTED, "mandate_expired")
    assert state(stage, AUTHORITY) is State.PENDING


def test_a_receipt_that_differs_closes_nothing(
    gap: AirGap, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = gap.answer(gap.request(stage.ask(OURS, **ECDH))).parcel
    right = offline_authority.OfflineAuthority._close

    def wrong(self: Any, exchange_id: bytes, terms: Any, totals: Any) -> Any:
        changed = totals["answers"].model_copy(update={"rows": 19})
        return right(self, exchange_id, terms, {**totals, "answers": changed})

    monkeypatch.setattr(offline_authority.OfflineAuthority, "_close", wrong)
    confirmed = gap.confirm(gap.finish(OURS, answer))
    assert (confirmed.state, confirmed.reason) == (State.ABORTED, "receipt_differs")
    assert reason(lambda: gap.release(OURS, confirmed.parcel), ProtocolError) == "receipt_differs"
    assert endings(stage) == (["aborted"], ["aborted"])


def test_a_held_request_is_answered_once_it_is_approved(gap: AirGap, stage: Stage) -> None:
    """No parcel leaves before a second operator has approved; then the same one is answered."""
    policy = Policy(approval=Approval(always=True))
    request = gap.request(stage.ask(OURS, **ECDH))
    for _ in range(2):
        held = reason(lambda: gap.answer(request, policy=policy), AuthorisationError)
        assert held == "approval_required"
    assert list(stage.homes[PLATFORM].exchanges_path.glob("*/*.parcel")) == []
    (row,) = stage.platform.register.rows()
    approvals = Approvals(stage.rooms(policy=policy), Journal(stage.platform.log))
    signer = stage.homes[OPERATOR].log_signer()
    approvals.decide(row, operator=OPERATOR, signer=signer, verdict="approved")
    answered = gap.answer(request, policy=policy)
    confirmation = gap.confirm(gap.finish(OURS, answered.parcel), policy=policy).parcel
    assert gap.release(OURS, confirmation).matched.to_pylist() == COMMON
    verified(stage)
    trust = {name: home.card for name, home in stage.homes.items()}
    ours, theirs = (stage.homes[party].log_path for party in (AUTHORITY, PLATFORM))
    assert reconcile(ours, theirs, trust).findings == ()


# Time.


def test_a_request_that_has_expired_is_not_looked_at(
    gap: AirGap, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = gap.request(stage.ask(OURS, **ECDH), expires=now() + timedelta(hours=1))
    later = now() + timedelta(hours=2)
    monkeypatch.setattr(offline_platform, "now", lambda: later)
    before = sizes(stage)
    assert reason(lambda: gap.answer(request), ProtocolError) == "parcel_expired"
    assert sizes(stage) == before


def test_an_exchange_that_expires_is_aborted_by_each_side_at_its_next_start(
    gap: AirGap, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = gap.request(stage.ask(OURS, **ECDH), expires=now() + timedelta(hours=1))
    answer = gap.answer(request).parcel
    later = now() + timedelta(hours=2)
    for name in ("platform", "left_open", "offline_authority"):
        monkeypatch.setattr(f"psishare.exchange.{name}.now", lambda: later)
    assert stage.responder(stage.listing(THEIRS)).recover().aborted == 1
    assert told(stage, PLATFORM)[-1] == ("exchange.aborted", "peer_silent")
    assert reason(lambda: gap.finish(OURS, answer), ProtocolError) == "parcel_expired"
    assert told(stage, AUTHORITY)[-1] == ("exchange.aborted", "peer_silent")
    verified(stage)


@pytest.mark.parametrize("days", [-1, 0, 367])
def test_an_exchange_expires_after_now_and_within_a_year(
    gap: AirGap, stage: Stage, days: int
) -> None:
    ask = stage.ask(OURS, **ECDH)
    expires = now() + timedelta(days=days)
    assert reason(lambda: gap.request(ask, expires=expires), InputError) == "expiry_invalid"
    assert stage.authority.register.rows() == []


def test_a_server_that_starts_leaves_exchanges_by_files_alone(gap: AirGap, stage: Stage) -> None:
    answer = gap.answer(gap.request(stage.ask(OURS, **ECDH))).parcel
    other = stage.responder(stage.listing([b"x"], name="other"))
    assert other.recover().aborted == 0
    other.expire()
    assert stage.asker(stage.channel(other)).recover() == 0
    assert (
        gap.release(OURS, gap.confirm(gap.finish(OURS, answer)).parcel).matched.to_pylist()
        == COMMON
    )


# Interruptions between and within the steps.


class Killed(BaseException):
    """The process ends here."""


def killed(*_arguments: object, **_named: object) -> Any:
    raise Killed


def die(call: Callable[[], object]) -> None:
    with pytest.raises(Killed):
        call()


@pytest.mark.parametrize("output", list(Output))
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_an_answer_that_was_interrupted_goes_on_and_costs_nothing_more(
    gap: AirGap, stage: Stage, monkeypatch: pytest.MonkeyPatch, output: Output, nth: int
) -> None:
    mandate = stage.envelope()
    request = gap.request(stage.ask(OURS, mandate=mandate, output=output, **ECDH))
    evaluate, left = OpenedExchange.evaluate, nth

    def fatal(self: OpenedExchange, asked: Any) -> Any:
        nonlocal left
        response, left = evaluate(self, asked), left - 1
        return killed() if left == 0 else response

    monkeypatch.setattr(OpenedExchange, "evaluate", fatal)
    die(lambda: gap.answer(request))
    monkeypatch.undo()
    answered = gap.answer(request)
    assert (answered.state, answered.repeated) == (State.OPENED, False)
    confirmation = gap.confirm(gap.finish(OURS, answered.parcel)).parcel
    assert len(gap.release(OURS, confirmation).matched) == len(COMMON)
    with gap.platform() as platform:
        row = stage.platform.register.rows()[0]
        assert platform._rooms.budget.usage(row.mandate_id or "").rows == len(OURS)
    assert endings(stage) == (["closed"], ["closed"])


@pytest.mark.parametrize("output", list(Output))
@pytest.mark.parametrize("step", ["_open", "_ask_all", "_finish_close"])
def test_a_finish_that_was_interrupted_goes_on_to_the_same_receipt(
    gap: AirGap, stage: Stage, monkeypatch: pytest.MonkeyPatch, output: Output, step: str
) -> None:
    answer = gap.answer(gap.request(stage.ask(OURS, output=output, **ECDH))).parcel
    right = getattr(offline_authority.OfflineAuthority, step)

    def fatal(self: Any, *arguments: Any) -> Any:
        right(self, *arguments)
        raise Killed

    # A process that is killed runs no handler of its own.
    monkeypatch.setattr(offline_authority.OfflineAuthority, "_end", lambda *_: None)
    monkeypatch.setattr(
        offline_authority.OfflineAuthority, step, killed if step == "_finish_close" else fatal
    )
    with pytest.raises((Killed, PsishareError)):
        gap.finish(OURS, answer)
    monkeypatch.undo()
    confirmation = gap.confirm(gap.finish(OURS, answer)).parcel
    assert len(gap.release(OURS, confirmation).matched) == len(COMMON)
    assert endings(stage) == (["closed"], ["closed"])


def test_a_confirmation_that_was_interrupted_is_made_again(
    gap: AirGap, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = gap.finish(OURS, gap.answer(gap.request(stage.ask(OURS, **ECDH))).parcel)
    close = Platform._close

    def fatal(self: Platform, *arguments: Any) -> Any:
        close(self, *arguments)
        return killed()

    monkeypatch.setattr(Platform, "_close", fatal)
    die(lambda: gap.confirm(receipt))
    monkeypatch.undo()
    assert state(stage, PLATFORM) is State.CLOSED
    assert gap.release(OURS, gap.confirm(receipt).parcel).matched.to_pylist() == COMMON
    assert endings(stage) == (["closed"], ["closed"])


def test_what_is_served_no_more_is_not_confirmed_and_can_be_later(
    gap: AirGap, stage: Stage
) -> None:
    receipt = gap.finish(OURS, gap.answer(gap.request(stage.ask(OURS, **ECDH))).parcel)
    with gap.platform(stage.listing([b"x"], name="other")) as platform:
        assert reason(lambda: platform.confirm(receipt), ConfigError) == "not_restorable"
    assert state(stage, PLATFORM) is State.OPENED
    assert gap.release(OURS, gap.confirm(receipt).parcel).matched.to_pylist() == COMMON


def test_a_full_disk_leaves_no_parcel_and_the_next_try_succeeds(
    gap: AirGap, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = gap.request(stage.ask(OURS, **ECDH))

    def full(_self: object, *, overwrite: bool) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("psishare.exchange.parcels.PendingFile.publish", full)
        assert reason(lambda: gap.answer(request), AuditError) == "state_write_failed"
    folder = stage.homes[PLATFORM].exchanges_path
    assert list(folder.glob("*/*.parcel")) == []
    assert gap.answer(request).state is State.OPENED


def test_a_request_that_cannot_be_written_is_aborted(
    gap: AirGap, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: object, *, overwrite: bool) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("psishare.exchange.parcels.PendingFile.publish", full)
    assert reason(lambda: gap.request(stage.ask(OURS, **ECDH)), AuditError) == "state_write_failed"
    assert told(stage, AUTHORITY)[-1] == ("exchange.aborted", "state_write_failed")


# Logs that were restored.


def test_a_platform_whose_log_was_restored_writes_nothing(
    gap: AirGap, stage: Stage, tmp_path: Path
) -> None:
    old = CopiedStage(stage.homes[PLATFORM].path.parent, tmp_path / "old")
    first = gap.request(stage.ask(OURS, **ECDH))
    gap.finish(OURS, gap.answer(first).parcel)
    second = gap.request(stage.ask(OURS, **ECDH))
    restored = AirGap(old, tmp_path, old.listing(THEIRS))
    assert reason(lambda: restored.answer(second), VerificationError) == "log_rolled_back"
    assert sizes(old)[0] == 1
    old.close()


# Datasets.


def test_a_dataset_is_delivered_under_its_mandate_alone(stage: Stage, tmp_path: Path) -> None:
    gap = AirGap(stage, tmp_path, stage.encode(THEIRS))
    mandate = stage.envelope()
    parcel = gap.export(mandate)
    other = stage.envelope()
    assert reason(lambda: gap.synchronise(parcel, other), AuthorisationError) == "mandate_mismatch"
    gap.synchronise(parcel, mandate)
    gap.synchronise(parcel, mandate)
    assert stage.entries(PLATFORM).count("dataset.delivered") == 1
    assert stage.entries(AUTHORITY).count("dataset.delivered") == 1
    verified(stage)


def test_a_dataset_that_the_mandate_does_not_cover_is_not_exported(
    stage: Stage, tmp_path: Path
) -> None:
    gap = AirGap(stage, tmp_path, stage.encode(THEIRS))
    expired = stage.envelope(
        not_after=now() - timedelta(hours=6), not_before=now() - timedelta(days=1)
    )
    assert reason(lambda: gap.export(expired), AuthorisationError) == "mandate_expired"
    assert list(tmp_path.glob("*.parcel")) == []
    assert told(stage, PLATFORM)[-1] == ("dataset.refused", "mandate_expired")


def test_nothing_is_asked_without_the_dataset(stage: Stage, tmp_path: Path) -> None:
    gap = AirGap(stage, tmp_path, stage.encode(THEIRS))
    assert reason(lambda: gap.request(stage.ask(OURS)), ConfigError) == "dataset_unknown"
    assert stage.authority.register.rows() == []


def test_a_newer_epoch_is_refused_by_the_platform(stage: Stage, tmp_path: Path) -> None:
    gap = AirGap(stage, tmp_path, stage.encode(THEIRS))
    ask = stage.ask(OURS)
    gap.synchronised(ask)
    request = gap.request(ask)
    with gap.platform(stage.encode([*THEIRS, b"more"])) as platform:
        answered = platform.answer(request)
    assert answered.reason == "manifest_mismatch"
    assert told(stage, PLATFORM)[-1] == ("exchange.refused", "manifest_mismatch")


def test_a_copy_that_was_replaced_meanwhile_aborts_nothing(stage: Stage, tmp_path: Path) -> None:
    gap = AirGap(stage, tmp_path, stage.encode(THEIRS))
    ask = stage.ask(OURS, mandate=stage.envelope(standing=True))
    gap.synchronised(ask)
    answer = gap.answer(gap.request(ask)).parcel
    gap.offerings = (stage.encode([*THEIRS, b"more"]),)
    gap.synchronised(ask)
    assert reason(lambda: gap.finish(OURS, answer), ConfigError) == "dataset_replaced"
    assert state(stage, AUTHORITY) is State.OFFERED


# A platform that answers amiss, in a parcel that is its own.


def remade(
    gap: AirGap, stage: Stage, answer: Path, order: Callable[[list[int]], list[int]]
) -> Path:
    """Make an answer anew with its records in another order, as its maker could."""
    (row,) = stage.authority.register.rows()
    with gap.taken(answer, Kind.ANSWER) as parcel:
        head, heads = parcel.head, parcel.heads
        records = [parcel.record(i) for i in order(list(range(len(parcel))))]
    side = stage.platform
    rooms = AuthorityRooms(side.home, side.peers, side.log, side.register)
    addressed = Addressed(
        Kind.ANSWER,
        side.peers.get(AUTHORITY),
        row.exchange_id,
        head.mandate_sha256,
        head.expires,
        head.version,
    )
    path = gap.path / "remade.parcel"
    with Parcels(rooms).making(path, addressed) as out:
        out.add_heads([LogHead.FromString(each) for each in heads])
        for tag, data in records:
            out.add_raw(tag, data)
    return path


ORDERS: dict[str, tuple[Callable[[list[int]], list[int]], str]] = {
    "short": (lambda places: places[:-1], "parcel_malformed"),
    "long": (lambda places: [*places, places[-1]], "parcel_malformed"),
    "reordered": (lambda places: [places[1], places[0], *places[2:]], "parcel_malformed"),
    "swapped elements": (lambda places: [*places[:-2], places[-1], places[-2]], "frame_malformed"),
}


@pytest.mark.parametrize("name", ORDERS)
def test_an_answer_with_records_amiss_is_aborted(gap: AirGap, stage: Stage, name: str) -> None:
    order, code = ORDERS[name]
    answer = gap.answer(gap.request(stage.ask(OURS, **ECDH))).parcel
    wrong = remade(gap, stage, answer, order)
    assert reason(lambda: gap.finish(OURS, wrong), ProtocolError) == code
    assert told(stage, AUTHORITY)[-1] == ("exchange.aborted", code)
    folder = stage.homes[AUTHORITY].exchanges_path
    assert list(folder.glob("*/receipt.parcel")) == []
    verified(stage)


def test_answers_that_were_swapped_do_not_come_to_a_receipt(gap: AirGap, stage: Stage) -> None:
    """Two frames of answers change places: the transcripts differ, and nothing closes."""
    answer = gap.answer(gap.request(stage.ask(OURS, **ECDH))).parcel
    wrong = remade(gap, stage, answer, lambda places: [0, 2, 1, *places[3:]])
    confirmed = gap.confirm(gap.finish(OURS, wrong))
    assert (confirmed.state, confirmed.reason) == (State.ABORTED, "receipt_differs")
    assert reason(lambda: gap.release(OURS, confirmed.parcel), ProtocolError) == "receipt_differs"
    assert endings(stage) == (["aborted"], ["aborted"])
