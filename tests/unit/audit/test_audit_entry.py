from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from psishare.audit import entry as entries
from psishare.audit.entry import (
    CardChanged,
    DatasetDelivered,
    DatasetKeyDestroyed,
    DatasetPublished,
    DatasetRefused,
    DatasetReplayed,
    DatasetRevoked,
    Entry,
    ExchangeAborted,
    ExchangeApproved,
    ExchangeClosed,
    ExchangeHeld,
    ExchangeOpened,
    ExchangeRefused,
    ExchangeRejected,
    HandoverSignatures,
    Heartbeat,
    LogCreated,
    LogKeyPair,
    LogKeysRetired,
    LogKeysRotated,
    MandateImported,
    PartySucceeded,
    PeerAdded,
    PeerRemoved,
    PeerRevoked,
    RevocationsImported,
    Ruleset,
    parse_entry,
)
from psishare.errors import AuditError, VerificationError
from psishare.keys import canonical

DIGEST = "5a" * 32
SIGNATURE = base64.b64encode(bytes(64)).decode()
HANDOVER = HandoverSignatures(ed25519=SIGNATURE, ml_dsa_44=base64.b64encode(bytes(2420)).decode())
DOCUMENT = base64.b64encode(b'{"a":1}').decode()
MANDATE = "0123456789abcdef"
PAIR = LogKeyPair(ed25519="police.example+00000000+AQ==", ml_dsa_44="police.example+00000000+Bg==")

EXAMPLES: list[Entry] = [
    LogCreated(party="police.example", role="authority", card_sha256=DIGEST),
    CardChanged(party="police.example", serial=2, card_sha256=DIGEST),
    PeerAdded(peer="a", role="issuer", card_sha256=DIGEST, trusted_as=("issuer", "validator")),
    PeerRemoved(peer="a", role="witness", card_sha256=DIGEST, trusted_as=()),
    PeerRevoked(peer="a", role="issuer", card_sha256=DIGEST, trusted_as=("issuer",)),
    PartySucceeded(party="police.example", successor="police.example/2", card_sha256=DIGEST),
    LogKeysRotated(party="police.example", old=PAIR, new=PAIR, signatures=HANDOVER),
    LogKeysRetired(party="police.example", old=PAIR),
    DatasetPublished(
        dataset="phones",
        kind="phone",
        namespace="",
        epoch=1,
        public_key=DIGEST,
        manifest_sha256=DIGEST,
        n_max=1000,
        max_query=2**20,
    ),
    DatasetRevoked(dataset="phones", epoch=1, manifest_sha256=DIGEST),
    DatasetReplayed(dataset="phones", epoch=1, manifest_sha256=DIGEST, elements=3),
    DatasetKeyDestroyed(dataset="phones", epoch=1, public_key=DIGEST),
    DatasetDelivered(
        dataset="phones",
        epoch=1,
        manifest_sha256=DIGEST,
        peer="telecom.example",
        mandate_id=MANDATE,
        mandate_sha256=DIGEST,
    ),
    DatasetRefused(
        dataset=None,
        peer="police.example",
        reason="mandate_expired",
        mandate_sha256=DIGEST,
    ),
    ExchangeRefused(
        exchange_id=DIGEST,
        peer="police.example",
        reason="mandate_expired",
        mandate_sha256=None,
        protocol=None,
        dataset=None,
        kind=None,
        output=None,
        rows=None,
    ),
    ExchangeHeld(
        exchange_id=DIGEST,
        peer="police.example",
        reason="approval_required",
        expires="2026-08-04T12:00:00Z",
        mandate_id=MANDATE,
        mandate_sha256=DIGEST,
        protocol="oprf",
        dataset="phones",
        kind="phone",
        output="matches",
        rows=7,
        hold=DOCUMENT,
        platform_signature=SIGNATURE,
    ),
    ExchangeApproved(
        exchange_id=DIGEST,
        peer="police.example",
        operator="second.telecom.example",
        approval=DOCUMENT,
        operator_signature=SIGNATURE,
    ),
    ExchangeRejected(
        exchange_id=DIGEST,
        peer="police.example",
        operator="second.telecom.example",
        approval=DOCUMENT,
        operator_signature=SIGNATURE,
    ),
    ExchangeOpened(
        exchange_id=DIGEST,
        peer="police.example",
        protocol="oprf",
        dataset="phones",
        epoch=1,
        manifest_sha256=DIGEST,
        kind="phone",
        ruleset=Ruleset(version=1, digest=DIGEST),
        output="matches",
        rows=0,
        mandate_id=MANDATE,
        mandate_sha256=DIGEST,
        opening_commitment=DIGEST,
        peer_opening_commitment=None,
        operator_commitment=DIGEST,
        offer=DOCUMENT,
        offer_signature=SIGNATURE,
        answer=DOCUMENT,
        answer_signature=SIGNATURE,
    ),
    ExchangeClosed(
        exchange_id=DIGEST,
        peer="police.example",
        mandate_id=MANDATE,
        receipt=DOCUMENT,
        receipt_sha256=DIGEST,
        authority_signature=SIGNATURE,
        platform_signature=SIGNATURE,
        rows=7,
    ),
    ExchangeAborted(
        exchange_id=DIGEST,
        peer="police.example",
        mandate_id=None,
        reason="peer_silent",
        frames=0,
        rows=0,
        requests_transcript=None,
        last_signature=None,
        at_fault=None,
    ),
    MandateImported(mandate_id=MANDATE, mandate_sha256=DIGEST, signed_as=("issuer",)),
    RevocationsImported(
        peer="court.example",
        sequence=1,
        issued="2026-08-01T12:00:00Z",
        revoked=0,
        list_sha256=DIGEST,
    ),
    Heartbeat(failed_handshakes=0),
]

