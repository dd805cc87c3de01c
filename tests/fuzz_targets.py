"""Every parser that an auditor's or a party's hostile bytes reach, with examples of what it takes.

Shared by the properties (hypothesis) and by ``make fuzz`` (atheris). A parser may take bytes or raise an
error of psishare's own other than ``InternalError``; and what it takes, it writes again as it was.
"""

from __future__ import annotations

import functools
import io
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from audit_examples import create_log, first_entry, heartbeats, make_party
from mandate_examples import ISSUER, NOW, Signers, make_mandate
from party_examples import card_file, card_of

from psishare.audit.checkpoint import Checkpoint
from psishare.audit.cosignature import cosign, verify_cosignatures
from psishare.audit.entry import parse_entry
from psishare.audit.merkle import EMPTY_ROOT, verify_consistency, verify_inclusion
from psishare.audit.note import SignedNote, parse_signatures, serialise_signatures
from psishare.audit.signed_checkpoint import verify_checkpoint
from psishare.audit.tile import join_bundle, parse_tile_path, split_bundle, split_hashes
from psishare.audit.tlog_proof import LogProof
from psishare.errors import InternalError, PsishareError
from psishare.evidence.bundle import (
    BundleReader,
    BundleWriter,
    Header,
    OlderCheckpoint,
    ProvenEntry,
)
from psishare.evidence.quorum import Quorum
from psishare.evidence.verify import verify_evidence
from psishare.exchange.offer import Answer, Offer
from psishare.exchange.offer import Ruleset as OfferedRuleset
from psishare.exchange.opening import Opening
from psishare.exchange.receipt import Receipt, SequenceTotals
from psishare.exchange.request_file import (
    Reader,
    RequestHead,
    _pack,
    _unpack,
    read_request,
    write_request,
)
from psishare.keys.log_keys import LogKeys
from psishare.keys.note_key import NoteKey
from psishare.keys.sealed_stream import StreamOpener, StreamSealer
from psishare.keys.sealing import SealingKey
from psishare.keys.signer import Ed25519Signer
from psishare.mandates.envelope import read_envelope, verify_envelope
from psishare.mandates.revocation import revoke, sign_revocations, verify_revocations
from psishare.mandates.sealed_request import CanonicalForm, SealedRequest
from psishare.parties.card import parse_card
from psishare.transport.channel import Call
from psishare.transport.parcel import (
    COSIGNATURE,
    FAULT,
    LOG_HEAD,
    TAGS,
    Kind,
    Label,
    Parcel,
    ParcelWriter,
    _parse_head,
)

if TYPE_CHECKING:
    from collections.abc import Callable

PARTY = make_party()
COSIGNER = make_party("telecom.example", seed=2)
SIGNERS = Signers()
SENDER, RECIPIENT = Ed25519Signer.generate(), SealingKey.generate()
DIGEST = "ab" * 32
TIME = "2026-08-01T12:00:00Z"


@dataclass(frozen=True)
class Target:
    """A parser: its name, what it is called with, and bytes that it takes, or nearly.

    ``is_taken`` is False where the examples are refused for what they are about, not for their form.
    """

    name: str
    parse: Callable[[bytes], object]
    examples: Callable[[], list[bytes]]
    is_json: bool = False
    is_taken: bool = True


def feed(target: Target, data: bytes) -> None:
    """Parse bytes; raise at what no bytes may bring about."""
    try:
        target.parse(data)
    except InternalError:
        raise
    except PsishareError:
        pass


def same(again: bytes, data: bytes) -> None:
    """Require what was parsed to be written again as it was."""
    assert again == data, "parsed, but not written again as it was"


