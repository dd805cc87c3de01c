"""Frames that are forged, replayed, reordered, changed or malformed, in both directions."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hostile_exchange import OURS, THEIRS, Line, endings, entries, failed, told, verified
from stage import AUTHORITY, ISSUER, PLATFORM, Stage

from psishare import _native
from psishare.client import init_party
from psishare.errors import ExitCode, ProtocolError, PsishareError
from psishare.exchange.frame import decode_frame, encode_frame, frame_schema
from psishare.exchange.offering import EncodedOffering, ListOffering
from psishare.exchange.transcript import (
    REQUEST,
    RETURN,
    Transcript,
    frame_digest,
    frame_statement,
)
from psishare.keys.statement import sign_statement
from psishare.mandates.envelope import read_envelope
from psishare.psi import suite
from psishare.psi.channel import EvaluatedFrame
from psishare.psi.ecdh import EcdhPlatform
from psishare.psi.oprf import OprfPlatform
from psishare.psi.suite import Output
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call, Caller

if TYPE_CHECKING:
    from collections.abc import Callable

    from psishare.exchange.ask import Ask

pytestmark = pytest.mark.usefixtures("impatient")

IDENTITY = bytes(32)
NOT_CANONICAL = b"\xff" * 32
NEGATIVE = (1).to_bytes(32, "little")
FOREIGN = [IDENTITY, NOT_CANONICAL, NEGATIVE]


def elements_of(batch: bytes, rows: int) -> list[bytes]:
    decoded: list[bytes] = decode_frame(batch, n_rows=rows, element_bytes=32).to_pylist()
    return decoded


def frame(elements: list[bytes]) -> bytes:
    return encode_frame(pa.array(elements, pa.binary(32)))


def with_element(batch: bytes, rows: int, place: int, element: bytes) -> bytes:
    elements = elements_of(batch, rows)
    elements[place] = element
    return frame(elements)


def ask(
    stage: Stage, protocol: suite.Protocol, output: Output = Output.MATCHES, **more: Any
) -> Ask:
    return stage.ask(OURS, protocol=protocol, output=output, **more)


def aborted(stage: Stage, error: PsishareError, reason: str, *, at_fault: str) -> None:
    """Assert that the exchange ended in a breach of the protocol, by whom, in both logs."""
    assert (type(error), error.reason) == (ProtocolError, reason)
    assert error.exit_code is ExitCode.PROTOCOL
    assert endings(stage) == (["aborted"], ["aborted"])
    by_authority = at_fault == AUTHORITY
    assert told(stage, PLATFORM)[-1][1] == (reason if by_authority else "peer_aborted")
    assert told(stage, AUTHORITY)[-1][1] == reason
    if by_authority:
        (entry,) = [e for e in entries(stage, PLATFORM) if e.type == "exchange.aborted"]
        assert entry.fields["at_fault"] == AUTHORITY
    else:
        (entry,) = [e for e in entries(stage, AUTHORITY) if e.type == "exchange.aborted"]
        assert entry.fields["at_fault"] == PLATFORM


# A dishonest platform: what it answers is not what it should.


class LyingPlatform:
    """A platform's driver whose answers go through a lie."""

    def __init__(
        self,
        honest: Any,
        *,
        answers: Callable[[EvaluatedFrame], EvaluatedFrame] | None = None,
        elements: Callable[[pa.Array], pa.Array] | None = None,
    ) -> None:
        self._honest = honest
        self._answers = answers or (lambda answer: answer)
        self._elements = elements or (lambda array: array)

    @property
    def elements(self) -> pa.FixedSizeBinaryArray:
        return self._elements(self._honest.elements)

    def evaluate(self, elements: pa.FixedSizeBinaryArray) -> EvaluatedFrame:
        return self._answers(self._honest.evaluate(elements))


def lying(stage: Stage, monkeypatch: pytest.MonkeyPatch, protocol: str, **lies: Any) -> Any:
    """Return a platform that lies in its computation, and keeps its records accordingly."""
    if protocol == suite.Protocol.OPRF:
        offering = stage.encode(THEIRS)
        driver = LyingPlatform(OprfPlatform(offering.dataset.key()), **lies)
        monkeypatch.setattr(EncodedOffering, "driver", lambda *_: driver)
        return stage.responder(offering)
    listing = stage.listing(THEIRS)

    def drive(_self: ListOffering, _protocol: object, _output: object, seed: Any) -> Any:
        honest = EcdhPlatform(scalar=seed.scalar(), identifiers=listing.identifiers)
        return LyingPlatform(honest, **lies)

    monkeypatch.setattr(ListOffering, "driver", drive)
    return stage.responder(listing)


