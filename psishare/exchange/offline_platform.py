"""The platform's side of an exchange across an air gap (protocols/specs/offline.md, section 6).

The calls of a parcel are given to the platform's one rule book, in their order, and its answers are put
into the next parcel. Promises: a parcel is answered once, and its answer given out again, byte for byte,
whenever it comes again; an answer is there only when it is whole; what it refuses or ends is in the log.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from psishare.datasets.cache import PIECE_BYTES
from psishare.datasets.manifest import parse_manifest
from psishare.errors import AuthorisationError, ProtocolError, PsishareError
from psishare.exchange.document import now, read_time
from psishare.exchange.heads import PeerHeads
from psishare.exchange.offer import Answer, Offer
from psishare.exchange.offline_authority import LATEST, expired
from psishare.exchange.parcels import Addressed, Parcels
from psishare.exchange.register import State
from psishare.psi.suite import Output, n_frames
from psishare.transport import endpoint, fault
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call, Caller
from psishare.transport.message import parse, serialise
from psishare.transport.parcel import FAULT, PLAIN_VERSION, TAGS, Kind, malformed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from google.protobuf.message import Message

    from psishare.exchange.parcels import Outgoing
    from psishare.exchange.platform import Platform
    from psishare.exchange.rooms import PlatformRooms
    from psishare.parties.peers import Peer
    from psishare.transport.channel import Responder
    from psishare.transport.parcel import Parcel

_CALLS: Final = {tag: call for call, tag in TAGS.items()}
_OF_RECEIPT: Final = frozenset({Call.EVALUATE, Call.RETURN, Call.CLOSE})


@dataclass(frozen=True, slots=True)
class Answered:
    """What became of a parcel.

    Attributes:
        parcel: what answers it, as it is kept in this party's home.
        exchange_id: 32 bytes.
        authority: who sent it.
        state: of the exchange, here.
        reason: why it was refused or aborted; None where it was not.
        repeated: whether it had been answered before.
    """

    parcel: Path
    exchange_id: bytes
    authority: str
    state: State
    reason: str | None
    repeated: bool


class OfflinePlatform:
    """Answers the parcels of authorities.

    Args:
        rooms: home, peers, log, budget, register and policy.
        platform: the rule book, of the same rooms, with what is served.
        progress: called as frames are answered.
    """

    def __init__(
        self,
        rooms: PlatformRooms,
        platform: Platform,
        progress: Callable[[str, int, int], None],
    ) -> None:
        self._rooms = rooms
        self._platform = platform
        self._progress = progress
        self._parcels = Parcels(rooms)
        self._heads = PeerHeads(rooms.peers, rooms.register)

    def answer(self, path: Path) -> Answered:
        """Answer a ``request``: check, open, evaluate; refuse where that is due.

        Raises:
            InputError: the file cannot be read.
            ProtocolError: it is damaged or misdirected, or has expired: nothing was looked at.
            AuditError: this party's log or state fails; try again.
        """
        return self._once(path, Kind.REQUEST, Kind.ANSWER, self._answer)

    def confirm(self, path: Path) -> Answered:
        """Answer a ``receipt``: compare it, countersign it, log that the exchange is closed.

        Raises:
            ConfigError: ``not_restorable``: what the exchange was opened on is not served now.
            PsishareError: as ``answer``.
        """
        return self._once(path, Kind.RECEIPT, Kind.CONFIRMATION, self._confirm)

    def export(self, dataset: str, mandate: bytes, authority: str, path: Path) -> None:
        """Deliver a dataset to an authority in a parcel; logged before its first byte is written.

        Raises:
            AuthorisationError: the mandate does not cover it; that is logged.
            ConfigError: the authority is not pinned, or the dataset cannot be read.
        """
        self._platform.count_log()
        peer = self._rooms.peers.get(authority)
        known = max([0, *self._rooms.register.heads_shown(peer.id)])
        asked = wire.ManifestRequest(dataset=dataset, mandate=mandate, known_tree_size=known)
        response: wire.ManifestResponse = self._call(Call.MANIFEST, asked, peer)
        sha256 = hashlib.sha256(mandate).hexdigest()
        addressed = Addressed(Kind.DATASET, peer, None, sha256, None, PLAIN_VERSION)
        with self._parcels.making(path, addressed) as out:
            out.add_heads(self._parcels.choices(peer, response.head))
            out.add(Call.MANIFEST, response)
            for request in self._pieces(dataset, mandate, response):
                out.add(Call.SHARD, self._call(Call.SHARD, request, peer))

    # One parcel, answered once.

    def _once(
        self,
        path: Path,
        due: Kind,
        made: Kind,
        work: Callable[[Parcel, Peer, bytes, Outgoing], None],
    ) -> Answered:
        self._platform.count_log()
        with self._parcels.take(path, due, "authority") as parcel:
            peer = self._parcels.sender(parcel)
            exchange_id = self._exchange_of(parcel)
            kept = self._parcels.kept(exchange_id, f"{made}-{parcel.head.sha256.hex()}.parcel")
            repeated = kept.exists()
            if not repeated:
                with self._rooms.register.attending(exchange_id):
                    self._require_first(parcel, kept)
                    expires = parcel.head.expires
                    sha256 = parcel.head.mandate_sha256
                    addressed = Addressed(
                        made, peer, exchange_id, sha256, expires, parcel.head.version
                    )
                    with self._parcels.making(kept, addressed) as out:
                        work(parcel, peer, exchange_id, out)
        row = self._rooms.register.get(exchange_id)
        state, reason = (row.state, row.reason) if row is not None else (State.REFUSED, None)
        return Answered(kept, exchange_id, peer.id, state, reason, repeated)

    def _exchange_of(self, parcel: Parcel) -> bytes:
        if parcel.head.exchange_id is None or parcel.head.expires is None or not len(parcel):
            raise malformed("is of no exchange")
        return bytes.fromhex(parcel.head.exchange_id)

    def _require_first(self, parcel: Parcel, kept: Path) -> None:
        """Refuse a second parcel in place of one that was answered, and one past its time."""
        exchange_id = self._exchange_of(parcel)
        made = kept.name.partition("-")[0]
        if any(kept.parent.glob(f"{made}-*.parcel")):
            raise AuthorisationError(
                f"another parcel of the exchange {exchange_id.hex()[:16]} was answered before",
                mend="Bring that one again to get its answer again, or make a new request.",
                reason="exchange_repeated",
            )
        expires, tolerance = read_time(parcel.head.expires or ""), self._tolerance
        if expires + tolerance < now():
            self._platform.expire_offline()
            raise expired(exchange_id)
        if expires > now() + LATEST + tolerance:
            raise malformed("expires later than 366 days from now")

    @property
    def _tolerance(self) -> timedelta:
        return timedelta(seconds=self._rooms.policy.clock_tolerance_s)

    # Step 2.

    def _answer(self, parcel: Parcel, peer: Peer, exchange_id: bytes, out: Outgoing) -> None:
        call, first = self._request(parcel, 0)
        if call is not Call.OFFER:
            raise malformed("does not begin with an offer")
        if hashlib.sha256(first.offer.document).digest() != exchange_id:
            raise malformed("names another exchange than its offer makes")
        self._parcels.fit(parcel, first.head)
        if self._rooms.register.get(exchange_id) is None:
            self._rooms.register.put_offline(exchange_id, parcel.head.expires or "")
        self._platform.take_up(exchange_id)
        try:
            opened = self._platform.opened_again(first)
            if opened is None:
                opened = self._call(Call.OFFER, first, peer)
            if opened.HasField("hold"):
                raise _held(exchange_id)
            self._parcels.show(peer, opened.head, out)
            out.add(Call.OFFER, opened)
            self._resume(exchange_id, peer)
            for call, request in self._requests(parcel, 1, {Call.EVALUATE}):
                out.add(call, self._call(call, request, peer))
            for fetch in self._fetches(first.offer.document, opened.answer.document):
                out.add(Call.FETCH, self._call(Call.FETCH, fetch, peer))
        except PsishareError as error:
            self._refuse(exchange_id, error, out)

    # Step 5.

    def _confirm(self, parcel: Parcel, peer: Peer, exchange_id: bytes, out: Outgoing) -> None:
        row = self._rooms.register.get(exchange_id)
        if row is None or row.peer != peer.id or row.answer is None:
            raise ProtocolError(
                "the parcel is of no exchange that was answered here",
                mend="Answer its request first.",
                reason="parcel_unexpected",
            )
        self._platform.take_up(exchange_id)
        try:
            if row.state is State.OPENED:
                self._complete(parcel, peer, row.offer, row.answer)
            closed = self._close(parcel, peer)
        except PsishareError as error:
            self._refuse(exchange_id, error, out)
            return
        self._parcels.accept_head(parcel)
        self._parcels.show(peer, closed.head, out)
        out.add(Call.CLOSE, closed)

    def _complete(self, parcel: Parcel, peer: Peer, offer: bytes, answer: bytes) -> None:
        """Give the rule book again what it needs to know the whole exchange, and what is returned."""
        self._resume(hashlib.sha256(offer).digest(), peer)
        for call, request in self._requests(parcel, 0, _OF_RECEIPT):
            if call is Call.EVALUATE:
                self._call(call, request, peer)
        for fetch in self._fetches(offer, answer):
            self._call(Call.FETCH, fetch, peer)
        for call, request in self._requests(parcel, 0, _OF_RECEIPT):
            if call is Call.RETURN:
                self._call(call, request, peer)

    def _close(self, parcel: Parcel, peer: Peer) -> wire.CloseResponse:
        call, request = self._request(parcel, len(parcel) - 1)
        if call is not Call.CLOSE:
            raise malformed("does not end with a receipt")
        response: wire.CloseResponse = self._call(call, request, peer)
        return response

    # Calls.

    def _request(self, parcel: Parcel, index: int) -> tuple[Call, Any]:
        tag, data = parcel.record(index)
        if tag not in _CALLS:
            raise malformed("holds what is no call")
        call = _CALLS[tag]
        return call, parse(call.request, data, step=call.step, party=parcel.head.sender)

    def _requests(
        self, parcel: Parcel, start: int, allowed: frozenset[Call] | set[Call]
    ) -> Iterator[tuple[Call, Any]]:
        """Yield the requests of a parcel from a place on; it may hold no others."""
        for index in range(start, len(parcel)):
            call, request = self._request(parcel, index)
            if call not in allowed:
                raise malformed(f"holds {call.step} out of its place")
            self._progress("answering", index, len(parcel))
            yield call, request

    def _call(self, call: Call, request: Message, peer: Peer) -> Any:
        """Give one call to the rule book, exactly as a transport's server does, until it is done."""
        caller = Caller(peer.card.offline_end, party=peer.id)
        data = serialise(request, step=call.step)
        while True:
            answered = endpoint.answer(self._responder, call, data, lambda: caller)
            response: Any = parse(call.response, answered, step=call.step, party=None)
            if not getattr(response, "pending", False):
                return response

    @property
    def _responder(self) -> Responder:
        return self._platform

    def _resume(self, exchange_id: bytes, peer: Peer) -> None:
        """Let an exchange that was taken up go on."""
        self._call(Call.RESUME, wire.ResumeRequest(exchange_id=exchange_id), peer)

    def _fetches(self, offered: bytes, answered: bytes) -> Iterator[wire.FetchRequest]:
        """Yield what the authority would fetch: this side's elements, then its late answers."""
        offer, answer = Offer.parse(offered), Answer.parse(answered)
        late = offer.rows if Output(offer.output) is Output.COUNT else 0
        for sequence, rows in (
            (wire.SEQUENCE_ELEMENTS, answer.elements),
            (wire.SEQUENCE_ANSWERS, late),
        ):
            for index in range(n_frames(rows, offer.frame_rows)):
                yield wire.FetchRequest(
                    exchange_id=offer.exchange_id, sequence=sequence, index=index
                )

    def _pieces(
        self, dataset: str, mandate: bytes, response: wire.ManifestResponse
    ) -> Iterator[wire.ShardRequest]:
        document = response.manifest.document
        shards = parse_manifest(document).shards
        for shard, each in enumerate(shards):
            self._progress("exporting", shard, len(shards))
            for offset in range(0, each.bytes, PIECE_BYTES):
                yield wire.ShardRequest(
                    dataset=dataset,
                    mandate=mandate,
                    manifest_sha256=hashlib.sha256(document).digest(),
                    shard=shard,
                    offset=offset,
                )

    def _refuse(self, exchange_id: bytes, error: PsishareError, out: Outgoing) -> None:
        """Put a fault into the parcel, where the exchange has ended for it; a failure of ours is ours."""
        row = self._rooms.register.get(exchange_id)
        ended = row is not None and row.state in {State.REFUSED, State.ABORTED}
        # A request whose head does not fit is made again, from what the head of this parcel tells.
        if not ended and error.reason != "log_head_stale":
            raise error
        out.add_raw(FAULT, fault.encode(error))


def _held(exchange_id: bytes) -> AuthorisationError:
    """Return the error for a request that waits for this platform's own second operator."""
    short = exchange_id.hex()[:16]
    return AuthorisationError(
        "the offer is held until a second operator of this platform approves it",
        mend=f"Approve it with `psishare approve {short}`, then answer the same parcel again.",
        reason="approval_required",
    )
