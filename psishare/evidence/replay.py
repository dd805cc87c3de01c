"""Replay: show that the requests which an authority signed were exactly a list, or where they were not.

From the opening (unsealed by its owner, or by the court that a mandate names) and the list, every blinded
element is computed again, in the order sent, and compared with the transcript in the log that both
parties signed. The one file here that needs the native extension, and only when it is used.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from psishare.audit.entry import ExchangeAborted, ExchangeClosed, ExchangeOpened
from psishare.errors import InputError
from psishare.evidence.source import open_evidence
from psishare.evidence.story import Story
from psishare.exchange.offer import WIRE_VERSION, Offer
from psishare.exchange.receipt import Receipt
from psishare.exchange.transcript import Transcript, frame_digest
from psishare.mandates.input_commitment import commits_to

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import pyarrow as pa

    from psishare._native import Seed
    from psishare.exchange.opening import Opening
    from psishare.parties.card import Card

ELEMENT_BYTES = 32
_REQUESTS = "requests"


class ReplayFault(StrEnum):
    """Why a replay fails."""

    OPENING_DIFFERS = "opening_differs"
    """The opening is not the one that the offer committed to."""
    LIST_DIFFERS = "list_differs"
    """The list is not the one that the opening is about."""
    INPUT_DIFFERS = "input_differs"
    """The list that was asked is not the one that the mandate commits to."""
    REQUESTS_DIFFER = "requests_differ"
    """The list is the one committed to, and something else was asked."""


@dataclass(frozen=True, slots=True)
class SignedRequests:
    """What a log tells of an exchange's requests, as both parties or the authority signed it.

    Attributes:
        offer: the authority's document.
        frames: how many request frames the last signature covers.
        transcript: after the last of them, 32 bytes; None where there are none.
        ending: ``closed``, ``aborted`` or ``open``.
        input_commitment: the mandate's, hexadecimal, where the evidence holds the mandate and it has
            one.
    """

    offer: Offer
    frames: int
    transcript: bytes | None
    ending: str
    input_commitment: str | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay came to.

    Attributes:
        exchange_id: hexadecimal.
        protocol: of the exchange.
        ending: how the exchange ended.
        frames: request frames that were compared.
        rows: elements that were signed.
        listed: distinct identifiers of the list.
        fault: why it fails; None where exactly this list was asked.
        index: the first distinct identifier of the list that was not asked as it stands; None where
            that cannot be told, or is none of the list.
        frame: the first request frame that differs; None where that cannot be told.
        input_checked: whether the mandate commits to a list and that was looked at.
        named_by_elements: whether the retained elements, which the signed transcript bears out, were
            there to name the row.
    """

    exchange_id: str
    protocol: str
    ending: str
    frames: int
    rows: int
    listed: int
    fault: ReplayFault | None = None
    index: int | None = None
    frame: int | None = None
    named_by_elements: bool = False
    input_checked: bool = False


def signed_requests(path: Path, trust: Mapping[str, Card], exchange_id: str) -> SignedRequests:
    """Return the signed requests of one exchange, from verified evidence.

    Raises:
        InputError: ``exchange_not_found``, the evidence tells of no opened exchange of that id.
        VerificationError, AuditError, ConfigError: as ``open_evidence``.
    """
    found: SignedRequests | None = None
    with open_evidence(path, trust) as evidence:
        story = Story(evidence.owner, trust, evidence.book)
        for index, entry in evidence.entries():
            story.take(index, entry)
            if getattr(entry, "exchange_id", None) != exchange_id:
                continue
            if isinstance(entry, ExchangeOpened):
                found = SignedRequests(Offer.parse(base64.b64decode(entry.offer)), 0, None, "open")
            elif isinstance(entry, ExchangeClosed) and found is not None:
                totals = Receipt.parse(base64.b64decode(entry.receipt)).requests
                transcript = bytes.fromhex(totals.transcript)
                found = SignedRequests(found.offer, totals.frames, transcript, "closed")
            elif isinstance(entry, ExchangeAborted) and found is not None:
                last = entry.requests_transcript
                transcript_or_none = bytes.fromhex(last) if last else None
                found = SignedRequests(found.offer, entry.frames, transcript_or_none, "aborted")
        for _verdict in story.unfinished():
            pass
    if found is None:
        raise InputError(
            "the evidence tells of no opened exchange of that id",
            mend="Give the whole id, and evidence that has the exchange in its scope.",
            reason="exchange_not_found",
        )
    mandate = evidence.book.get(found.offer.mandate_sha256)
    return replace(found, input_commitment=mandate.input_commitment if mandate else None)