def replaced(place: int, element: bytes) -> Callable[[Any], Any]:
    def change(what: Any) -> Any:
        array: Any = what.elements if isinstance(what, EvaluatedFrame) else what
        values = array.to_pylist()
        values[place] = element
        changed = pa.array(values, pa.binary(32))
        return EvaluatedFrame(changed, what.proof) if isinstance(what, EvaluatedFrame) else changed

    return change


@pytest.mark.parametrize("element", FOREIGN, ids=["identity", "not canonical", "negative"])
@pytest.mark.parametrize("protocol", [suite.Protocol.OPRF, suite.Protocol.ECDH])
def test_authority_refuses_an_answer_that_is_no_element(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, protocol: suite.Protocol, element: bytes
) -> None:
    platform = lying(stage, monkeypatch, protocol, answers=replaced(3, element))
    error = failed(stage.asker(stage.channel(platform)), ask(stage, protocol))
    aborted(stage, error, "element_invalid", at_fault=PLATFORM)


@pytest.mark.parametrize("element", FOREIGN, ids=["identity", "not canonical", "negative"])
@pytest.mark.parametrize("output", list(Output))
def test_authority_refuses_an_own_element_that_is_no_element(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, output: Output, element: bytes
) -> None:
    # In its place in the order, so that nothing but its encoding is wrong.
    def lie(elements: pa.Array) -> pa.Array:
        return pa.array(sorted([*elements.to_pylist()[1:], element]), elements.type)

    platform = lying(stage, monkeypatch, suite.Protocol.ECDH, elements=lie)
    error = failed(stage.asker(stage.channel(platform)), ask(stage, suite.Protocol.ECDH, output))
    aborted(stage, error, "element_invalid", at_fault=PLATFORM)


@pytest.mark.parametrize("element", [IDENTITY, NOT_CANONICAL], ids=["identity", "not canonical"])
def test_authority_refuses_a_late_answer_that_is_no_element(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, element: bytes
) -> None:
    platform = lying(stage, monkeypatch, suite.Protocol.ECDH, answers=_once(replaced(3, element)))
    count = ask(stage, suite.Protocol.ECDH, Output.COUNT)
    error = failed(stage.asker(stage.channel(platform)), count)
    aborted(stage, error, "element_invalid", at_fault=PLATFORM)


def _once(change: Callable[[Any], Any]) -> Callable[[Any], Any]:
    done: list[bool] = []

    def first(what: Any) -> Any:
        if done:
            return what
        done.append(True)
        return change(what)

    return first


def _swap(elements: pa.Array) -> pa.Array:
    values = elements.to_pylist()
    values[4], values[5] = values[5], values[4]
    return pa.array(values, elements.type)


def _repeat(elements: pa.Array) -> pa.Array:
    values = elements.to_pylist()
    values[7] = values[6]
    return pa.array(values, elements.type)


@pytest.mark.parametrize("lie", [_swap, _repeat], ids=["swapped", "repeated over a frame's edge"])
def test_authority_refuses_own_elements_out_of_order(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, lie: Callable[[Any], Any]
) -> None:
    platform = lying(stage, monkeypatch, suite.Protocol.ECDH, elements=lie)
    error = failed(stage.asker(stage.channel(platform)), ask(stage, suite.Protocol.ECDH))
    aborted(stage, error, "elements_out_of_order", at_fault=PLATFORM)


def test_authority_refuses_late_answers_out_of_order(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "psishare.exchange.opened.sorted_answers",
        lambda answers: _swap(pa.concat_arrays(answers)),
    )
    platform = stage.responder(stage.listing(THEIRS))
    count = ask(stage, suite.Protocol.ECDH, Output.COUNT)
    error = failed(stage.asker(stage.channel(platform)), count)
    aborted(stage, error, "elements_out_of_order", at_fault=PLATFORM)


