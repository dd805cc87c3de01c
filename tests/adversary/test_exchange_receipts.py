"""Receipts, log heads and proofs that are forged or tampered with, on either side."""

from __future__ import annotations

import base64
import os
import shutil
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hostile_exchange import OURS, THEIRS, Line, endings, entries, failed, told, verified
from stage import AUTHORITY, ISSUER, PLATFORM, Stage

from psishare.audit.checkpoint import Checkpoint, parse_checkpoint
from psishare.audit.entry import parse_entry
from psishare.audit.log import Log
from psishare.audit.signed_checkpoint import sign_checkpoint
from psishare.client.opened_home import log_signers
from psishare.errors import AuditError, ExitCode, ProtocolError, VerificationError
from psishare.exchange.document import now, write_time
from psishare.exchange.receipt import Receipt, SequenceTotals, sign_receipt
from psishare.exchange.register import State
from psishare.exchange.transcript import Transcript
from psishare.keys.note_key import NoteSigner, SignatureType
from psishare.psi import suite
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call

if TYPE_CHECKING:
    from collections.abc import Callable

    from psishare.exchange.ask import Ask
    from psishare.parties.home import Home

ECDH = suite.Protocol.ECDH


def ask(stage: Stage) -> Ask:
    return stage.ask(OURS[:10], protocol=ECDH)


def line(stage: Stage, **changes: Any) -> Line:
    return Line(stage.responder(stage.listing(THEIRS)), stage.caller(), **changes)


# The receipt.

OTHER = "ab" * 32
TOTALS = ("requests", "elements", "answers", "returns")
FIELDS: dict[str, Any] = {
    "exchange_id": OTHER,
    "authority": "customs.example",
    "platform": "bank.example",
    "protocol": "oprf",
    "dataset": "suppliers",
    "kind": "email",
    "namespace": "other",
    "output": "count",
    "epoch": 3,
    "manifest_sha256": OTHER,
    "mandate_id": "0123456789abcdef0123",
    "mandate_sha256": OTHER,
    "answer_sha256": OTHER,
    "opened": "2026-01-01T00:00:00Z",
} | {
    f"{sequence}.{field}": value
    for sequence in TOTALS
    for field, value in (("frames", 9), ("rows", 99), ("transcript", OTHER))
}


def test_every_field_of_a_receipt_is_tampered_with_here() -> None:
    named = {name.split(".")[0] for name in FIELDS}
    assert named == set(Receipt.model_fields) - {"version", "closed"}


def resigned(stage: Stage, change: Callable[[dict[str, Any]], None]) -> Callable[[Any], None]:
    """Return what lets the authority sign another receipt than the true one."""
    signer = stage.homes[AUTHORITY].log_signer()

    def alter(request: wire.CloseRequest) -> None:
        fields = Receipt.parse(request.receipt.document).model_dump(mode="json")
        change(fields)
        document = Receipt.model_validate(fields).document()
        request.receipt.document = document
        request.receipt.signature = sign_receipt(document, signer)

    return alter


@pytest.mark.parametrize("field", FIELDS)
def test_platform_signs_no_receipt_that_differs_from_its_record(stage: Stage, field: str) -> None:
    def change(fields: dict[str, Any]) -> None:
        name, _, inner = field.partition(".")
        if inner:
            fields[name][inner] = FIELDS[field]
        else:
            fields[name] = FIELDS[field]

    error = failed(
        stage.asker(line(stage, requests={Call.CLOSE: resigned(stage, change)})), ask(stage)
    )
    assert (type(error), error.reason) == (ProtocolError, "receipt_differs")
    assert field.partition(".")[0] in error.message
    assert error.exit_code is ExitCode.PROTOCOL
    assert told(stage, PLATFORM)[-1] == ("exchange.aborted", "receipt_differs")
    assert told(stage, AUTHORITY)[-1] == ("exchange.aborted", "receipt_differs")
    verified(stage)
    (row,) = stage.platform.register.rows()
    assert (row.state, row.signed_receipt) == (State.ABORTED, None)