@functools.cache
def a_log() -> dict[str, bytes]:
    """Return the parts of a small log: notes, lines, bundles, tiles, proofs."""
    with tempfile.TemporaryDirectory() as folder:
        log = create_log(Path(folder) / "log")
        log.append_all(heartbeats(5))
        lines = cosign(log.head(), COSIGNER.cosigners, time=9)
        log.add_cosignature(6, lines)
        proof = LogProof(3, tuple(log.inclusion_proof(3, 6)), log.checkpoint(), log.entry(3))
        return {
            "note": log.checkpoint(),
            "lines": lines,
            "bundle": join_bundle(list(log.entries(0, 6))),
            "tile": (Path(folder) / "log/tile/0/000.p/6").read_bytes(),
            "inclusion": b"".join([EMPTY_ROOT, *log.inclusion_proof(3, 6)]),
            "tlog-proof": proof.serialise(),
            "evidence": _evidence(log),
        }


def _evidence(log: Any) -> bytes:
    file = io.BytesIO()
    writer = BundleWriter(file)
    writer.header(Header(party=PARTY.name, scope="all", entries=6, created=TIME))
    writer.head(log.checkpoint())
    writer.card(card_file(card_of()))
    writer.mandate(envelope())
    for size in (0, 1):
        proof = tuple(log.consistency_proof(size, 6))
        writer.checkpoint(OlderCheckpoint(log.checkpoint(size), proof))
    for index, entry in enumerate(log.entries(0, 6)):
        writer.entry(ProvenEntry(index, entry, tuple(log.inclusion_proof(index, 6))))
    writer.end()
    return file.getvalue()


@functools.cache
def envelope() -> bytes:
    return SIGNERS.sign(make_mandate())


@functools.cache
def offer() -> Offer:
    return Offer(
        suite="ristretto255-SHA512",
        protocol="oprf",
        authority="police.example",
        platform="tele.example",
        authority_certificate=DIGEST,
        platform_certificate=DIGEST,
        dataset="customers",
        manifest_sha256=DIGEST,
        kind="phone",
        namespace="",
        ruleset=OfferedRuleset(version=1, digest=DIGEST),
        rows=8,
        output="matches",
        frame_rows=8,
        mandate_sha256=DIGEST,
        opening_commitment=DIGEST,
        operator_commitment=DIGEST,
        nonce=DIGEST,
        time=TIME,
    )


def answer() -> Answer:
    return Answer(
        exchange_id=DIGEST,
        platform="tele.example",
        dataset="customers",
        epoch=1,
        manifest_sha256=DIGEST,
        elements=0,
        opening_commitment=None,
        nonce=DIGEST,
        time=TIME,
    )


def receipt() -> Receipt:
    totals = SequenceTotals(frames=1, rows=8, transcript=DIGEST)
    fields = offer().model_dump()
    told = {name: fields[name] for name in ("authority", "platform", "protocol", "dataset")}
    told |= {name: fields[name] for name in ("kind", "namespace", "output")}
    return Receipt(
        exchange_id=DIGEST,
        epoch=1,
        manifest_sha256=DIGEST,
        mandate_id="A" * 16,
        mandate_sha256=DIGEST,
        answer_sha256=DIGEST,
        requests=totals,
        elements=totals,
        answers=totals,
        returns=totals,
        opened=TIME,
        closed=TIME,
        **told,
    )


def opening() -> Opening:
    return Opening(
        protocol="oprf",
        seed=DIGEST,
        input_root=DIGEST,
        rows=8,
        operator="operator 1",
        operator_salt=DIGEST,
    )


@functools.cache
def request() -> bytes:
    head = RequestHead(
        authority="police.example",
        platform="telecom.example",
        dataset="customers",
        kind="phone",
        namespace="",
        rows=2,
        input_commitment=None,
        sealed_request=SealedRequest(
            namespace="",
            ruleset=CanonicalForm(version=1, digest=DIGEST),
            rows=2,
            frame_rows=1,
            frames=(DIGEST, DIGEST),
        ),
        readers=(Reader(party="court.example", bytes=1),),
        created=TIME,
    )
    return write_request(head, bytes(32), _unpack(LIST), [card_of()])


@functools.cache
def revocations() -> bytes:
    return sign_revocations(revoke(None, ISSUER, [make_mandate()], now=NOW), SIGNERS.issuer)


