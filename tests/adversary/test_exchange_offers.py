"""Offers that are replayed, misdirected or made in another's name; datasets that are not what they seem."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from hostile_exchange import (
    COMMON,
    OURS,
    SECOND_AUTHORITY,
    THEIRS,
    Line,
    endings,
    entries,
    failed,
    run,
    told,
    verified,
)
from stage import AUTHORITY, ISSUER, PLATFORM, Side, Stage

from psishare.client import init_party
from psishare.datasets.manifest import LABEL, parse_manifest
from psishare.errors import (
    AuthorisationError,
    ExitCode,
    ProtocolError,
    PsishareError,
    VerificationError,
)
from psishare.evidence.verify import verify_log
from psishare.exchange.offer import OFFER, Answer, Offer
from psishare.exchange.register import State
from psishare.keys.statement import sign_statement
from psishare.psi import suite
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call, Caller

if TYPE_CHECKING:
    from collections.abc import Callable

    from psishare.exchange.ask import Ask
    from psishare.exchange.platform import Platform

pytestmark = pytest.mark.usefixtures("impatient")

ECDH = suite.Protocol.ECDH


def ask(stage: Stage, **changes: Any) -> Ask:
    return stage.ask(OURS[:10], **({"protocol": ECDH} | changes))


def serving(stage: Stage, **options: Any) -> Platform:
    return stage.responder(stage.listing(THEIRS), **options)


def second_authority(stage: Stage) -> tuple[Side, Caller]:
    """Let another authority, pinned as well, appear on the stage."""
    home = init_party(
        stage.homes[AUTHORITY].path.parent / SECOND_AUTHORITY,
        party_id=SECOND_AUTHORITY,
        role="authority",
        display_name="Customs",
    )
    stage.homes[SECOND_AUTHORITY] = home
    stage.pin(PLATFORM, SECOND_AUTHORITY)
    stage.pin(SECOND_AUTHORITY, PLATFORM)
    stage.platform.peers.reload()
    return stage.side(SECOND_AUTHORITY), Caller(home.tls_identity().certificate_sha256)


# The same offer again.


def test_an_offer_that_comes_twice_before_a_frame_gets_the_same_answer(stage: Stage) -> None:
    through = Line(serving(stage), stage.caller())
    answers: list[bytes] = []

    def again(response: wire.OfferResponse) -> None:
        answers.append(response.answer.document)
        repeated = wire.OfferResponse.FromString(through.again(Call.OFFER))
        answers.append(repeated.answer.document)

    through.responses[Call.OFFER] = again
    stage.asker(through).exchange(ask(stage))
    assert len(set(answers)) == 1
    assert endings(stage) == (["closed"], ["closed"])
    assert [t for t, _ in told(stage, PLATFORM)] == ["exchange.opened", "exchange.closed"]


@pytest.mark.parametrize("when", ["after a frame", "after the close", "after an abort"])
def test_an_offer_that_is_replayed_later_is_refused_and_logged(stage: Stage, when: str) -> None:
    platform = serving(stage, idle_timeout_s=-1)
    through = Line(platform, stage.caller())
    refusals: list[PsishareError] = []

    def replay(_message: object) -> None:
        try:
            through.again(Call.OFFER)
        except PsishareError as error:
            refusals.append(error)

    if when == "after a frame":
        through.responses[Call.EVALUATE] = replay
        stage.asker(through).exchange(stage.ask(OURS[:7], protocol=ECDH))
    elif when == "after the close":
        stage.asker(through).exchange(ask(stage))
        replay(None)
    else:
        through.responses[Call.FETCH] = lambda _response: platform.expire()
        failed(stage.asker(through), ask(stage))
        replay(None)
    (refusal,) = refusals
    if when == "after an abort":
        # Whoever makes it again learns that it has ended, which stands in the log already.
        assert (type(refusal), refusal.reason) == (ProtocolError, "exchange_ended")
        assert told(stage, PLATFORM)[-1] == ("exchange.aborted", "peer_silent")
    else:
        assert (type(refusal), refusal.reason) == (AuthorisationError, "exchange_repeated")
        assert ("exchange.refused", "exchange_repeated") in told(stage, PLATFORM)
    # The exchange itself ended as it would have.
    ending = "aborted" if when == "after an abort" else "closed"
    assert endings(stage) == ([ending], [ending])
    mandate_rows = stage.rooms().budget.open_exchanges()
    assert mandate_rows == ()


def test_one_offer_many_times_at_once_is_opened_once(stage: Stage) -> None:
    through = Line(serving(stage), stage.caller())
    documents: set[bytes] = set()
    errors: list[PsishareError] = []

    def together(response: wire.OfferResponse) -> None:
        documents.add(response.answer.document)
        through.responses.clear()

        def again() -> None:
            try:
                repeated = wire.OfferResponse.FromString(through.again(Call.OFFER))
                documents.add(repeated.answer.document)
            except PsishareError as error:
                errors.append(error)

        threads = [threading.Thread(target=again) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    through.responses[Call.OFFER] = together
    stage.asker(through).exchange(ask(stage))
    assert (len(documents), errors) == (1, [])
    assert endings(stage) == (["closed"], ["closed"])


def test_many_closes_at_once_close_once(stage: Stage) -> None:
    through = Line(serving(stage), stage.caller())
    signatures: set[bytes] = set()

    def together(request: wire.CloseRequest) -> None:
        through.requests.clear()

        def close() -> None:
            response: Any = through.call(Call.CLOSE, request)
            signatures.add(response.countersignature)

        threads = [threading.Thread(target=close) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    through.requests[Call.CLOSE] = together
    stage.asker(through).exchange(ask(stage))
    assert len(signatures) == 1
    assert [t for t, _ in told(stage, PLATFORM)] == ["exchange.opened", "exchange.closed"]
    verified(stage)


@pytest.mark.parametrize("rival", ["abort", "expire", "stop", "bad frame"])
def test_a_close_and_a_rival_end_give_one_end(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, rival: str
) -> None:
    platform = serving(stage, idle_timeout_s=-1 if rival == "expire" else 300)
    through = Line(platform, stage.caller())
    append = stage.platform.log.append
    rivals: list[threading.Thread] = []

    def compete(exchange_id: bytes) -> None:
        match rival:
            case "abort":
                through.call(Call.ABORT, wire.AbortRequest(exchange_id=exchange_id))
            case "expire":
                platform.expire()
            case "stop":
                platform.stop()
            case _:
                with pytest.raises(ProtocolError):
                    through.call(Call.EVALUATE, wire.EvaluateRequest(exchange_id=exchange_id))

    def slowly(entry: Any) -> Any:
        # The rival comes while the closing is on its way to the log.
        if entry.type == "exchange.closed" and not rivals:
            thread = threading.Thread(target=compete, args=(bytes.fromhex(entry.exchange_id),))
            rivals.append(thread)
            thread.start()
        return append(entry)

    monkeypatch.setattr(platform._rooms.log, "append", slowly)
    stage.asker(through).exchange(ask(stage))
    (thread,) = rivals
    thread.join()
    assert [t for t, _ in told(stage, PLATFORM)] == ["exchange.opened", "exchange.closed"]
    assert endings(stage) == (["closed"], ["closed"])


# In another's name, on another connection, for another platform.


def test_a_pinned_party_cannot_greet_in_anothers_name(stage: Stage) -> None:
    _side, caller = second_authority(stage)
    line = Line(serving(stage), caller)
    with pytest.raises(AuthorisationError) as raised:
        line.call(Call.HELLO, wire.HelloRequest(authority=AUTHORITY, wire_versions=[3]))
    assert raised.value.reason == "peer_impersonation"
    assert raised.value.exit_code is ExitCode.REFUSED


def test_a_pinned_party_cannot_offer_in_anothers_name(stage: Stage) -> None:
    side, caller = second_authority(stage)
    platform = serving(stage)
    mandate = stage.envelope()

    def pose(request: wire.OfferRequest) -> None:
        """Make the offer out in the name of the authority that the mandate is for."""
        offer = Offer.parse(request.offer.document)
        posed = offer.model_copy(update={"authority": AUTHORITY})
        request.offer.document = posed.document()
        signer = stage.homes[SECOND_AUTHORITY].log_signer()
        request.offer.signature = sign_statement(signer, OFFER, posed.document())

    line = Line(platform, caller, requests={Call.OFFER: pose})
    error = failed(stage.asker(line, side), ask(stage, mandate=mandate))
    assert (type(error), error.reason) == (AuthorisationError, "peer_impersonation")
    assert told(stage, PLATFORM) == [("exchange.refused", "peer_impersonation")]
    (refusal,) = [e for e in entries(stage, PLATFORM) if e.type == "exchange.refused"]
    assert refusal.fields["peer"] == SECOND_AUTHORITY
    verified(stage)


def test_an_authority_cannot_use_a_mandate_for_another(stage: Stage) -> None:
    side, caller = second_authority(stage)
    error = failed(stage.asker(Line(serving(stage), caller), side), ask(stage))
    assert (type(error), error.reason) == (AuthorisationError, "mandate_other_authority")
    assert told(stage, PLATFORM) == [("exchange.refused", "mandate_other_authority")]
    verified(stage)


def test_a_stolen_offer_is_refused_and_does_not_take_its_owners_id(stage: Stage) -> None:
    _side, thief = second_authority(stage)
    platform = serving(stage)
    through = Line(platform, stage.caller())

    def steal(request: wire.OfferRequest) -> None:
        # The thief is quicker: it sends the very offer before its owner does.
        through.requests.clear()
        with pytest.raises(AuthorisationError) as raised:
            Line(platform, thief).call(Call.OFFER, request)
        assert raised.value.reason == "peer_impersonation"

    through.requests[Call.OFFER] = steal
    stage.asker(through).exchange(ask(stage))
    assert told(stage, PLATFORM) == [
        ("exchange.refused", "peer_impersonation"),
        ("exchange.opened", None),
        ("exchange.closed", None),
    ]
    # Two verdicts under one id: what the thief was told, and what the owner got.
    assert endings(stage) == (["refused", "closed"], ["closed"])


MISDIRECTED: dict[str, Any] = {
    "authority_certificate": "ab" * 32,
    "platform_certificate": "ab" * 32,
    "platform": "bank.example",
}


def resigned(stage: Stage, **changes: Any) -> Callable[[Any], None]:
    def change(request: wire.OfferRequest) -> None:
        offer = Offer.parse(request.offer.document).model_copy(update=changes)
        request.offer.document = offer.document()
        signer = stage.homes[AUTHORITY].log_signer()
        request.offer.signature = sign_statement(signer, OFFER, offer.document())

    return change


@pytest.mark.parametrize("field", MISDIRECTED)
def test_an_offer_for_another_connection_is_refused(stage: Stage, field: str) -> None:
    change = resigned(stage, **{field: MISDIRECTED[field]})
    line = Line(serving(stage), stage.caller(), requests={Call.OFFER: change})
    error = failed(stage.asker(line), ask(stage))
    assert (type(error), error.reason) == (ProtocolError, "offer_misdirected")
    assert error.exit_code is ExitCode.PROTOCOL
    assert (
        told(stage, PLATFORM)
        == told(stage, AUTHORITY)
        == [("exchange.refused", "offer_misdirected")]
    )
    verified(stage)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"wire_version": 2}, ("version 2", "version 3")),
        ({"suite": "P384-SHA384"}, ("P384-SHA384", "ristretto255-SHA512")),
    ],
)
def test_an_offer_of_another_version_is_refused_and_the_sentence_says_both(
    stage: Stage, changes: dict[str, Any], said: tuple[str, str]
) -> None:
    line = Line(serving(stage), stage.caller(), requests={Call.OFFER: resigned(stage, **changes)})
    error = failed(stage.asker(line), ask(stage))
    assert (type(error), error.reason) == (AuthorisationError, "version_mismatch")
    assert all(words in error.message for words in said)
    assert told(stage, PLATFORM) == [("exchange.refused", "version_mismatch")]


# A platform that is not what it says.


@pytest.mark.parametrize("field", ["platform", "certificate_sha256", "wire_versions"])
def test_authority_stops_before_its_offer_where_the_greeting_is_wrong(
    stage: Stage, field: str
) -> None:
    def spoil(response: wire.HelloResponse) -> None:
        match field:
            case "platform":
                response.platform = "bank.example"
            case "certificate_sha256":
                response.certificate_sha256 = bytes(32)
            case _:
                response.wire_versions[:] = [2, 4]

    line = Line(serving(stage), stage.caller(), responses={Call.HELLO: spoil})
    error = failed(stage.asker(line), ask(stage))
    reason = "version_mismatch" if field == "wire_versions" else "peer_certificate"
    assert (type(error), error.reason) == (ProtocolError, reason)
    assert told(stage, PLATFORM) == told(stage, AUTHORITY) == []


ANSWERS: dict[str, Any] = {
    "exchange_id": "ab" * 32,
    "platform": "bank.example",
    "dataset": "suppliers",
    "epoch": 7,
    "manifest_sha256": "ab" * 32,
    "opening_commitment": None,
}


@pytest.mark.parametrize("field", ANSWERS)
def test_authority_sends_no_frame_on_an_answer_to_another_offer(stage: Stage, field: str) -> None:
    def lie(response: wire.OfferResponse) -> None:
        answer = Answer.parse(response.answer.document).model_copy(update={field: ANSWERS[field]})
        response.answer.document = answer.document()
        signer = stage.homes[PLATFORM].log_signer()
        response.answer.signature = sign_statement(signer, "answer", answer.document())

    line = Line(serving(stage), stage.caller(), responses={Call.OFFER: lie})
    error = failed(stage.asker(line), ask(stage))
    assert (type(error), error.reason) == (ProtocolError, "answer_misdirected")
    assert not [call for call, _ in line.passed if call is Call.EVALUATE]
    assert endings(stage) == (["aborted"], ["aborted"])


def test_authority_refuses_an_answer_that_the_platform_did_not_sign(stage: Stage) -> None:
    def lie(response: wire.OfferResponse) -> None:
        signer = stage.homes[ISSUER].log_signer()
        response.answer.signature = sign_statement(signer, "answer", response.answer.document)

    line = Line(serving(stage), stage.caller(), responses={Call.OFFER: lie})
    error = failed(stage.asker(line), ask(stage))
    assert (type(error), error.reason) == (ProtocolError, "answer_invalid")
    assert endings(stage) == (["aborted"], ["aborted"])


@pytest.mark.parametrize("reason", ["made_up_by_a_peer", "_", "mandate_expired", "x" * 64])
def test_only_reasons_of_the_table_enter_the_log(stage: Stage, reason: str) -> None:
    class Liar:
        def answer(self, call: Call, request: Any, caller: Caller) -> Any:
            if call is Call.FETCH:
                raise ProtocolError("a sentence", mend="Nothing.", reason=reason)
            return platform.answer(call, request, caller)

    platform = serving(stage)
    error = failed(stage.asker(stage.channel(Liar())), ask(stage))
    assert error.reason == reason
    assert told(stage, AUTHORITY)[-1] == ("exchange.aborted", "protocol_violated")
    verified(stage)


@pytest.mark.parametrize("call", [Call.OFFER, Call.EVALUATE, Call.CLOSE])
def test_a_refusal_out_of_its_place_is_no_refusal_of_the_offer(stage: Stage, call: Call) -> None:
    class Liar:
        def answer(self, made: Call, request: Any, caller: Caller) -> Any:
            response = platform.answer(made, request, caller)
            if made is call:
                raise AuthorisationError("no", mend="No.", reason="policy_kind")
            return response

    platform = serving(stage, idle_timeout_s=-1)
    error = failed(stage.asker(stage.channel(Liar())), ask(stage))
    assert error.reason == "policy_kind"
    platform.expire()
    expected = {
        # It opened, and says that it refuses: the two logs contradict each other.
        Call.OFFER: (["aborted"], ["refused"]),
        Call.EVALUATE: (["aborted"], ["aborted"]),
        Call.CLOSE: (["closed"], ["open"]),
    }
    theirs, ours = (
        [exchange.ending.value for exchange in _verdicts(stage)[party].exchanges]
        for party in (PLATFORM, AUTHORITY)
    )
    assert (theirs, ours) == expected[call]


def _verdicts(stage: Stage) -> Any:
    trust = {name: home.card for name, home in stage.homes.items()}
    return {
        party: verify_log(stage.homes[party].log_path, trust) for party in (PLATFORM, AUTHORITY)
    }


# Datasets.


def delivering(stage: Stage, **changes: Any) -> Line:
    return Line(stage.responder(stage.encode(THEIRS)), stage.caller(), **changes)


def not_used(stage: Stage) -> None:
    """Assert that no offer was made, and that the next synchronisation with the truth succeeds."""
    assert told(stage, PLATFORM) == told(stage, AUTHORITY) == []
    assert "dataset.delivered" not in [e.type for e in entries(stage, AUTHORITY)]
    verified(stage)


def _flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def _of_another_key(stage: Stage, response: wire.ManifestResponse) -> None:
    signer = stage.homes[ISSUER].log_signer()
    response.manifest.signature = sign_statement(signer, LABEL, response.manifest.document)


def _altered(**changes: Any) -> Callable[[Stage, wire.ManifestResponse], None]:
    def alter(stage: Stage, response: wire.ManifestResponse) -> None:
        manifest = parse_manifest(response.manifest.document).model_copy(update=changes)
        signer = stage.homes[PLATFORM].log_signer()
        response.manifest.document = manifest.document()
        response.manifest.signature = sign_statement(signer, LABEL, manifest.document())

    return alter


def _unlogged(stage: Stage, response: wire.ManifestResponse) -> None:
    entry = response.published_entry
    response.published_entry = entry.replace(b'"epoch":1', b'"epoch":2')


def _other_entry(stage: Stage, response: wire.ManifestResponse) -> None:
    log = stage.platform.log
    response.published_entry, response.published_index = log.entry(0), 0
    response.inclusion[:] = log.inclusion_proof(0, log.size)


def _no_proof(_stage: Stage, response: wire.ManifestResponse) -> None:
    del response.inclusion[:]


MANIFESTS: dict[str, Callable[[Stage, wire.ManifestResponse], None]] = {
    "signed by another": _of_another_key,
    "unpublished: other items": _altered(items=0, shards=[]),
    "unpublished: another public key": _altered(public_key="ab" * 32),
    "unpublished: another epoch": _altered(epoch=2),
    "of another dataset": _altered(dataset="suppliers"),
    "of another platform": _altered(platform="bank.example"),
    "entry that is not in the log": _unlogged,
    "entry of another type": _other_entry,
    "without its proof": _no_proof,
}


@pytest.mark.parametrize("what", MANIFESTS)
def test_authority_uses_no_manifest_that_the_platforms_log_does_not_name(
    stage: Stage, what: str
) -> None:
    line = delivering(
        stage, responses={Call.MANIFEST: lambda response: MANIFESTS[what](stage, response)}
    )
    error = failed(stage.asker(line), stage.ask(OURS))
    assert (type(error), error.reason) == (ProtocolError, "manifest_invalid")
    assert (error.exit_code, error.party) == (ExitCode.PROTOCOL, PLATFORM)
    not_used(stage)


def _shard_flipped(response: wire.ShardResponse) -> None:
    response.data = _flip(response.data, len(response.data) // 2)


def _shard_short(response: wire.ShardResponse) -> None:
    response.data = b""


def _shard_long(response: wire.ShardResponse) -> None:
    response.data += b"\0"


def _shard_unsorted(response: wire.ShardResponse) -> None:
    response.data = response.data[::-1]


@pytest.mark.parametrize(
    "spoil",
    [_shard_flipped, _shard_short, _shard_long, _shard_unsorted],
    ids=lambda spoil: spoil.__name__[1:],
)
def test_authority_uses_no_shard_that_is_not_what_the_manifest_says(
    stage: Stage, spoil: Callable[[Any], None]
) -> None:
    line = delivering(stage, responses={Call.SHARD: spoil})
    mandate = stage.envelope()
    error = failed(stage.asker(line), stage.ask(OURS, mandate=mandate))
    assert (type(error), error.reason) == (VerificationError, "shard_invalid")
    assert error.exit_code is ExitCode.AUDIT
    not_used(stage)
    # What was wrong is gone: the truth can be had at once.
    line.responses.clear()
    outcome = stage.asker(line).exchange(stage.ask(OURS, mandate=mandate))
    assert outcome.matched.to_pylist() == COMMON
    verified(stage)


def test_a_shard_comes_in_pieces_and_a_broken_synchronisation_goes_on_where_it_stopped(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("psishare.exchange.delivery.PIECE_BYTES", 50)
    offsets: list[int] = []

    def note(request: wire.ShardRequest) -> None:
        offsets.append(request.offset)
        if request.offset == 100 and offsets.count(100) == 1:
            raise KeyboardInterrupt

    line = delivering(stage, requests={Call.SHARD: note})
    asked = stage.ask(OURS, mandate=stage.envelope())
    with pytest.raises(KeyboardInterrupt):
        stage.asker(line).exchange(asked)
    assert stage.asker(line).exchange(asked).matched.to_pylist() == COMMON
    assert offsets[:4] == [0, 50, 100, 100]
    verified(stage)


@pytest.mark.parametrize(
    "changes",
    [{"manifest_sha256": bytes(32)}, {"shard": 1}, {"offset": 10**9}, {"offset": 2**64 - 1}],
    ids=["another manifest", "shard", "offset", "far offset"],
)
def test_platform_delivers_nothing_beyond_its_manifest(
    stage: Stage, changes: dict[str, Any]
) -> None:
    def change(request: wire.ShardRequest) -> None:
        for name, value in changes.items():
            setattr(request, name, value)

    error = failed(stage.asker(delivering(stage, requests={Call.SHARD: change})), stage.ask(OURS))
    assert (type(error), error.reason) == (ProtocolError, "shard_unknown")
    not_used(stage)


def test_an_offer_on_an_epoch_that_is_gone_is_refused(stage: Stage) -> None:
    older, newer = stage.encode(THEIRS), stage.encode(THEIRS[3:])
    mandate = stage.envelope()
    before = stage.responder(older)
    after = stage.responder(newer)

    class Renewing:
        """A platform whose dataset has a new epoch between delivery and offer."""

        def answer(self, call: Call, request: Any, caller: Caller) -> Any:
            at = before if call in {Call.MANIFEST, Call.SHARD} else after
            return at.answer(call, request, caller)

    error = failed(stage.asker(stage.channel(Renewing())), stage.ask(OURS, mandate=mandate))
    assert (type(error), error.reason) == (AuthorisationError, "manifest_mismatch")
    refusal = ("exchange.refused", "manifest_mismatch")
    assert told(stage, PLATFORM) == told(stage, AUTHORITY) == [refusal]
    verified(stage)


def test_a_dataset_whose_file_is_gone_is_not_delivered(stage: Stage) -> None:
    offering = stage.encode(THEIRS)
    next(offering.dataset.folder.glob("shard-*")).unlink()
    error = failed(stage.asker(stage.channel(stage.responder(offering))), stage.ask(OURS))
    assert error.reason == "peer_failed"
    not_used(stage)


def test_eight_first_synchronisations_at_once_make_one_copy(stage: Stage) -> None:
    platform = stage.responder(stage.encode(THEIRS))
    mandate = stage.envelope()
    outcomes: list[Any] = []

    def exchange() -> None:
        side = stage.side(AUTHORITY)
        try:
            asked = stage.ask(OURS, mandate=mandate)
            outcomes.append(run(stage.asker(stage.channel(platform), side), asked))
        finally:
            side.register.close()

    threads = [threading.Thread(target=exchange) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [outcome.matched.to_pylist() for outcome in outcomes] == [COMMON] * 8
    types = [entry.type for entry in entries(stage, AUTHORITY)]
    assert types.count("dataset.delivered") == 1
    assert endings(stage) == (["closed"] * 8, ["closed"] * 8)
    assert not stage.authority.register.pending(PLATFORM)
    states = {row.state for row in stage.platform.register.rows()}
    assert states == {State.CLOSED}