def test_authority_refuses_an_early_answer_where_only_the_count_may_be_learnt(stage: Stage) -> None:
    def early(response: wire.FrameResponse) -> None:
        response.batch = frame([os.urandom(32) for _ in range(7)])

    line = Line(
        stage.responder(stage.listing(THEIRS)), stage.caller(), responses={Call.EVALUATE: early}
    )
    error = failed(stage.asker(line), ask(stage, suite.Protocol.ECDH, Output.COUNT))
    aborted(stage, error, "frame_malformed", at_fault=PLATFORM)


def _another_key(stage: Stage) -> Callable[[EvaluatedFrame], EvaluatedFrame]:
    other = _native.OprfKey.generate()

    def evaluated(answer: EvaluatedFrame) -> EvaluatedFrame:
        assert answer.elements is not None
        return EvaluatedFrame(*other.blind_evaluate(answer.elements))

    return evaluated


def _reversed(answer: EvaluatedFrame) -> EvaluatedFrame:
    assert answer.elements is not None
    return EvaluatedFrame(
        answer.elements.take(pa.array([1, 0, 2, 3, 4, 5, 6][: len(answer.elements)])), answer.proof
    )


def _flipped(place: int) -> Callable[[EvaluatedFrame], EvaluatedFrame]:
    def flip(answer: EvaluatedFrame) -> EvaluatedFrame:
        proof = bytearray(answer.proof)
        proof[place] ^= 1
        return EvaluatedFrame(answer.elements, bytes(proof))

    return flip


PROOFS: dict[str, Callable[[Stage], Callable[[EvaluatedFrame], EvaluatedFrame]]] = {
    "another key": _another_key,
    "answers swapped within a frame": lambda _stage: _reversed,
    "challenge flipped": lambda _stage: _flipped(0),
    "response flipped": lambda _stage: _flipped(40),
    "not canonical": lambda _stage: lambda answer: EvaluatedFrame(answer.elements, b"\xff" * 64),
    "zero": lambda _stage: lambda answer: EvaluatedFrame(answer.elements, bytes(64)),
    "truncated": lambda _stage: lambda answer: EvaluatedFrame(answer.elements, answer.proof[:63]),
    "too long": lambda _stage: lambda answer: EvaluatedFrame(answer.elements, answer.proof + b"\0"),
    "none": lambda _stage: lambda answer: EvaluatedFrame(answer.elements, b""),
}


@pytest.mark.parametrize("lie", PROOFS)
def test_authority_refuses_a_wrong_proof(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, lie: str
) -> None:
    platform = lying(stage, monkeypatch, suite.Protocol.OPRF, answers=PROOFS[lie](stage))
    error = failed(stage.asker(stage.channel(platform)), ask(stage, suite.Protocol.OPRF))
    aborted(stage, error, "proof_invalid", at_fault=PLATFORM)


def test_authority_refuses_the_answer_and_proof_of_another_frame(stage: Stage) -> None:
    first: list[wire.FrameResponse] = []

    def swap(response: wire.FrameResponse) -> wire.FrameResponse:
        first.append(response)
        return first[0]

    line = Line(
        stage.responder(stage.encode(THEIRS)), stage.caller(), responses={Call.EVALUATE: swap}
    )
    error = failed(stage.asker(line), stage.ask(OURS[:14]))
    aborted(stage, error, "proof_invalid", at_fault=PLATFORM)


def test_answers_of_ecdh_that_are_not_what_the_platform_recorded_are_never_closed(
    stage: Stage,
) -> None:
    own = _native.Seed.generate().scalar()

    def other(response: wire.FrameResponse) -> None:
        # Good elements, and the wrong ones: only the two transcripts can tell.
        elements = decode_frame(response.batch, n_rows=7, element_bytes=32)
        response.batch = encode_frame(own.multiply(elements))

    line = Line(
        stage.responder(stage.listing(THEIRS)), stage.caller(), responses={Call.EVALUATE: other}
    )
    error = failed(stage.asker(line), stage.ask(OURS[:7], protocol=suite.Protocol.ECDH))
    aborted(stage, error, "receipt_differs", at_fault=AUTHORITY)


# Malformed frames, in both directions.


