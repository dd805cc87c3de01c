"""A list prepared for a mandate: blinded in advance or committed to, checked, and found again.

The authority prepares it and keeps its secret, sealed to itself; whoever validates computes everything
again from secret and list; before an offer the authority looks whether the list is still that one.
Source: protocols/specs/mandate.md, sections 14 to 16.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from psishare import _native
from psishare.errors import ConfigError, InputError, VerificationError
from psishare.exchange.document import now, write_time
from psishare.exchange.frame import element_bytes_of
from psishare.exchange.request_file import (
    SECRET_BYTES,
    OpenedRequest,
    Reader,
    RequestHead,
    write_request,
)
from psishare.exchange.transcript import frame_digest
from psishare.identifiers.canonical import canonicalise
from psishare.keys.durable_file import write_durably
from psishare.keys.sealing import seal
from psishare.mandates.input_commitment import commits_to, input_commitment
from psishare.mandates.sealed_request import MAX_FRAMES, CanonicalForm, SealedRequest
from psishare.psi.oprf import blinded_frames
from psishare.psi.suite import MAX_FRAME_ROWS, Sequence, n_frames

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from psishare.exchange.offer import Ruleset
    from psishare.exchange.prepared_list import Progress
    from psishare.mandates.mandate import Mandate
    from psishare.parties.card import Card
    from psishare.parties.home import Home

KEPT_INFO = b"psishare/request-secret/v1"
SUFFIX = ".request"
NOT_APPROVED = "list_not_approved"


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a prepared list is for, and what it is of.

    Attributes:
        platform: party id of who is to be asked.
        dataset: the platform's name for the set.
        kind, namespace, ruleset: of the identifiers.
    """

    platform: str
    dataset: str
    kind: str
    namespace: str
    ruleset: Ruleset


@dataclass(frozen=True, slots=True)
class ApprovedInput:
    """What a mandate's request gives an exchange: its seed and frames, where they are fixed.

    Attributes:
        seed: of a sealed request; None where the exchange draws its own.
        frame_rows: rows of a frame; None where the exchange chooses.
    """

    seed: _native.Seed | None = field(repr=False)
    frame_rows: int | None


ANY_INPUT = ApprovedInput(None, None)


def prepare_request(
    home: Home,
    subject: Subject,
    identifiers: pa.Array,
    readers: Iterable[Card],
    *,
    sealed: bool,
    frame_rows: int = MAX_FRAME_ROWS,
    progress: Progress = lambda _rows: None,
) -> bytes:
    """Prepare a list for a mandate, keep its secret sealed to this home, and return the request's file.

    Args:
        home: the authority's.
        subject: what the list is of, and for whom.
        identifiers: canonical and distinct, ``large_binary``, in first-occurrence order.
        readers: the cards of the validator and of whoever else may see the list.
        sealed: whether every element is blinded now; otherwise the list is only committed to.
        frame_rows: rows of a frame of a sealed request.
        progress: called with the number of rows blinded, frame by frame.

    Raises:
        InputError: ``request_empty``; ``request_too_large``, more than 512 frames.
        ConfigError: ``home_unwritable``, the secret cannot be kept.
    """
    _require_size(len(identifiers), frame_rows, sealed=sealed)
    root = _native.merkle_root(identifiers)
    seed = _native.Seed.generate()
    # A fresh secret for each request: never from a master, never used for a second list.
    secret = seed.secret_bytes() if sealed else secrets.token_bytes(SECRET_BYTES)
    request = None
    if sealed:
        ruleset = CanonicalForm(version=subject.ruleset.version, digest=subject.ruleset.digest)
        request = SealedRequest(
            namespace=subject.namespace,
            ruleset=ruleset,
            rows=len(identifiers),
            frame_rows=frame_rows,
            frames=tuple(_frame_digests(seed, identifiers, frame_rows, progress)),
        )
    head = RequestHead(
        authority=home.id,
        platform=subject.platform,
        dataset=subject.dataset,
        kind=subject.kind,
        namespace=subject.namespace,
        rows=len(identifiers),
        input_commitment=None if sealed else input_commitment(secret, root).hex(),
        sealed_request=request,
        readers=(Reader(party=home.id, bytes=1),),
        created=write_time(now()),
    )
    data = write_request(head, secret, identifiers, readers)
    _keep(home, head.digest, secret + root)
    return data


def check_request(
    mandate: Mandate, opened: OpenedRequest, progress: Progress = lambda _rows: None
) -> None:
    """Check that a mandate approves exactly the list of a request: every element is computed again.

    Args:
        mandate: not signed by this reader yet.
        opened: the request, opened.
        progress: called with the number of rows computed, frame by frame.

    Raises:
        VerificationError: ``request_differs``: the mandate is for other parties or another set than
            the request, or approves other elements than secret and list give; or the list is not what
            it looks like.
        InputError: ``kind_unknown``: this psishare does not know the list's kind.
    """
    head = opened.head
    for_this = (
        (head.authority, head.platform) == (mandate.authority, mandate.platform)
        and mandate.datasets == (head.dataset,)
        and mandate.kinds == (head.kind,)
    )
    if not for_this:
        raise _differs("is for other parties, or another dataset or kind")
    _require_list(opened)
    sealed = mandate.sealed_request
    if sealed is not None:
        seed = _native.Seed.from_secret_bytes(opened.secret)
        shape = (sealed.rows, sealed.namespace)
        if shape != (head.rows, head.namespace) or sealed.frames != tuple(
            _frame_digests(seed, opened.identifiers, sealed.frame_rows, progress)
        ):
            raise _differs("approves other elements than seed and list give")
    elif mandate.input_commitment is None or not commits_to(
        mandate.input_commitment, opened.secret, _native.merkle_root(opened.identifiers)
    ):
        raise _differs("does not commit to this list")


