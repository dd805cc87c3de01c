"""Replay of a dataset: whether a platform's published set is exactly a list, without its key (dataset.md, section 8).

A dataset that was updated is its list and what each update changed. The auditor blinds the list and the platform answers with proofs; then the auditor makes the shards again
and compares them with the manifest's. The platform's key stays where it is.
"""

from __future__ import annotations

import hashlib
import itertools
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from psishare import _native
from psishare.datasets.manifest import LABEL, SignedManifest, parse_manifest
from psishare.errors import InputError, VerificationError
from psishare.keys.statement import sign_statement, verify_statement
from psishare.psi.channel import frames
from psishare.psi.oprf import blinded_frames

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psishare.datasets.dataset import Dataset
    from psishare.datasets.listed import ListedDataset
    from psishare.datasets.manifest import Manifest
    from psishare.keys.signer import Signer

FRAME_ROWS = 32_768
ELEMENT_BYTES = 32
PROOF_BYTES = 64
REQUEST_MAGIC = b"psishare/dataset-request/v2\n"
ANSWER_MAGIC = b"psishare/dataset-answer/v1\n"
ANSWER_LABEL = "dataset-answer"
SIGNATURE_BYTES = 64
_LENGTH = struct.Struct(">I")


@dataclass(frozen=True, slots=True)
class DatasetReplay:
    """What the replay of a dataset came to.

    Attributes:
        signed: the manifest that was answered for.
        listed: distinct identifiers that the lists give.
        shard: the first shard that they do not give; None where they give them all. One more than the
            last where they tell of a part that the manifest has not.
    """

    signed: SignedManifest
    listed: int
    shard: int | None


def make_request(identifiers: pa.Array, seed: bytes) -> bytes:
    """Blind a whole list for the platform to answer.

    Args:
        identifiers: canonical, ``binary`` or ``large_binary``, shape ``(n,)``: ``ListedDataset.asked``.
        seed: 32 bytes of the operating system's randomness, used for nothing else.
    """
    secret = _native.Seed.from_secret_bytes(seed)
    blinded = (frame.blinded for frame in blinded_frames(secret, identifiers, FRAME_ROWS))
    return REQUEST_MAGIC + b"".join(map(_bytes_of, blinded))


def answer_request(request: bytes, dataset: Dataset, signer: Signer) -> bytes:
    """Evaluate every element of a request, with proofs; the caller logs it first.

    Args:
        request: as ``make_request`` made it.
        dataset: the platform's epoch.
        signer: the platform's Ed25519 key.

    Raises:
        VerificationError: ``replay_malformed``.
        InputError: ``list_differs``: it is not about as many identifiers as the set holds.
        ProtocolError: an element is none.
        ConfigError: the key is gone.
    """
    elements = _elements(request)
    require_whole(len(elements), dataset)
    key = dataset.key()
    answered = [key.blind_evaluate(frame) for frame in frames(elements, FRAME_ROWS)]
    document = dataset.signed.document
    body = (
        ANSWER_MAGIC
        + hashlib.sha256(request).digest()
        + _LENGTH.pack(len(document))
        + document
        + dataset.signed.signature
        + b"".join(proof + _bytes_of(evaluated) for evaluated, proof in answered)
    )
    return body + sign_statement(signer, ANSWER_LABEL, hashlib.sha256(body).digest())


def require_whole(n_elements: int, dataset: Dataset) -> None:
    """Refuse a request that is not about every item of every part: a replay is no way to ask about a few.

    Raises:
        InputError: ``list_differs``.
    """
    items = sum(part.items for part in dataset.manifest.parts if part.change != "remove")
    if n_elements != items:
        raise InputError(
            f"the request is about {n_elements:,} identifiers, and the dataset's parts hold {items:,}",
            mend="Blind the whole list that the dataset was encoded from, and what each update changed.",
            reason="list_differs",
        )


def request_size(request: bytes) -> int:
    """Return how many elements a request holds.

    Raises:
        VerificationError: ``replay_malformed``.
    """
    return len(_elements(request))


def check_answer(
    request: bytes, answer: bytes, listed: ListedDataset, seed: bytes, public_key: bytes
) -> DatasetReplay:
    """Make a dataset's shards again from lists and the platform's answer, and compare, part by part.

    Args:
        request: what was sent.
        answer: what came back.
        listed: the lists, as they were blinded.
        seed: the request's.
        public_key: the platform's Ed25519 key, from where the auditor trusts it.

    Raises:
        VerificationError: the answer is malformed, of another request, or not signed by the platform.
        ProtocolError: a proof is wrong: it was not evaluated with the manifest's key.
        InputError: ``list_differs``, the request is of another list or seed.
    """
    _elements(request)
    identifiers = listed.asked
    if make_request(identifiers, seed) != request:
        raise InputError(
            "the request was not made of this list with this seed",
            mend="Give the list, changes, kind and region with which the request was made.",
            reason="list_differs",
        )
    signed, rest = _open(request, answer, public_key)
    secret = _native.Seed.from_secret_bytes(seed)
    fingerprints = _finalized(rest, identifiers, secret, signed)
    shard = _first_other(signed.manifest, listed, fingerprints)
    return DatasetReplay(signed, len(listed.held), shard)