BY_TYPE = {example.type: example for example in EXAMPLES}
OPENED, CLOSED = BY_TYPE["exchange.opened"], BY_TYPE["exchange.closed"]
ABORTED = BY_TYPE["exchange.aborted"]


def names(example: Entry) -> str:
    return example.type


def changed(example: Entry, **changes: Any) -> bytes:
    value = json.loads(example.encode()) | changes
    return canonical.dumps({key: each for key, each in value.items() if each is not ...})


def refusal(data: bytes) -> str:
    with pytest.raises(VerificationError) as caught:
        parse_entry(data)
    assert caught.value.reason in ("entry_malformed", "document_malformed")
    return caught.value.message


def test_every_type_has_an_example() -> None:
    assert {example.type for example in EXAMPLES} == set(entries._TYPES)


@pytest.mark.parametrize("example", EXAMPLES, ids=names)
def test_an_entry_is_read_as_it_was_written(example: Entry) -> None:
    again = parse_entry(example.encode())
    assert again == example
    assert type(again) is type(example)
    assert again.encode() == example.encode()
    assert not {"type", "time", "salt"} & example.fields.keys()


@pytest.mark.parametrize("example", EXAMPLES, ids=names)
def test_no_field_may_lack_and_none_may_be_added(example: Entry) -> None:
    for name in json.loads(example.encode()):
        assert name in refusal(changed(example, **{name: ...})) or name == "type"
    assert "a field that its type does not" in refusal(changed(example, more=1))


@pytest.mark.parametrize("example", EXAMPLES, ids=names)
def test_every_field_is_checked(example: Entry) -> None:
    for name in json.loads(example.encode()):
        wrongs: list[object] = [[1], {}, True, "\n", " x", -1]
        for wrong in wrongs:
            message = refusal(changed(example, **{name: wrong}))
            assert "\n" not in message