@pytest.mark.parametrize("minutes", [-10, 10])
def test_platform_signs_no_receipt_of_another_time(stage: Stage, minutes: int) -> None:
    time = write_time(now() + timedelta(minutes=minutes))
    change = resigned(stage, lambda fields: fields.update(closed=time))
    error = failed(stage.asker(line(stage, requests={Call.CLOSE: change})), ask(stage))
    assert (type(error), error.reason) == (ProtocolError, "receipt_untimely")
    assert endings(stage) == (["aborted"], ["aborted"])


def test_a_receipt_that_was_held_up_is_as_good_when_it_comes_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def later(_request: object) -> None:
        monkeypatch.setattr("psishare.exchange.platform.now", lambda: now() + timedelta(hours=2))

    stage.asker(line(stage, requests={Call.CLOSE: later})).exchange(ask(stage))
    assert endings(stage) == (["closed"], ["closed"])


@pytest.mark.parametrize("signer", [PLATFORM, ISSUER])
def test_platform_signs_no_receipt_that_the_authority_has_not(stage: Stage, signer: str) -> None:
    def resign(request: wire.CloseRequest) -> None:
        key = stage.homes[signer].log_signer()
        request.receipt.signature = sign_receipt(request.receipt.document, key)

    error = failed(stage.asker(line(stage, requests={Call.CLOSE: resign})), ask(stage))
    assert (type(error), error.reason) == (ProtocolError, "receipt_invalid")
    assert endings(stage) == (["aborted"], ["aborted"])


@pytest.mark.parametrize(
    "document", [b"", b"{}", b"\xff", b'{"version":1}', b"[" * 70_000], ids=range(5)
)
def test_platform_signs_no_malformed_receipt(stage: Stage, document: bytes) -> None:
    def garble(request: wire.CloseRequest) -> None:
        request.receipt.document = document

    error = failed(stage.asker(line(stage, requests={Call.CLOSE: garble})), ask(stage))
    assert (type(error), error.reason) == (ProtocolError, "receipt_invalid")
    assert endings(stage) == (["aborted"], ["aborted"])


def test_platform_signs_nothing_before_every_frame_has_passed(stage: Stage) -> None:
    early: list[ProtocolError] = []
    through = line(stage)

    def close_now(request: Any) -> None:
        if request.index:
            return
        with pytest.raises(ProtocolError) as raised:
            through.call(
                Call.CLOSE,
                Call.CLOSE.request(
                    exchange_id=request.exchange_id,
                    receipt=_empty_receipt(stage, request.exchange_id),
                ),
            )
        early.append(raised.value)

    through.requests[Call.EVALUATE] = close_now
    failed(stage.asker(through), ask(stage))
    assert [error.reason for error in early] == ["exchange_incomplete"]
    assert told(stage, PLATFORM)[-1] == ("exchange.aborted", "exchange_incomplete")
    verified(stage)


def _empty_receipt(stage: Stage, exchange_id: bytes) -> Any:
    totals: dict[str, Any] = {
        name: SequenceTotals.of(Transcript(name, exchange_id)) for name in TOTALS
    }
    receipt = Receipt(
        exchange_id=exchange_id.hex(),
        authority=AUTHORITY,
        platform=PLATFORM,
        protocol="ecdh",
        dataset="customers",
        kind="phone",
        namespace="",
        output="matches",
        epoch=None,
        manifest_sha256=None,
        mandate_id="0" * 32,
        mandate_sha256=OTHER,
        answer_sha256=OTHER,
        opened=write_time(now()),
        closed=write_time(now()),
        **totals,
    )
    document = receipt.document()
    signature = sign_receipt(document, stage.homes[AUTHORITY].log_signer())
    return wire.Signed(document=document, signature=signature)


# The countersignature, and the platform's log.


@pytest.mark.parametrize("signer", [AUTHORITY, ISSUER])
def test_authority_takes_no_countersignature_of_another_key(stage: Stage, signer: str) -> None:
    through = line(stage)

    def resign(response: wire.CloseResponse) -> None:
        document = through_receipt(through)
        response.countersignature = sign_receipt(document, stage.homes[signer].log_signer())

    through.responses[Call.CLOSE] = resign
    error = failed(stage.asker(through), ask(stage))
    assert (type(error), error.reason) == (ProtocolError, "receipt_invalid")
    assert told(stage, AUTHORITY)[-1] == ("exchange.aborted", "receipt_invalid")
    verified(stage)