def _first_other(
    manifest: Manifest, listed: ListedDataset, fingerprints: pa.FixedSizeBinaryArray
) -> int | None:
    """Return the first shard that the lists do not give; None where they give every part."""
    places = manifest.places()
    index = 0
    for told, part in zip(_told(listed, fingerprints), manifest.parts, strict=False):
        change, held = told
        runs = [_native.sort_distinct(held, bits=manifest.fingerprint_bits)] if len(held) else []
        for place in itertools.islice(places, len(part.shards)):
            data, _items = _native.shard_encode(
                runs,
                bits=manifest.fingerprint_bits,
                prefix_bits=part.prefix_bits,
                prefix=place.prefix,
            )
            digest = hashlib.sha256(data).hexdigest()
            if change != part.change or digest != place.shard.sha256:
                return place.index
        index += len(part.shards)
    return None if len(listed.parts) == len(manifest.parts) else index


def _told(
    listed: ListedDataset, fingerprints: pa.FixedSizeBinaryArray
) -> Iterator[tuple[str, pa.FixedSizeBinaryArray]]:
    """Yield each part that the lists tell of: what it does, and its fingerprints.

    Args:
        listed: the lists.
        fingerprints: of ``listed.asked``, in its order.
    """
    asked, start = listed.asked, 0
    for part in listed.parts:
        if part.change == "remove":
            yield part.change, fingerprints.take(pc.index_in(part.identifiers, value_set=asked))
            continue
        yield part.change, fingerprints.slice(start, len(part.identifiers))
        start += len(part.identifiers)


def _finalized(
    data: bytes, identifiers: pa.Array, seed: _native.Seed, signed: SignedManifest
) -> pa.FixedSizeBinaryArray:
    """Verify each frame's proof, and return the fingerprints in the order of the identifiers."""
    place = 0
    bits = signed.manifest.fingerprint_bits
    found = [pa.array([], pa.binary(-(-bits // 8)))]
    indices = [pa.array([], pa.uint64())]
    for frame in blinded_frames(seed, identifiers, FRAME_ROWS):
        proof = data[place : place + PROOF_BYTES]
        start, place = place + PROOF_BYTES, place + PROOF_BYTES + len(frame.blinded) * ELEMENT_BYTES
        if place > len(data):
            raise _malformed("is cut short")
        indices.append(frame.indices)
        found.append(
            seed.finalize(
                frame.identifiers,
                frame.indices,
                frame.blinded,
                _array(data[start:place]),
                proof=proof,
                public_key=bytes.fromhex(signed.manifest.public_key),
                bits=bits,
            )
        )
    if place != len(data):
        raise _malformed("goes on after its last frame")
    # They come in the order sent, which the seed has drawn.
    return pa.concat_arrays(found).take(pc.sort_indices(pa.concat_arrays(indices)))


def _open(request: bytes, answer: bytes, public_key: bytes) -> tuple[SignedManifest, bytes]:
    """Verify who answered what, and return the manifest and the frames."""
    body, signature = answer[:-SIGNATURE_BYTES], answer[-SIGNATURE_BYTES:]
    start = len(ANSWER_MAGIC) + ELEMENT_BYTES
    if len(body) < start + _LENGTH.size or not body.startswith(ANSWER_MAGIC):
        raise _malformed("is no answer of this version")
    if body[len(ANSWER_MAGIC) : start] != hashlib.sha256(request).digest():
        raise _malformed("is of another request")
    (length,) = _LENGTH.unpack_from(body, start)
    end = start + _LENGTH.size + length
    if end + SIGNATURE_BYTES > len(body):
        raise _malformed("is cut short")
    document, frames_at = body[start + _LENGTH.size : end], end + SIGNATURE_BYTES
    manifest = parse_manifest(document)
    party = manifest.platform
    digest = hashlib.sha256(body).digest()
    verify_statement(public_key, ANSWER_LABEL, digest, signature, party=party)
    verify_statement(public_key, LABEL, document, body[end:frames_at], party=party)
    return SignedManifest(manifest, document, body[end:frames_at]), body[frames_at:]


def _elements(data: bytes) -> pa.FixedSizeBinaryArray:
    rest = data[len(REQUEST_MAGIC) :]
    if not data.startswith(REQUEST_MAGIC) or len(rest) % ELEMENT_BYTES:
        raise _malformed("is no file of a replay of this version")
    return _array(rest)


def _array(data: bytes) -> pa.FixedSizeBinaryArray:
    count = len(data) // ELEMENT_BYTES
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(ELEMENT_BYTES), count, [None, pa.py_buffer(data)]
    )


def _bytes_of(elements: pa.FixedSizeBinaryArray) -> bytes:
    start = elements.offset * ELEMENT_BYTES
    buffer = elements.buffers()[1]
    return buffer.to_pybytes()[start : start + len(elements) * ELEMENT_BYTES] if buffer else b""


def _malformed(fault: str) -> VerificationError:
    return VerificationError(
        f"what was given for a dataset's replay {fault}",
        mend="Get the file again as `psishare audit dataset-ask` or `dataset-answer` wrote it.",
        reason="replay_malformed",
    )