def replay(
    signed: SignedRequests,
    opening: Opening,
    identifiers: pa.Array,
    *,
    elements: bytes | None = None,
    input_salt: bytes | None = None,
) -> Replay:
    """Compute again what was asked, and compare it with what was signed.

    Args:
        signed: of the exchange.
        opening: unsealed.
        identifiers: the list: canonical and distinct, ``binary`` or ``large_binary``, in
            first-occurrence order.
        elements: those that the authority retained, 32 bytes each in the order sent; with them the
            first row that differs is named. What the signed transcript does not bear out is not used.
        input_salt: of the mandate's input commitment, 32 bytes; without it that is not looked at.

    Raises:
        InputError: ``replay_unsupported``, the elements of the protocol, or of the exchange's version
            of the wire, cannot be computed again here.
    """
    from psishare import _native  # noqa: PLC0415  evidence is read without it everywhere else

    offer = signed.offer
    _require_replayable(offer)
    seed = _native.Seed.from_secret_bytes(bytes.fromhex(opening.seed))
    commitment = seed.commitment(bytes.fromhex(opening.input_root)).hex()
    looked = signed.input_commitment is not None and input_salt is not None
    asked = _Asked(signed, seed, identifiers, elements, input_checked=looked)
    if (commitment, opening.protocol, opening.rows) != (
        offer.opening_commitment,
        offer.protocol,
        offer.rows,
    ):
        return asked.verdict(ReplayFault.OPENING_DIFFERS)
    committed = signed.input_commitment if input_salt is not None else None
    if committed is not None and not commits_to(
        committed, input_salt or b"", bytes.fromhex(opening.input_root)
    ):
        return asked.verdict(ReplayFault.INPUT_DIFFERS)
    if _native.merkle_root(identifiers).hex() != opening.input_root:
        return asked.differing(ReplayFault.LIST_DIFFERS)
    if asked.is_as_signed():
        return asked.verdict(None)
    return asked.differing(ReplayFault.REQUESTS_DIFFER)


def _require_replayable(offer: Offer) -> None:
    if offer.protocol not in {"oprf", "ecdh"}:
        raise InputError(
            f"the elements of {offer.protocol} cannot be computed again",
            mend="Replay exchanges of oprf and ecdh.",
            reason="replay_unsupported",
        )
    # Elements of ecdh have been the same in every version.
    if offer.protocol == "oprf" and offer.wire_version != WIRE_VERSION:
        raise InputError(
            f"the exchange is of wire version {offer.wire_version}, whose elements were others than"
            f" those of version {WIRE_VERSION}",
            mend="Replay it with a psishare that speaks that version.",
            reason="replay_unsupported",
        )