def through_receipt(through: Line) -> bytes:
    (data,) = [data for call, data in through.passed if call is Call.CLOSE]
    document: bytes = Call.CLOSE.request.FromString(data).receipt.document  # type: ignore[attr-defined]
    return document


def _flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def _wrong_proof(response: wire.CloseResponse) -> None:
    response.inclusion[0] = os.urandom(32)


def _short_proof(response: wire.CloseResponse) -> None:
    del response.inclusion[-1]


def _wide_proof(response: wire.CloseResponse) -> None:
    response.inclusion[0] = response.inclusion[0] + b"\0"


def _wrong_index(response: wire.CloseResponse) -> None:
    response.closed_index = 0


def _far_index(response: wire.CloseResponse) -> None:
    response.closed_index = 2**63


def _unlogged_entry(response: wire.CloseResponse) -> None:
    entry = parse_entry(response.closed_entry)
    response.closed_entry = entry.model_copy(update={"salt": "00" * 16}).encode()


def _wrong_consistency(response: wire.CloseResponse) -> None:
    response.head.consistency[0] = os.urandom(32)


def _altered_head(response: wire.CloseResponse) -> None:
    checkpoint = parse_checkpoint(response.head.checkpoint)
    root = base64.b64encode(checkpoint.root_hash)
    response.head.checkpoint = response.head.checkpoint.replace(root, base64.b64encode(bytes(32)))


def _stripped_head(response: wire.CloseResponse) -> None:
    """Leave the Ed25519 signature alone."""
    text, _, lines = response.head.checkpoint.partition(b"\n\n")
    response.head.checkpoint = text + b"\n\n" + lines.splitlines(keepends=True)[0]


TAMPERED: dict[str, tuple[Callable[[Any], None], str]] = {
    "inclusion proof wrong": (_wrong_proof, "proof_invalid"),
    "inclusion proof short": (_short_proof, "proof_invalid"),
    "inclusion proof with a long hash": (_wide_proof, "proof_invalid"),
    "index of another entry": (_wrong_index, "proof_invalid"),
    "index beyond the tree": (_far_index, "proof_invalid"),
    "entry that is not in the log": (_unlogged_entry, "proof_invalid"),
    "consistency proof wrong": (_wrong_consistency, "log_inconsistent"),
    "head altered": (_altered_head, "checkpoint_invalid"),
    "head without its ML-DSA signature": (_stripped_head, "checkpoint_invalid"),
}


@pytest.mark.parametrize("what", TAMPERED)
def test_no_result_without_proof_that_the_platforms_log_holds_the_closing(
    stage: Stage, what: str
) -> None:
    alter, reason = TAMPERED[what]
    platform = stage.responder(stage.listing(THEIRS))
    through = Line(platform, stage.caller(), responses={Call.CLOSE: alter})
    error = failed(stage.asker(through), ask(stage))
    assert (type(error), error.reason) == (VerificationError, reason)
    assert error.exit_code is ExitCode.AUDIT
    # A doubly signed receipt exists, so the exchange is not aborted: it waits for the proof.
    assert endings(stage) == (["closed"], ["open"])
    (row,) = stage.authority.register.pending(PLATFORM)
    assert row.signed_receipt is not None
    # An honest answer settles it.
    stage.exchange(platform, ask(stage))
    assert endings(stage) == (["closed", "closed"], ["closed", "closed"])


CLOSING: dict[str, Any] = {
    "exchange_id": OTHER,
    "peer": "customs.example",
    "mandate_id": "0123456789abcdef0123",
    "receipt": base64.b64encode(b"{}").decode(),
    "receipt_sha256": OTHER,
    "authority_signature": base64.b64encode(bytes(64)).decode(),
    "platform_signature": base64.b64encode(bytes(64)).decode(),
    "rows": 7,
}