@functools.cache
def parcel() -> bytes:
    file = io.BytesIO()
    label = Label(
        kind=Kind.REQUEST,
        sender="police.example",
        recipient="tele.example",
        exchange_id=bytes(32),
        mandate_sha256=DIGEST,
        known_tree_size=3,
        time=TIME,
        expires=TIME,
    )
    writer = ParcelWriter(file, label, SENDER, RECIPIENT.public_key)
    for tag, message in (
        (LOG_HEAD, b"head"),
        (COSIGNATURE, b"c"),
        (TAGS[Call.OFFER], b"offer"),
        (FAULT, b""),
    ):
        writer.add(tag, message)
    writer.finish()
    return file.getvalue()


def parcel_head() -> bytes:
    with tempfile.NamedTemporaryFile() as file:
        file.write(parcel())
        file.flush()
        with _opened(Path(file.name)) as opened:
            return opened.head.document()


LIST = b"\x00\x00\x00\x01a\x00\x00\x00\x00\x00\x00\x00\x03abc"
POLICY = "\n".join(
    [
        "# a policy",
        f"log {PARTY.signer.key.encode()} https://log.example/",
        f"witness a {COSIGNER.cosigner.key.encode()}",
        f"witness b {PARTY.cosigner.key.encode()} https://witness.example/",
        "group g any a b",
        "quorum g",
        "",
    ]
).encode()


def _note(data: bytes) -> None:
    same(SignedNote.parse(data).serialise(), data)


def _lines(data: bytes) -> None:
    same(serialise_signatures(parse_signatures(data)), data)


def _cosigned(data: bytes) -> None:
    verify_cosignatures(Checkpoint(PARTY.name, 0, EMPTY_ROOT), data, COSIGNER.cosigner_keys)


def _checkpoint(data: bytes) -> None:
    verify_checkpoint(data, PARTY.verifiers)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _key(data: bytes) -> None:
    text = _text(data)
    assert NoteKey.parse(text).encode() == text


def _hashes(data: bytes) -> list[bytes]:
    """Cut bytes into hashes, the last of which may be short."""
    return [data[i : i + 32] for i in range(0, len(data), 32)] or [b""]


def _inclusion(data: bytes) -> None:
    root, *proof = _hashes(data)
    verify_inclusion(EMPTY_ROOT, len(data) % 7, 6, proof, root)


def _consistency(data: bytes) -> None:
    root, *proof = _hashes(data)
    verify_consistency(len(data) % 9, EMPTY_ROOT, 6, root, proof)


def _bundle(data: bytes) -> None:
    same(join_bundle(split_bundle(data, 6)), data)


def _tile(data: bytes) -> None:
    same(b"".join(split_hashes(data, 6)), data)


def _tile_path(data: bytes) -> None:
    path = PurePosixPath(_text(data))
    tile = parse_tile_path(path)
    assert tile is None or tile.path == path


def _entry(data: bytes) -> None:
    same(parse_entry(data).encode(), data)


def _proof(data: bytes) -> None:
    proof = LogProof.parse(data)
    same(proof.serialise(), data)
    proof.verify(proof.extra or b"", PARTY.verifiers)


def _records(data: bytes) -> None:
    reader = BundleReader(io.BytesIO(data))
    for part in (reader.cards, reader.mandates, reader.checkpoints, reader.entries):
        for _record in part():
            pass


