"""A parcel that opens is whole, its sender's and for this party; any other is refused by name."""

from __future__ import annotations

import io
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from psishare.errors import ConfigError, InputError, ProtocolError
from psishare.keys import canonical
from psishare.keys.sealing import SealingKey, seal
from psishare.keys.signer import Ed25519Signer
from psishare.keys.statement import sign_statement
from psishare.transport.channel import Call
from psishare.transport.message import MESSAGE_BYTES_MAX
from psishare.transport.parcel import (
    COSIGNATURE,
    FAULT,
    FIRST_LINE_BYTES,
    FIRST_LINES,
    HEADS_MAX,
    INFO,
    LABEL,
    LOG_HEAD,
    PLAIN_VERSION,
    TAGS,
    VERSION,
    Kind,
    Label,
    Parcel,
    ParcelWriter,
)

if TYPE_CHECKING:
    from pathlib import Path

SENDER, RECIPIENT = "police.example", "tele.example"
SIGNER = Ed25519Signer.generate()
KEY = SealingKey.generate()
Records = list[tuple[int, bytes]]
RECORDS: Records = [
    (LOG_HEAD, b"head"),
    (TAGS[Call.OFFER], b"offer"),
    (TAGS[Call.EVALUATE], b"frame 0" * 30_000),
    (TAGS[Call.EVALUATE], b""),
]


def label(**changes: object) -> Label:
    fields: dict[str, object] = {
        "kind": Kind.REQUEST,
        "sender": SENDER,
        "recipient": RECIPIENT,
        "exchange_id": bytes(32),
        "mandate_sha256": "ab" * 32,
        "known_tree_size": 3,
        "time": "2026-01-02T03:04:05Z",
        "expires": "2026-02-02T03:04:05Z",
    }
    return Label(**(fields | changes))  # type: ignore[arg-type]


def written(
    records: Records, *, signer: Ed25519Signer = SIGNER, key: SealingKey = KEY, **changes: object
) -> bytes:
    out = io.BytesIO()
    writer = ParcelWriter(out, label(**changes), signer, key.public_key)
    for tag, message in records:
        writer.add(tag, message)
    writer.finish()
    return out.getvalue()


def sender_key(party: str) -> bytes:
    if party != SENDER:
        raise ConfigError("unknown", mend="Pin it.", reason="peer_unknown")
    return SIGNER.public_key


def opened(path: Path, data: bytes, *, key: SealingKey = KEY, kind: Kind = Kind.REQUEST) -> Parcel:
    path.write_bytes(data)
    return Parcel.open(path, key=key, recipient=RECIPIENT, kind=kind, sender_key=sender_key)


def refusal(path: Path, data: bytes, **options: object) -> str:
    with pytest.raises(ProtocolError) as raised:
        opened(path, data, **options)  # type: ignore[arg-type]
    return raised.value.reason


def resealed(
    data: bytes, document: dict[str, object] | bytes, *, key: bytes | None = None
) -> bytes:
    """Return a parcel with another head, as its sender could make it."""
    fixed = FIRST_LINE_BYTES + 4
    length = int.from_bytes(data[FIRST_LINE_BYTES:fixed], "big")
    secret = KEY.open(data[fixed : fixed + length], info=INFO, aad=b"")
    encoded = document if isinstance(document, bytes) else canonical.dumps(document)
    signature = sign_statement(SIGNER, LABEL, encoded)
    sealed = seal(KEY.public_key, (key or secret[:32]) + signature + encoded, info=INFO, aad=b"")
    return FIRST_LINES[VERSION] + len(sealed).to_bytes(4, "big") + sealed + data[fixed + length :]


def head_of(path: Path, data: bytes) -> dict[str, object]:
    with opened(path, data) as parcel:
        return parcel.head.model_dump(mode="json")


def test_a_parcel_reads_back_in_any_order(tmp_path: Path) -> None:
    with opened(tmp_path / "p", written(RECORDS)) as parcel:
        assert parcel.heads == [b"head"]
        assert len(parcel) == 3
        assert [parcel.record(i) for i in (2, 0, 1)] == [RECORDS[i] for i in (3, 1, 2)]
        assert (parcel.head.sender, parcel.head.known_tree_size) == (SENDER, 3)
        with pytest.raises(ProtocolError, match="ends before"):
            parcel.record(3)


def test_a_cosignature_stands_beside_the_records(tmp_path: Path) -> None:
    with opened(tmp_path / "p", written([RECORDS[0], (COSIGNATURE, b"lines"), *RECORDS[1:]])) as p:
        assert (p.heads, p.cosignature, len(p)) == ([b"head"], b"lines", 3)
        assert p.record(0) == RECORDS[1]


def test_a_parcel_of_version_1_is_read_and_holds_no_cosignature(tmp_path: Path) -> None:
    data = written(RECORDS, version=PLAIN_VERSION)
    assert data.startswith(b"psishare-parcel/v1\n")
    with opened(tmp_path / "p", data) as parcel:
        assert (parcel.head.version, len(parcel), parcel.cosignature) == (1, 3, None)
    data = written([(COSIGNATURE, b"lines"), *RECORDS[1:]], version=PLAIN_VERSION)
    assert refusal(tmp_path / "p", data) == "parcel_malformed"


@pytest.mark.parametrize("line", [b"psishare-parcel/v3\n", b"psishare-parcel/v1\n"])
def test_a_first_line_of_another_version_than_the_head_is_refused(
    tmp_path: Path, line: bytes
) -> None:
    data = written(RECORDS)
    assert refusal(tmp_path / "p", line + data[FIRST_LINE_BYTES:]) == "parcel_malformed"