@pytest.mark.parametrize("field", CLOSING)
def test_platform_that_logs_another_closing_than_it_signed_is_found_out(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    platform = stage.responder(stage.listing(THEIRS))
    append = platform._rooms.log.append

    def tell_otherwise(entry: Any) -> Any:
        if entry.type == "exchange.closed":
            entry = entry.model_copy(update={field: CLOSING[field]})
        return append(entry)

    monkeypatch.setattr(platform._rooms.log, "append", tell_otherwise)
    error = failed(stage.asker(stage.channel(platform)), ask(stage))
    assert (type(error), error.reason) == (VerificationError, "closing_not_logged")
    assert error.party == PLATFORM
    assert told(stage, AUTHORITY) == [("exchange.opened", None)]


@pytest.mark.parametrize("field", CLOSING)
def test_authority_that_logs_another_closing_than_it_signed_gets_no_cosignature(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, field: str
) -> None:
    append = stage.authority.log.append

    def tell_otherwise(entry: Any) -> Any:
        if entry.type == "exchange.closed":
            entry = entry.model_copy(update={field: CLOSING[field]})
        return append(entry)

    monkeypatch.setattr(stage.authority.log, "append", tell_otherwise)
    outcome = stage.exchange(stage.responder(stage.listing(THEIRS)), ask(stage))
    assert not outcome.cosigned
    checkpoint = stage.authority.log.checkpoint()
    assert f"— {PLATFORM} ".encode() not in checkpoint


def test_a_repeated_close_gets_the_stored_answer_and_another_receipt_none(stage: Stage) -> None:
    through = line(stage)
    stage.asker(through).exchange(ask(stage))
    before = told(stage, PLATFORM)
    for _ in range(2):
        Call.CLOSE.response.FromString(through.again(Call.CLOSE))
    assert told(stage, PLATFORM) == before
    data = next(data for call, data in through.passed if call is Call.CLOSE)
    request: Any = Call.CLOSE.request.FromString(data)
    request.receipt.document = request.receipt.document.replace(b"customers", b"customerz")
    with pytest.raises(ProtocolError) as raised:
        through.call(Call.CLOSE, request)
    assert raised.value.reason == "receipt_differs"
    assert told(stage, PLATFORM) == before
    verified(stage)


# Log heads: forged, forked, rolled back.


def signers(home: Home) -> dict[str, NoteSigner]:
    return {
        "signer": NoteSigner(home.id, SignatureType.ED25519, home.log_signer()),
        "pq_signer": NoteSigner(home.id, SignatureType.ML_DSA_44, home.pq_signer()),
    }


def forged(home: Home, size: int) -> bytes:
    """Return a head that the log's keys sign and no log has."""
    checkpoint = Checkpoint(home.id, size, os.urandom(32))
    keys = signers(home)
    return sign_checkpoint(checkpoint, keys["signer"], keys["pq_signer"], time=1).serialise()


def _once(change: Callable[[Any], None]) -> Callable[[Any], None]:
    """Change the second and later messages: the first head is believed by everyone."""
    seen: list[object] = []

    def later(message: Any) -> None:
        seen.append(message)
        if len(seen) > 1:
            change(message)

    return later


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
@pytest.mark.parametrize("call", [Call.OFFER, Call.CLOSE])
def test_authority_refuses_a_forged_head_of_the_platforms_log(
    stage: Stage, call: Call, size: int
) -> None:
    platform = stage.responder(stage.listing(THEIRS))
    stage.exchange(platform, ask(stage))
    known = parse_checkpoint(stage.authority.peers.checkpoint(PLATFORM) or b"").tree_size
    if call is Call.CLOSE:
        known += 1  # the opening of this exchange

    def forge(response: Any) -> None:
        response.head.checkpoint = forged(stage.homes[PLATFORM], size)

    through = Line(platform, stage.caller(), responses={call: forge})
    error = failed(stage.asker(through), ask(stage))
    reason = "log_rolled_back" if size < known else "log_inconsistent"
    assert (type(error), error.reason, error.party) == (VerificationError, reason, PLATFORM)
    assert error.exit_code is ExitCode.AUDIT
    if call is Call.CLOSE:
        assert endings(stage) == (["closed", "closed"], ["closed", "open"])
    else:
        (entry,) = [e for e in entries(stage, AUTHORITY) if e.type == "exchange.aborted"]
        assert (entry.fields["reason"], entry.fields["at_fault"]) == (reason, PLATFORM)
        assert endings(stage) == (["closed", "aborted"], ["closed", "aborted"])
    # What was known of the platform's log before is what is known now.
    kept = parse_checkpoint(stage.authority.peers.checkpoint(PLATFORM) or b"").tree_size
    assert kept >= known


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_platform_refuses_a_forged_head_of_the_authoritys_log(stage: Stage, size: int) -> None:
    platform = stage.responder(stage.listing(THEIRS))
    stage.exchange(platform, ask(stage))
    known = parse_checkpoint(stage.platform.peers.checkpoint(AUTHORITY) or b"").tree_size

    def forge(request: Any) -> None:
        request.head.checkpoint = forged(stage.homes[AUTHORITY], size)

    through = Line(platform, stage.caller(), requests={Call.OFFER: forge})
    error = failed(stage.asker(through), ask(stage))
    reason = "log_rolled_back" if size < known else "log_inconsistent"
    assert (type(error), error.reason) == (VerificationError, reason)
    assert told(stage, PLATFORM)[-1] == ("exchange.refused", reason)
    assert told(stage, AUTHORITY)[-1] == ("exchange.refused", reason)
    verified(stage)


def test_platform_refuses_a_head_of_another_partys_log(stage: Stage) -> None:
    def swap(request: Any) -> None:
        request.head.checkpoint = stage.platform.log.checkpoint()

    error = failed(stage.asker(line(stage, requests={Call.OFFER: swap})), ask(stage))
    assert (type(error), error.reason) == (VerificationError, "checkpoint_invalid")
    assert told(stage, PLATFORM) == [("exchange.refused", "checkpoint_invalid")]


@pytest.mark.parametrize("call", [Call.OFFER, Call.COSIGN])
def test_a_wrong_consistency_proof_is_refused(stage: Stage, call: Call) -> None:
    platform = stage.responder(stage.listing(THEIRS))
    stage.exchange(platform, ask(stage))

    def spoil(request: Any) -> None:
        if request.head.consistency:
            request.head.consistency[0] = os.urandom(32)
        else:
            request.head.consistency.append(os.urandom(32))

    through = Line(platform, stage.caller(), requests={call: spoil})
    if call is Call.COSIGN:
        assert not stage.asker(through).exchange(ask(stage)).cosigned
        return
    error = failed(stage.asker(through), ask(stage))
    assert (type(error), error.reason) == (VerificationError, "log_inconsistent")


def restored(stage: Stage, party: str, copy: Any) -> None:
    """Put an old copy of a party's log in the place of the log."""
    path = stage.homes[party].log_path
    shutil.rmtree(path)
    shutil.copytree(copy, path)


def opened(stage: Stage, party: str) -> Log:
    """Open a party's log where the home's own state tells of no newer one, as when both are restored."""
    home = stage.homes[party]
    return Log.open(home.log_path, **log_signers(home))


@pytest.mark.parametrize("protocol", [suite.Protocol.OPRF, ECDH])
def test_platform_with_a_restored_log_takes_no_entry(
    stage: Stage, protocol: suite.Protocol
) -> None:
    offering = stage.encode(THEIRS) if protocol is suite.Protocol.OPRF else stage.listing(THEIRS)
    copy = stage.homes[PLATFORM].path / "copy"
    shutil.copytree(stage.homes[PLATFORM].log_path, copy)
    asked = stage.ask(OURS, protocol=protocol, mandate=stage.envelope())
    stage.exchange(stage.responder(offering), asked)
    restored(stage, PLATFORM, copy)
    stage.platform.log = opened(stage, PLATFORM)
    size = stage.platform.log.size
    # Another mandate, under which a delivery would have to be logged.
    other = stage.ask(OURS, protocol=protocol, mandate=stage.envelope())
    error = failed(stage.asker(stage.channel(stage.responder(offering))), other)
    assert (type(error), error.reason) == (VerificationError, "log_rolled_back")
    assert error.party == PLATFORM
    assert opened(stage, PLATFORM).size == size


def test_platform_whose_log_is_restored_while_an_exchange_is_open_closes_nothing(
    stage: Stage,
) -> None:
    copy = stage.homes[PLATFORM].path / "copy"
    shutil.copytree(stage.homes[PLATFORM].log_path, copy)

    def restore(_request: object) -> None:
        if not copy.exists():
            return
        restored(stage, PLATFORM, copy)
        shutil.rmtree(copy)

    error = failed(stage.asker(line(stage, requests={Call.CLOSE: restore})), ask(stage))
    assert (type(error), error.reason) == (VerificationError, "log_rolled_back")
    assert [e.type for e in entries(stage, PLATFORM)] == ["log.created"]


def test_authority_with_a_restored_log_offers_nothing(stage: Stage) -> None:
    platform = stage.responder(stage.listing(THEIRS))
    copy = stage.homes[AUTHORITY].path / "copy"
    shutil.copytree(stage.homes[AUTHORITY].log_path, copy)
    stage.exchange(platform, ask(stage))
    restored(stage, AUTHORITY, copy)
    stage.authority.log = opened(stage, AUTHORITY)
    size, before = stage.authority.log.size, told(stage, PLATFORM)
    error = failed(stage.asker(stage.channel(platform)), ask(stage))
    assert (type(error), error.reason) == (VerificationError, "log_rolled_back")
    assert error.exit_code is ExitCode.AUDIT
    assert told(stage, PLATFORM) == before
    assert opened(stage, AUTHORITY).size == size


@pytest.mark.parametrize("stated", [10_000, 2**63, 2**64 - 1])
@pytest.mark.parametrize("call", [Call.OFFER, Call.CLOSE, Call.MANIFEST])
def test_a_platform_that_is_told_of_a_larger_log_of_its_own_writes_nothing(
    stage: Stage, call: Call, stated: int
) -> None:
    offering = stage.encode(THEIRS) if call is Call.MANIFEST else stage.listing(THEIRS)
    protocol = suite.Protocol.OPRF if call is Call.MANIFEST else ECDH

    def overstate(request: Any) -> None:
        request.known_tree_size = stated

    through = Line(stage.responder(offering), stage.caller(), requests={call: overstate})
    size_before: list[int] = []
    through.requests[Call.HELLO] = lambda _r: size_before.append(stage.platform.log.size)
    error = failed(stage.asker(through), stage.ask(OURS, protocol=protocol))
    assert (type(error), error.reason) == (VerificationError, "log_rolled_back")
    assert isinstance(error, AuditError)
    if call is not Call.CLOSE:
        assert stage.platform.log.size == size_before[0]
    verified(stage)


@pytest.mark.parametrize("stated", [10_000, 2**64 - 1])
def test_an_authority_that_is_told_of_a_larger_log_of_its_own_stops(
    stage: Stage, stated: int
) -> None:
    def overstate(response: Any) -> None:
        response.known_tree_size = stated

    error = failed(stage.asker(line(stage, responses={Call.HELLO: overstate})), ask(stage))
    assert (type(error), error.reason) == (VerificationError, "log_rolled_back")
    assert told(stage, PLATFORM) == told(stage, AUTHORITY) == []


# Cosignatures.


@pytest.mark.parametrize("call", ["cosignature", "cosigned_size", "closed_index", "inclusion"])
def test_a_wrong_cosignature_is_not_kept_and_holds_no_result_back(stage: Stage, call: str) -> None:
    def spoil(request: Any) -> None:
        match call:
            case "cosignature":
                request.cosignature = _flip(request.cosignature, 80)
            case "inclusion":
                request.inclusion[0] = os.urandom(32)
            case name:
                setattr(request, name, 0)

    outcome = stage.asker(line(stage, requests={Call.COSIGN: spoil})).exchange(ask(stage))
    assert not outcome.cosigned
    assert f"— {AUTHORITY} ".encode() not in stage.platform.log.checkpoint()
    assert endings(stage) == (["closed"], ["closed"])


def test_a_wrong_cosignature_of_the_platform_is_not_kept(stage: Stage) -> None:
    def spoil(response: Any) -> None:
        response.cosignature = _flip(response.cosignature, 80)

    outcome = stage.asker(line(stage, responses={Call.COSIGN: spoil})).exchange(ask(stage))
    assert not outcome.cosigned
    assert f"— {PLATFORM} ".encode() not in stage.authority.log.checkpoint()
    assert endings(stage) == (["closed"], ["closed"])


def test_both_heads_are_cosigned_after_an_exchange(stage: Stage) -> None:
    assert stage.exchange(stage.responder(stage.listing(THEIRS)), ask(stage)).cosigned
    verdicts = verified(stage)
    assert verdicts[PLATFORM].log.cosigners[AUTHORITY] == verdicts[PLATFORM].log.head.tree_size
    assert verdicts[AUTHORITY].log.cosigners[PLATFORM] == verdicts[AUTHORITY].log.head.tree_size