def _require_list(opened: OpenedRequest) -> None:
    """Refuse a list that is not what it says it is: a signer reads values, of one kind, once each."""
    head, identifiers = opened.head, opened.identifiers
    if len(identifiers) != head.rows:
        raise _differs("approves another number of rows than the list has")
    if not pc.all(pc.starts_with(identifiers, head.prefix)).as_py():
        raise _differs("approves a list that holds something of another kind or namespace")
    if pc.count_distinct(identifiers).as_py() != len(identifiers):
        raise _differs("approves a list that holds something twice")
    if not _is_canonical(head, identifiers):
        raise _differs("approves a list that holds something that is no canonical identifier")


def _is_canonical(head: RequestHead, identifiers: pa.Array) -> bool:
    """Tell whether every value is spelled as software would spell it.

    Anything else matches nothing, but may be written to hide its neighbours from whoever reads the list.
    """
    try:
        text = identifiers.cast(pa.large_string())
    except pa.ArrowInvalid:
        return False
    # The prefix is ASCII: as many characters as bytes.
    values = pc.utf8_slice_codeunits(text, len(head.prefix))
    found = canonicalise(values, head.kind, namespace=head.namespace).values
    return bool(found.equals(identifiers))


def approved_input(home: Home, mandate: Mandate, identifiers: pa.Array) -> ApprovedInput:
    """Return what a mandate fixes of an exchange; refuse a list that is not the one it approves.

    Args:
        home: the authority's, which prepared the request.
        mandate: which is to be used.
        identifiers: canonical and distinct, in first-occurrence order.

    Raises:
        ConfigError: ``request_missing``, this home has not prepared it.
        InputError: ``list_not_approved``. Nothing has been sent.
        VerificationError: what is kept does not open.
    """
    sealed, commitment = mandate.sealed_request, mandate.input_commitment
    if sealed is None and commitment is None:
        return ANY_INPUT
    digest = sealed.digest if sealed is not None else bytes.fromhex(commitment or "")
    secret, root = recall(home, digest)
    if _native.merkle_root(identifiers) != root or (
        commitment is not None and not commits_to(commitment, secret, root)
    ):
        raise InputError(
            "the list is not the one that the mandate approves",
            mend="Give the file, column and region with which `psishare mandate request` made it.",
            reason=NOT_APPROVED,
        )
    if sealed is None:
        return ANY_INPUT
    seed = _native.Seed.from_secret_bytes(secret)
    _require_elements(sealed, seed, identifiers)
    return ApprovedInput(seed, sealed.frame_rows)


def _require_elements(sealed: SealedRequest, seed: _native.Seed, identifiers: pa.Array) -> None:
    """Refuse before the offer what would end the exchange at its first frame.

    The mandate's elements were blinded otherwise: by software of another version, say.
    """
    digests = _frame_digests(seed, identifiers, sealed.frame_rows, lambda _rows: None)
    if next(digests) != sealed.frames[0]:
        raise InputError(
            "the mandate approves other elements than this psishare makes of the list",
            mend="Use the version that prepared the request, or prepare it and have it signed again.",
            reason=NOT_APPROVED,
        )


def recall(home: Home, digest: bytes) -> tuple[bytes, bytes]:
    """Return secret and input root, 32 bytes each, of a request that this home has prepared.

    Raises:
        ConfigError: ``request_missing``.
        VerificationError: what is kept does not open.
    """
    path = home.mandates_path / f"{digest.hex()}{SUFFIX}"
    try:
        sealed = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            "the mandate approves a list that was not prepared in this home",
            mend="Use the home in which `psishare mandate request` was run.",
            reason="request_missing",
        ) from error
    kept = home.sealing_key().open(sealed, info=KEPT_INFO, aad=digest)
    return kept[:SECRET_BYTES], kept[SECRET_BYTES:]


def _keep(home: Home, digest: bytes, kept: bytes) -> None:
    sealed = seal(home.card.sealing_key_bytes, kept, info=KEPT_INFO, aad=digest)
    path = home.mandates_path / f"{digest.hex()}{SUFFIX}"
    write_durably(path, sealed, error=ConfigError, reason="home_unwritable")


def _frame_digests(
    seed: _native.Seed, identifiers: pa.Array, frame_rows: int, progress: Progress
) -> Iterator[str]:
    """Yield the digest of each request frame, as the platform will compute it."""
    for index, frame in enumerate(blinded_frames(seed, identifiers, frame_rows)):
        elements = element_bytes_of(frame.blinded)
        rows = len(frame.blinded)
        yield frame_digest(Sequence.REQUESTS, index, rows, elements).hex()
        progress(rows)


def _require_size(rows: int, frame_rows: int, *, sealed: bool) -> None:
    if not rows:
        raise InputError(
            "the list holds no identifier to prepare",
            mend="Check the file, the key column and the kind with `psishare identifiers check`.",
            reason="request_empty",
        )
    if sealed and n_frames(rows, frame_rows) > MAX_FRAMES:
        raise InputError(
            f"a sealed request has at most {MAX_FRAMES} frames",
            mend="Split the list over several mandates.",
            reason="request_too_large",
        )


def _differs(fault: str) -> VerificationError:
    return VerificationError(
        f"the mandate {fault}",
        mend="Do not sign it; ask who drafted it for the mandate of this request.",
        reason="request_differs",
    )