def _whole_evidence(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        card = _OwnCard()
        verify_evidence(Path(file.name), {PARTY.name: card}, all_checkpoints=True)  # type: ignore[dict-item]


class _OwnCard:
    """The card of the log's owner, as far as evidence asks it."""

    id = PARTY.name
    role = "authority"

    checkpoint_verifiers = LogKeys.of(PARTY.verifiers)

    def verifiers(self) -> Any:
        return PARTY.verifiers

    def cosigner_keys(self) -> Any:
        return PARTY.cosigner_keys


def _envelope(data: bytes) -> None:
    read_envelope(data)
    verify_envelope(data, SIGNERS.trusted)


def _card(data: bytes) -> None:
    parse_card(data)


def _quorum(data: bytes) -> None:
    note = SignedNote.parse(a_log()["note"])
    Quorum(data).is_on(note, Checkpoint.parse_text(note.text))


def _request(data: bytes) -> None:
    head = read_request(data)
    same(head.document(), data[: data.index(b"\n")])


def _opened(path: Path) -> Parcel:
    return Parcel.open(
        path,
        key=RECIPIENT,
        recipient="tele.example",
        kind=Kind.REQUEST,
        sender_key=lambda _party: SENDER.public_key,
    )


def _parcel(data: bytes) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        _opened(Path(file.name)).close()


def _parcel_head(data: bytes) -> None:
    same(_parse_head(data).document(), data)


def _parcel_records(data: bytes) -> None:
    """What a dishonest sender seals as it should be is still no parcel."""
    if not data:
        return
    sealed = io.BytesIO()
    sealer = StreamSealer(bytes(32), sealed)
    sealer.write(data)
    sealer.finish()
    with tempfile.NamedTemporaryFile() as file:
        file.write(sealed.getvalue())
        file.flush()
        descriptor = os.open(file.name, os.O_RDONLY)
        with StreamOpener(bytes(32), descriptor, 0) as stream:
            read = Parcel(_parse_head(parcel_head()), stream)
            records = [*((LOG_HEAD, head) for head in read.heads)]
            if read.cosignature is not None:
                records.append((COSIGNATURE, read.cosignature))
            records += [read.record(index) for index in range(len(read))]
        same(b"".join(bytes([t]) + len(m).to_bytes(4, "big") + m for t, m in records), data)


def _list(data: bytes) -> None:
    same(_pack(_unpack(data)), data)


def _revocations(data: bytes) -> None:
    verify_revocations(data, SIGNERS.issuer.public_key)


def _document(kind: Any) -> Callable[[bytes], None]:
    def parse(data: bytes) -> None:
        same(kind.parse(data).document(), data)

    return parse


def _of(name: str) -> Callable[[], list[bytes]]:
    return lambda: [a_log()[name]]


TARGETS = [
    Target("note", _note, _of("note")),
    Target("signature-lines", _lines, _of("lines")),
    Target("cosignature", _cosigned, _of("lines"), is_taken=False),
    Target("checkpoint", _checkpoint, _of("note")),
    Target("verifier-key", _key, lambda: [PARTY.signer.key.encode().encode()]),
    Target("inclusion-proof", _inclusion, _of("inclusion"), is_taken=False),
    Target("consistency-proof", _consistency, _of("inclusion"), is_taken=False),
    Target("tlog-proof", _proof, _of("tlog-proof")),
    Target("entry-bundle", _bundle, _of("bundle")),
    Target("tile", _tile, _of("tile")),
    Target("tile-path", _tile_path, lambda: [b"tile/entries/x001/x234/067.p/8", b"tile/0/000"]),
    Target("entry", _entry, lambda: [first_entry().encode(), heartbeats(1)[0].encode()], True),
    Target("evidence-records", _records, _of("evidence")),
    Target("evidence", _whole_evidence, _of("evidence"), is_taken=False),
    Target("policy", _quorum, lambda: [POLICY]),
    Target("envelope", _envelope, lambda: [envelope()], True),
    Target("request", _request, lambda: [request()]),
    Target("request-list", _list, lambda: [LIST, b""]),
    Target("parcel", _parcel, lambda: [parcel()]),
    Target("parcel-head", _parcel_head, lambda: [parcel_head()], True),
    Target("parcel-records", _parcel_records, lambda: [b"\x04\x00\x00\x00\x05offer"]),
    Target("revocations", _revocations, lambda: [revocations()], True),
    Target("card", _card, lambda: [card_file(card_of())], True),
    Target("offer", _document(Offer), lambda: [offer().document()], True),
    Target("answer", _document(Answer), lambda: [answer().document()], True),
    Target("receipt", _document(Receipt), lambda: [receipt().document()], True),
    Target("opening", _document(Opening), lambda: [opening().document()], True),
    Target(
        "bundle-header",
        _document(Header),
        lambda: [Header(party="a", scope="all", entries=6, created=TIME).document()],
        True,
    ),
]