class _Asked:
    """The requests of an exchange, computed again from a seed and a list."""

    def __init__(
        self,
        signed: SignedRequests,
        seed: Seed,
        identifiers: pa.Array,
        elements: bytes | None,
        *,
        input_checked: bool,
    ) -> None:
        self._input_checked = input_checked
        self._signed = signed
        self._offer = signed.offer
        self._seed = seed
        self._identifiers = identifiers
        self._rows = min(signed.frames * signed.offer.frame_rows, signed.offer.rows)
        self._elements = self._borne_out(elements)

    def verdict(
        self, fault: ReplayFault | None, *, index: int | None = None, frame: int | None = None
    ) -> Replay:
        """Return what the replay came to."""
        return Replay(
            exchange_id=self._offer.exchange_id.hex(),
            protocol=self._offer.protocol,
            ending=self._signed.ending,
            frames=self._signed.frames,
            rows=self._rows,
            listed=len(self._identifiers),
            fault=fault,
            index=index,
            frame=frame,
            named_by_elements=self._elements is not None,
            input_checked=self._input_checked,
        )

    def is_as_signed(self) -> bool:
        """Tell whether the list gives the transcript that was signed."""
        if self._signed.transcript is None:
            return True
        sent = b"".join(self._sent())
        return self._chained(sent) == self._signed.transcript

    def differing(self, fault: ReplayFault) -> Replay:
        """Name the first row, and the first frame, that differ; as far as retained elements tell."""
        if self._elements is None:
            return self.verdict(fault)
        index, position = (
            self._first_of_order() if self._offer.protocol == "oprf" else self._first_of_set()
        )
        frame = None if position is None else position // self._offer.frame_rows
        return self.verdict(fault, index=index, frame=frame)

    def _first_of_order(self) -> tuple[int | None, int | None]:
        """Return, for ``oprf``, the first identifier whose element was not sent in its place."""
        elements = self._elements or b""
        order = self._seed.order(self._offer.rows).to_pylist()
        place = {index: position for position, index in enumerate(order)}
        listed = self._blinded(list(range(len(self._identifiers))))
        wrong: list[tuple[int, int]] = []
        for index in range(max(len(self._identifiers), self._offer.rows)):
            position = place.get(index)
            if position is None:
                # The list is longer than what was offered.
                wrong.append((index, self._rows))
                break
            if position >= self._rows:
                continue
            start = position * ELEMENT_BYTES
            given = listed[index * ELEMENT_BYTES : (index + 1) * ELEMENT_BYTES]
            if elements[start : start + ELEMENT_BYTES] != given:
                wrong.append((index, position))
        if not wrong:
            return None, None
        first = wrong[0][0]
        in_order = [position for _index, position in wrong if position < self._rows]
        return (
            first if first < len(self._identifiers) else None,
            min(in_order) if in_order else None,
        )

    def _first_of_set(self) -> tuple[int | None, int | None]:
        """Return, for ``ecdh``, the first identifier that was not asked, and the first sent of none."""
        elements = self._elements or b""
        sent = [elements[i : i + ELEMENT_BYTES] for i in range(0, len(elements), ELEMENT_BYTES)]
        listed = self._seed.scalar().blind(self._identifiers).to_pylist()
        asked, given = set(sent), set(listed)
        # Elements are sent in byte order: what is above the last one sent was not due yet.
        last = sent[-1] if sent and self._rows < self._offer.rows else b"\xff" * ELEMENT_BYTES
        index = next(
            (i for i, each in enumerate(listed) if each <= last and each not in asked), None
        )
        position = next((p for p, each in enumerate(sent) if each not in given), None)
        return index, position

    def _sent(self) -> Iterator[bytes]:
        """Yield the elements of the list in the order in which they were sent, frame by frame."""
        from psishare import _native  # noqa: PLC0415

        if self._offer.protocol == "ecdh":
            ordered, _rows = _native.sort_elements(self._seed.scalar().blind(self._identifiers))
            yield b"".join(ordered.slice(0, self._rows).to_pylist())
            return
        order = self._seed.order(len(self._identifiers)).to_pylist()[: self._rows]
        for start in range(0, len(order), self._offer.frame_rows):
            yield self._blinded(order[start : start + self._offer.frame_rows])

    def _blinded(self, indices: list[int]) -> bytes:
        import pyarrow as pa  # noqa: PLC0415

        chosen = pa.array(indices, pa.uint64())
        return b"".join(self._seed.blind(self._identifiers.take(chosen), chosen).to_pylist())

    def _chained(self, elements: bytes) -> bytes:
        """Return the transcript of the signed frames over elements in the order sent."""
        transcript = Transcript(_REQUESTS, self._offer.exchange_id)
        for index in range(self._signed.frames):
            start = index * self._offer.frame_rows
            rows = min(self._offer.frame_rows, self._offer.rows - start)
            part = elements[start * ELEMENT_BYTES : (start + rows) * ELEMENT_BYTES]
            transcript.add(frame_digest(_REQUESTS, index, rows, part), rows)
        return transcript.value

    def _borne_out(self, elements: bytes | None) -> bytes | None:
        """Return the retained elements of the signed frames, where the signed transcript has them."""
        if elements is None or self._signed.transcript is None:
            return None
        signed = elements[: self._rows * ELEMENT_BYTES]
        return signed if self._chained(signed) == self._signed.transcript else None