def test_no_two_parcels_are_known_by_one_digest(tmp_path: Path) -> None:
    digests = set()
    for _ in range(2):
        with opened(tmp_path / "p", written(RECORDS)) as parcel:
            digests.add(parcel.head.sha256)
    assert len(digests) == 2


def test_a_courier_sees_neither_party_nor_contents() -> None:
    data = written(RECORDS)
    for word in (SENDER, RECIPIENT, "offer", "request", "frame 0"):
        assert word.encode() not in data


def test_a_changed_byte_anywhere_is_found(tmp_path: Path) -> None:
    data = written(RECORDS)
    head = FIRST_LINE_BYTES + 4
    places = [0, FIRST_LINE_BYTES, head, head + 1_200, head + 1_900, len(data) // 2, len(data) - 1]
    for place in places:
        changed = bytearray(data)
        changed[place] ^= 0x01
        assert refusal(tmp_path / "p", bytes(changed)).startswith("parcel_")


def test_a_parcel_that_is_cut_off_anywhere_is_found(tmp_path: Path) -> None:
    data = written(RECORDS)
    for length in (0, 10, FIRST_LINE_BYTES + 4, 500, len(data) // 2, len(data) - 1):
        assert refusal(tmp_path / "p", data[:length]) in {"parcel_malformed", "parcel_damaged"}
    assert refusal(tmp_path / "p", data + b"x") == "parcel_damaged"


def test_a_parcel_for_another_party_does_not_open(tmp_path: Path) -> None:
    data = written(RECORDS, key=SealingKey.generate())
    assert refusal(tmp_path / "p", data) == "parcel_unopened"


def test_a_parcel_that_was_passed_on_is_refused(tmp_path: Path) -> None:
    """Somebody to whom it was sealed has sealed it again, signature and all."""
    data = written(RECORDS, recipient="bank.example")
    assert refusal(tmp_path / "p", data) == "parcel_misdirected"


def test_another_content_key_than_was_signed_is_refused(tmp_path: Path) -> None:
    data = written(RECORDS)
    changed = resealed(data, head_of(tmp_path / "p", data), key=bytes(32))
    assert refusal(tmp_path / "p", changed) == "parcel_misdirected"


def test_a_parcel_that_another_key_signed_is_refused(tmp_path: Path) -> None:
    data = written(RECORDS, signer=Ed25519Signer.generate())
    assert refusal(tmp_path / "p", data) == "parcel_signature_invalid"


def test_a_parcel_of_an_unknown_party_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown"):
        opened(tmp_path / "p", written(RECORDS, sender="bank.example"))


def test_a_parcel_of_another_kind_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "p", written(RECORDS), kind=Kind.RECEIPT) == "parcel_unexpected"


@pytest.mark.parametrize(
    "change",
    [
        {"version": 3},
        {"version": 1},
        {"extra": 1},
        {"time": "now"},
        {"known_tree_size": -1},
        {"exchange_id": "x"},
    ],
)
def test_a_head_with_wrong_fields_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    data = written(RECORDS)
    head = head_of(tmp_path / "p", data)
    assert refusal(tmp_path / "p", resealed(data, head | change)) == "parcel_malformed"


def test_a_head_that_is_not_canonical_is_refused(tmp_path: Path) -> None:
    data = written(RECORDS)
    spaced = canonical.dumps(head_of(tmp_path / "p", data)).replace(b",", b", ")
    assert refusal(tmp_path / "p", resealed(data, spaced)) == "parcel_malformed"


@pytest.mark.parametrize(
    "records",
    [
        [(99, b"unknown")],
        [(TAGS[Call.OFFER], b"offer"), (LOG_HEAD, b"late")],
        [(TAGS[Call.OFFER], b"offer"), (COSIGNATURE, b"late")],
        [(COSIGNATURE, b"one"), (COSIGNATURE, b"two")],
        [(COSIGNATURE, b"one"), (LOG_HEAD, b"late")],
        [(LOG_HEAD, b"head")] * (HEADS_MAX + 1),
        [(FAULT, b"x" * (MESSAGE_BYTES_MAX + 1))],
    ],
    ids=["tag", "late head", "late", "two", "head after it", "heads", "size"],
)
def test_records_out_of_place_or_size_are_refused(tmp_path: Path, records: Records) -> None:
    assert refusal(tmp_path / "p", written(records)) == "parcel_malformed"


@pytest.mark.parametrize("tail", [b"\x04", b"\x04\x00\x00\x00\x05offe"])
def test_a_payload_that_ends_within_a_record_is_refused(tmp_path: Path, tail: bytes) -> None:
    out = io.BytesIO()
    writer = ParcelWriter(out, label(), SIGNER, KEY.public_key)
    writer._stream.write(tail)
    writer.finish()
    assert refusal(tmp_path / "p", out.getvalue()) in {"parcel_malformed", "parcel_damaged"}


def test_a_file_that_is_not_there_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        Parcel.open(
            tmp_path / "none",
            key=KEY,
            recipient=RECIPIENT,
            kind=Kind.REQUEST,
            sender_key=sender_key,
        )
    assert raised.value.reason == "file_unreadable"


def test_memory_does_not_grow_with_the_parcel(tmp_path: Path) -> None:
    """Sixteen mebibytes are written, checked and read in less than three."""
    record = bytes(256 * 1024)
    tracemalloc.start()
    try:
        with (tmp_path / "p").open("wb") as file:
            writer = ParcelWriter(file, label(), SIGNER, KEY.public_key)
            for _ in range(64):
                writer.add(TAGS[Call.EVALUATE], record)
            writer.finish()
        with Parcel.open(
            tmp_path / "p",
            key=KEY,
            recipient=RECIPIENT,
            kind=Kind.REQUEST,
            sender_key=sender_key,
        ) as parcel:
            assert all(parcel.record(i)[1] == record for i in range(64))
        _current, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * 1024 * 1024