def _ipc(batch: pa.RecordBatch, compression: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    reader = pa.ipc.MessageReader.open_stream(sink.getvalue())
    reader.read_next_message()
    return bytes(reader.read_next_message().serialize())


def _named(*columns: pa.Array) -> pa.RecordBatch:
    return pa.record_batch(list(columns), names=["element", "tag"][: len(columns)])


def _elements(n_rows: int, width: int = 32) -> pa.Array:
    return pa.array([bytes([i]) * width for i in range(n_rows)], pa.binary(width))


ROWS = 7
MALFORMED: dict[str, bytes] = {
    "empty": b"",
    "oversized": bytes(4 * 1024 * 1024 - 300),
    "garbage": random.Random(1).randbytes(600),
    "truncated": _ipc(_named(_elements(ROWS)))[:-1],
    "bytes after it": _ipc(_named(_elements(ROWS))) + bytes(8),
    "compressed": _ipc(
        pa.record_batch([pa.array([bytes(32)] * ROWS, pa.binary(32))], schema=frame_schema(32)),
        "zstd",
    ),
    "nulls": _ipc(_named(pa.array([None] + [bytes(32)] * (ROWS - 1), pa.binary(32)))),
    "too few rows": _ipc(_named(_elements(ROWS - 1))),
    "too many rows": _ipc(_named(_elements(ROWS + 1))),
    "two columns": _ipc(_named(_elements(ROWS), _elements(ROWS))),
    "another width": _ipc(_named(_elements(ROWS, 33))),
    "text": _ipc(_named(pa.array(["x" * 32] * ROWS))),
    "dictionary": _ipc(_named(_elements(ROWS).dictionary_encode())),
    "a schema": frame_schema(32).serialize().to_pybytes(),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_platform_refuses_a_malformed_request_and_charges_nothing(stage: Stage, what: str) -> None:
    def spoil(request: wire.EvaluateRequest) -> None:
        if request.index == 1:
            request.batch = MALFORMED[what]

    line = Line(
        stage.responder(stage.listing(THEIRS)), stage.caller(), requests={Call.EVALUATE: spoil}
    )
    error = failed(stage.asker(line), ask(stage, suite.Protocol.ECDH))
    assert error.reason == "frame_malformed"
    (entry,) = [e for e in entries(stage, PLATFORM) if e.type == "exchange.aborted"]
    # The frame before it, which was good, may have come or not.
    assert entry.fields["rows"] in (0, 7)
    assert entry.fields["reason"] == "frame_malformed"
    verified(stage)


@pytest.mark.parametrize("what", MALFORMED)
@pytest.mark.parametrize("call", [Call.EVALUATE, Call.FETCH])
def test_authority_refuses_a_malformed_answer(stage: Stage, call: Call, what: str) -> None:
    def spoil(response: wire.FrameResponse) -> None:
        response.batch = MALFORMED[what]

    line = Line(stage.responder(stage.listing(THEIRS)), stage.caller(), responses={call: spoil})
    error = failed(stage.asker(line), ask(stage, suite.Protocol.ECDH))
    aborted(stage, error, "frame_malformed", at_fault=PLATFORM)


@pytest.mark.parametrize(
    "call", [Call.HELLO, Call.OFFER, Call.EVALUATE, Call.FETCH, Call.RETURN, Call.CLOSE]
)
def test_authority_refuses_messages_that_are_not_spelt_canonically(
    stage: Stage, call: Call
) -> None:
    def pad(response: Any) -> bytes:
        data: bytes = response.SerializeToString(deterministic=True)
        return data + b"\x82\x7d\x03abc"  # field 2000, unknown

    line = Line(stage.responder(stage.listing(THEIRS)), stage.caller(), responses={call: pad})
    error = failed(stage.asker(line), ask(stage, suite.Protocol.ECDH, Output.BOTH))
    assert (type(error), error.reason) == (ProtocolError, "message_malformed")
    if call is Call.CLOSE:
        # The platform has closed; only its own word could tell that it has not.
        assert endings(stage) == (["closed"], ["open"])
    elif call is Call.HELLO:
        assert endings(stage) == ([], [])
    else:
        assert endings(stage) == (["aborted"], ["aborted"])


# A dishonest authority: its requests are not what they should be.


class Forger:
    """An authority that signs whatever it likes: it plays an opened exchange by hand."""

    def __init__(
        self,
        stage: Stage,
        *,
        output: Output = Output.MATCHES,
        protocol: suite.Protocol = suite.Protocol.ECDH,
        rows: int = 20,
        **options: Any,
    ) -> None:
        self.stage = stage
        self.platform = stage.responder(stage.listing(THEIRS), **options)
        self.line = Line(self.platform, stage.caller())
        self.mandate = stage.envelope()
        self.signer = stage.homes[AUTHORITY].log_signer()
        self.output = output
        self.authority = stage.asker(self.line)
        self.scalar = _native.Seed.generate().scalar()
        asked = stage.ask(OURS[:rows], protocol=protocol, output=output, mandate=self.mandate)
        hello = self.authority._greet()
        seed = _native.Seed.generate()
        offer, opening = self.authority._make_offer(asked, hello, None, seed)
        run = self.authority._begin(asked, offer, opening, seed)
        self.terms = self.authority._open(run, None)
        self.id = self.terms.exchange_id
        self.sent = _native.sort_elements(self.scalar.blind(asked.identifiers))[0].to_pylist()
        self.requests = Transcript("requests", self.id)

    def request(
        self,
        index: int,
        elements: list[bytes],
        *,
        transcript: bytes | None = None,
        signer: str = AUTHORITY,
        signed_rows: int | None = None,
        chained: bool = True,
    ) -> wire.EvaluateRequest:
        batch = frame(elements)
        digest = frame_digest("requests", index, len(elements), b"".join(elements))
        after = transcript or self.requests.after(digest)
        if chained:
            self.requests.add(digest, len(elements))
        rows = len(elements) if signed_rows is None else signed_rows
        statement = frame_statement(self.id, index, after, rows)
        signature = sign_statement(self.stage.homes[signer].log_signer(), REQUEST, statement)
        return wire.EvaluateRequest(
            exchange_id=self.id, index=index, transcript=after, signature=signature, batch=batch
        )

    def send(self, request: wire.EvaluateRequest) -> Any:
        return self.line.call(Call.EVALUATE, request)

    def frames(self) -> list[list[bytes]]:
        return [self.sent[start : start + 7] for start in range(0, len(self.sent), 7)]

    def refused(self, call: Call, request: Any, reason: str, *, rows: int) -> None:
        """Make a call that must end the exchange, with so many rows charged."""
        with pytest.raises(ProtocolError) as raised:
            self.line.call(call, request)
        assert raised.value.reason == reason
        (entry,) = [e for e in entries(self.stage, PLATFORM) if e.type == "exchange.aborted"]
        assert (entry.fields["reason"], entry.fields["at_fault"]) == (reason, AUTHORITY)
        assert entry.fields["rows"] == rows == self.charged()
        with pytest.raises(ProtocolError) as again:
            self.line.call(call, request)
        assert again.value.reason == "exchange_ended"
        verified(self.stage)

    def charged(self) -> int:
        usage = self.stage.rooms().budget.usage(read_envelope(self.mandate).mandate.id)
        return usage.rows


def test_the_same_frame_again_is_answered_again_and_charged_once(stage: Stage) -> None:
    forger = Forger(stage)
    request = forger.request(0, forger.frames()[0])
    first = forger.send(request)
    assert {forger.send(request).batch for _ in range(3)} == {first.batch}
    stage.rooms().budget.release(forger.id)
    assert forger.charged() == 7


def test_the_same_oprf_frame_again_has_the_same_answer_and_another_proof(stage: Stage) -> None:
    platform = stage.responder(stage.encode(THEIRS))
    line = Line(platform, stage.caller())
    answers: list[tuple[bytes, bytes]] = []

    def again(response: wire.FrameResponse) -> None:
        again_response = wire.FrameResponse.FromString(line.again(Call.EVALUATE))
        answers.append((response.batch, again_response.batch))
        assert response.proof != again_response.proof

    line.responses[Call.EVALUATE] = again
    stage.asker(line).exchange(stage.ask(OURS[:7]))
    assert [first == second for first, second in answers] == [True]
    assert endings(stage) == (["closed"], ["closed"])


def test_another_frame_under_an_index_ends_the_exchange(stage: Stage) -> None:
    forger = Forger(stage)
    first, second, _third = forger.frames()
    forger.send(forger.request(0, first))
    changed = forger.request(0, sorted([*second[:6], first[0]]), chained=False)
    forger.refused(Call.EVALUATE, changed, "frame_changed", rows=7)


def test_a_frame_that_was_reordered_ends_the_exchange(stage: Stage) -> None:
    forger = Forger(stage)
    first, second, _third = forger.frames()
    # Both signed in their own order, and sent under each other's number.
    one, two = forger.request(0, first), forger.request(1, second)
    one.batch, two.batch = two.batch, one.batch
    forger.refused(Call.EVALUATE, one, "transcript_differs", rows=0)


def test_a_frame_of_another_exchange_is_refused(stage: Stage) -> None:
    one, two = Forger(stage), Forger(stage)
    request = one.request(0, one.frames()[0])
    request.exchange_id = two.id
    # The second platform object has opened only the second exchange.
    two.refused(Call.EVALUATE, request, "frame_signature_invalid", rows=0)


def test_a_changed_element_breaks_the_signed_transcript(stage: Stage) -> None:
    forger = Forger(stage)
    request = forger.request(0, forger.frames()[0])
    others = _native.Seed.generate().scalar().blind(pa.array([b"x"], pa.binary()))
    elements = sorted([*forger.frames()[0][:6], others[0].as_py()])
    request.batch = frame(elements)
    forger.refused(Call.EVALUATE, request, "transcript_differs", rows=0)


@pytest.mark.parametrize("signer", [ISSUER, PLATFORM])
def test_a_frame_that_another_key_signed_is_refused(stage: Stage, signer: str) -> None:
    forger = Forger(stage)
    request = forger.request(0, forger.frames()[0], signer=signer)
    forger.refused(Call.EVALUATE, request, "frame_signature_invalid", rows=0)


def test_a_frame_signed_for_other_rows_or_under_another_label_is_refused(stage: Stage) -> None:
    forger = Forger(stage)
    request = forger.request(0, forger.frames()[0], signed_rows=6)
    forger.refused(Call.EVALUATE, request, "frame_signature_invalid", rows=0)
    other = Forger(stage)
    request = other.request(0, other.frames()[0])
    statement = frame_statement(other.id, 0, request.transcript, 7)
    request.signature = sign_statement(other.signer, RETURN, statement)
    with pytest.raises(ProtocolError, match="signature"):
        other.send(request)


@pytest.mark.parametrize("length", [0, 63, 65, 2000])
def test_a_signature_of_another_length_is_refused(stage: Stage, length: int) -> None:
    forger = Forger(stage)
    request = forger.request(0, forger.frames()[0])
    request.signature = (request.signature * 40)[:length]
    forger.refused(Call.EVALUATE, request, "frame_signature_invalid", rows=0)


def test_a_frame_before_its_turn_waits_and_one_beyond_the_offer_ends(stage: Stage) -> None:
    forger = Forger(stage)
    first, second, _third = forger.frames()
    one, two = forger.request(0, first), forger.request(1, second)
    assert forger.send(two).pending
    assert forger.charged() == 20  # reserved, nothing charged
    assert not forger.send(one).pending
    assert not forger.send(two).pending
    beyond = wire.EvaluateRequest(exchange_id=forger.id, index=3)
    forger.refused(Call.EVALUATE, beyond, "frame_over_offer", rows=14)


@pytest.mark.parametrize("index", [3, 2**32, 2**64 - 1])
def test_no_index_beyond_the_offer_is_taken(stage: Stage, index: int) -> None:
    forger = Forger(stage)
    request = wire.EvaluateRequest(exchange_id=forger.id, index=index)
    forger.refused(Call.EVALUATE, request, "frame_over_offer", rows=0)


@pytest.mark.parametrize("disorder", ["descending", "repeated", "over the edge"])
def test_platform_refuses_elements_out_of_order(stage: Stage, disorder: str) -> None:
    forger = Forger(stage)
    first, second, _third = forger.frames()
    if disorder == "over the edge":
        forger.send(forger.request(0, first))
        request = forger.request(1, [first[-1], *second[1:]])
        forger.refused(Call.EVALUATE, request, "elements_out_of_order", rows=7)
        return
    wrong = first[::-1] if disorder == "descending" else [*first[:6], first[5]]
    forger.refused(Call.EVALUATE, forger.request(0, wrong), "elements_out_of_order", rows=0)


@pytest.mark.parametrize("element", FOREIGN, ids=["identity", "not canonical", "negative"])
def test_platform_refuses_a_request_that_is_no_element_and_charges_its_frame(
    stage: Stage, element: bytes
) -> None:
    forger = Forger(stage)
    elements = sorted({*forger.frames()[0][:6], element})
    forger.refused(Call.EVALUATE, forger.request(0, elements), "element_invalid", rows=7)


@pytest.mark.parametrize("element", FOREIGN, ids=["identity", "not canonical", "negative"])
def test_platform_refuses_an_oprf_request_that_is_no_element(stage: Stage, element: bytes) -> None:
    signer = stage.homes[AUTHORITY].log_signer()

    def spoil(request: wire.EvaluateRequest) -> None:
        elements = elements_of(request.batch, 7)
        elements[2] = element
        chain = Transcript("requests", request.exchange_id)
        after = chain.after(frame_digest("requests", 0, 7, b"".join(elements)))
        statement = frame_statement(request.exchange_id, 0, after, 7)
        request.batch, request.transcript = frame(elements), after
        request.signature = sign_statement(signer, REQUEST, statement)

    line = Line(
        stage.responder(stage.encode(THEIRS)), stage.caller(), requests={Call.EVALUATE: spoil}
    )
    error = failed(stage.asker(line), stage.ask(OURS[:7]))
    assert error.reason == "element_invalid"
    assert told(stage, PLATFORM)[-1] == ("exchange.aborted", "element_invalid")


# Output `both`: what the authority returns.


def returned(
    forger: Forger, index: int, elements: list[bytes], chain: Transcript
) -> wire.ReturnRequest:
    digest = frame_digest("returns", index, len(elements), b"".join(elements))
    after = chain.add(digest, len(elements))
    statement = frame_statement(forger.id, index, after, len(elements))
    return wire.ReturnRequest(
        exchange_id=forger.id,
        index=index,
        transcript=after,
        signature=sign_statement(forger.signer, RETURN, statement),
        batch=frame(elements),
    )


def own_elements(forger: Forger, index: int) -> list[bytes]:
    """Return a frame of the platform's elements, blinded by the authority too."""
    request = wire.FetchRequest(exchange_id=forger.id, sequence=wire.SEQUENCE_ELEMENTS, index=index)
    response: Any = forger.line.call(Call.FETCH, request)
    while response.pending:
        response = forger.line.call(Call.FETCH, request)
    rows = min(7, len(THEIRS) - 7 * index)
    theirs = decode_frame(response.batch, n_rows=rows, element_bytes=32)
    blinded: list[bytes] = forger.scalar.multiply(theirs).to_pylist()
    return blinded


@pytest.mark.parametrize("element", FOREIGN, ids=["identity", "not canonical", "negative"])
def test_platform_refuses_a_returned_frame_that_holds_no_element(
    stage: Stage, element: bytes
) -> None:
    forger = Forger(stage, output=Output.BOTH)
    elements = own_elements(forger, 0)
    elements[2] = element
    request = returned(forger, 0, elements, Transcript("returns", forger.id))
    forger.refused(Call.RETURN, request, "element_invalid", rows=0)


def test_a_returned_frame_again_changes_nothing_and_another_ends(stage: Stage) -> None:
    forger = Forger(stage, output=Output.BOTH)
    elements = own_elements(forger, 0)
    request = returned(forger, 0, elements, Transcript("returns", forger.id))
    for _ in range(3):
        assert not forger.line.call(Call.RETURN, request).pending  # type: ignore[attr-defined]
    other = returned(forger, 0, elements[::-1], Transcript("returns", forger.id))
    forger.refused(Call.RETURN, other, "frame_changed", rows=0)


def test_a_returned_frame_before_its_turn_waits_and_a_wrong_one_ends(stage: Stage) -> None:
    forger = Forger(stage, output=Output.BOTH)
    chain = Transcript("returns", forger.id)
    one = returned(forger, 0, own_elements(forger, 0), chain)
    two = returned(forger, 1, own_elements(forger, 1), chain)
    assert forger.line.call(Call.RETURN, two).pending  # type: ignore[attr-defined]
    forger.line.call(Call.RETURN, one)
    two.batch = one.batch
    forger.refused(Call.RETURN, two, "transcript_differs", rows=0)


def test_nothing_is_returned_where_the_platform_is_not_to_learn(stage: Stage) -> None:
    forger = Forger(stage)
    request = returned(forger, 0, own_elements(forger, 0), Transcript("returns", forger.id))
    forger.refused(Call.RETURN, request, "sequence_unknown", rows=0)


@pytest.mark.parametrize("sequence", [0, 2, 3, 77])
def test_a_sequence_that_the_exchange_does_not_have_ends_it(stage: Stage, sequence: int) -> None:
    forger = Forger(stage)
    fields: dict[str, Any] = {"exchange_id": forger.id, "sequence": sequence, "index": 0}
    request = wire.FetchRequest(**fields)
    forger.refused(Call.FETCH, request, "sequence_unknown", rows=0)


def test_answers_of_a_count_are_pending_until_the_last_request_is_answered(stage: Stage) -> None:
    forger = Forger(stage, output=Output.COUNT)
    first, second, third = forger.frames()
    fetch = wire.FetchRequest(exchange_id=forger.id, sequence=wire.SEQUENCE_ANSWERS, index=0)
    for index, elements in enumerate((first, second)):
        assert forger.send(forger.request(index, elements)).batch == b""
        assert forger.line.call(Call.FETCH, fetch).pending  # type: ignore[attr-defined]
    forger.send(forger.request(2, third))
    response: Any = forger.line.call(Call.FETCH, fetch)
    assert not response.pending
    answers = elements_of(response.batch, 7)
    assert answers == sorted(answers)


# Who may call, and on what.


def test_another_authority_cannot_touch_an_exchange(stage: Stage) -> None:
    other = _second_authority(stage)
    forger = Forger(stage)
    line = Line(forger.platform, other)
    calls: list[tuple[Call, Any]] = [
        (Call.EVALUATE, forger.request(0, forger.frames()[0])),
        (Call.FETCH, wire.FetchRequest(exchange_id=forger.id, sequence=wire.SEQUENCE_ELEMENTS)),
        (Call.RETURN, wire.ReturnRequest(exchange_id=forger.id)),
        (Call.CLOSE, wire.CloseRequest(exchange_id=forger.id)),
        (Call.COSIGN, wire.CosignRequest(exchange_id=forger.id)),
    ]
    for call, request in calls:
        with pytest.raises(ProtocolError) as raised:
            line.call(call, request)
        assert raised.value.reason == "exchange_unknown"
    line.call(Call.ABORT, wire.AbortRequest(exchange_id=forger.id))
    # The exchange goes on, untouched.
    assert not forger.line.call(Call.EVALUATE, calls[0][1]).pending  # type: ignore[attr-defined]
    assert told(stage, PLATFORM) == [("exchange.opened", None)]


def test_a_stranger_and_a_party_of_another_role_are_turned_away(stage: Stage) -> None:
    platform = stage.responder(stage.listing(THEIRS))
    for name in (ISSUER, PLATFORM):
        line = Line(platform, stage.caller(name))
        with pytest.raises(PsishareError) as raised:
            line.call(Call.HELLO, wire.HelloRequest(authority=name))
        assert raised.value.reason == "peer_unknown"
    assert told(stage, PLATFORM) == []


def _second_authority(stage: Stage) -> Any:
    home = init_party(
        stage.homes[AUTHORITY].path.parent / "customs.example",
        party_id="customs.example",
        role="authority",
        display_name="Customs",
    )
    stage.homes["customs.example"] = home
    stage.pin(PLATFORM, "customs.example")
    stage.platform.peers.reload()
    return Caller(home.tls_identity().certificate_sha256)


@pytest.mark.parametrize("exchange_id", [b"", bytes(32), bytes(31), bytes(4000)])
@pytest.mark.parametrize("call", [Call.EVALUATE, Call.FETCH, Call.RETURN, Call.CLOSE, Call.COSIGN])
def test_calls_on_no_exchange_are_refused_and_not_logged(
    stage: Stage, call: Call, exchange_id: bytes
) -> None:
    line = Line(stage.responder(stage.listing(THEIRS)), stage.caller())
    with pytest.raises(ProtocolError) as raised:
        line.call(call, call.request(exchange_id=exchange_id))
    assert raised.value.reason == "exchange_unknown"
    assert told(stage, PLATFORM) == []