@pytest.mark.parametrize(
    ("example", "name", "wrong"),
    [
        (EXAMPLES[-1], "time", "2026-02-30T00:00:00Z"),
        (EXAMPLES[-1], "time", "2026-02-03T00:00:00+00:00"),
        (EXAMPLES[-1], "time", "2026-02-03T00:00:00.0Z"),
        (EXAMPLES[-1], "time", "2026-02-03T00:00:00Z\n"),
        (EXAMPLES[-1], "salt", "00" * 15),
        (EXAMPLES[-1], "salt", "AA" * 16),
        (EXAMPLES[-1], "failed_handshakes", "1"),
        (EXAMPLES[-1], "failed_handshakes", True),
        (EXAMPLES[0], "card_sha256", "5A" * 32),
        (EXAMPLES[0], "party", "Police"),
        (EXAMPLES[0], "party", ".police"),
        (EXAMPLES[0], "party", "police\n"),
        (EXAMPLES[0], "role", "king"),
        (EXAMPLES[2], "trusted_as", ["validator", "issuer"]),
        (EXAMPLES[2], "trusted_as", ["issuer", "issuer"]),
        (EXAMPLES[2], "trusted_as", ["anyone"]),
        (OPENED, "ruleset", {"version": 1}),
        (OPENED, "ruleset", {"version": 1, "digest": DIGEST, "more": 1}),
        (OPENED, "offer", DOCUMENT.rstrip("=")),
        (OPENED, "offer", "eyJhIjoxfR=="),
        (OPENED, "offer_signature", base64.b64encode(bytes(63)).decode()),
        (OPENED, "epoch", 0),
        (ABORTED, "reason", "Peer silent"),
    ],
)
def test_a_value_out_of_its_range_is_refused(example: Entry, name: str, wrong: object) -> None:
    assert name in refusal(changed(example, **{name: wrong}))


def test_an_unknown_type_is_refused() -> None:
    assert "unknown type" in refusal(changed(EXAMPLES[-1], type="exchange.paused"))
    assert "unknown type" in refusal(changed(EXAMPLES[-1], type=["heartbeat"]))


def test_an_error_names_fields_and_never_their_values() -> None:
    message = refusal(changed(EXAMPLES[-1], salt="+4915123456789"))
    assert "salt" in message
    assert "4915123456789" not in message
    with pytest.raises(ValidationError) as caught:
        Heartbeat(failed_handshakes=1, salt="+4915123456789")
    assert "4915123456789" not in str(caught.value)


def test_an_entry_in_another_order_or_spelling_is_refused() -> None:
    data = EXAMPLES[-1].encode()
    value = json.loads(data)
    for other in (
        json.dumps(value).encode(),
        json.dumps(dict(reversed(value.items()))).encode(),
        data + b" ",
    ):
        refusal(other)


def test_an_entry_is_made_with_a_fresh_salt_and_the_time() -> None:
    one, two = Heartbeat(failed_handshakes=1), Heartbeat(failed_handshakes=1)
    assert one.salt != two.salt
    assert parse_entry(one.encode()).time == one.time


def test_an_entry_of_more_than_65535_bytes_is_refused() -> None:
    def closed(n_bytes: int) -> ExchangeClosed:
        receipt = base64.b64encode(bytes(n_bytes)).decode()
        return ExchangeClosed(**(CLOSED.model_dump() | {"receipt": receipt}))

    with pytest.raises(AuditError) as caught:
        closed(49_152).encode()
    assert caught.value.reason == "entry_too_long"
    assert len(closed(48_000).encode()) <= 65_535


@given(st.binary(max_size=80))
def test_bytes_of_any_kind_are_refused(data: bytes) -> None:
    refusal(data)


@pytest.mark.parametrize(
    "time",
    [
        "٢٠٢٦-01-01T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T23:59:60Z",
        "2026-01-01T00:00:00Z\n",
        "0000-01-01T00:00:00Z",
    ],
)
def test_a_time_that_is_none_is_refused(time: str) -> None:
    value = json.loads(Heartbeat(failed_handshakes=0).encode()) | {"time": time}
    with pytest.raises(VerificationError):
        parse_entry(canonical.dumps(value))
