"""The parcels that a party makes and takes (protocols/specs/offline.md, sections 3 and 5).

Promises: a parcel gets its name only when it is whole and on the disk; one that is taken is whole, its
sender's, and does not show that this log was rolled back.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from psishare.audit.checkpoint import parse_checkpoint
from psishare.errors import (
    AuditError,
    AuthorisationError,
    InputError,
    PeerError,
    VerificationError,
)
from psishare.exchange.document import now, write_time
from psishare.exchange.heads import (
    PeerHeads,
    cosign_head,
    head_choices,
    head_size,
    keep_cosignature,
    last_cosigned,
    require_not_rolled_back,
)
from psishare.keys.durable_file import make_folder
from psishare.keys.pending_file import PendingFile
from psishare.transport.message import parse, serialise
from psishare.transport.parcel import (
    COSIGNATURE,
    LOG_HEAD,
    TAGS,
    VERSION,
    Kind,
    Label,
    Parcel,
    ParcelWriter,
)
from psishare.transport.wire_pb2 import Cosignature, LogHead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from google.protobuf.message import Message

    from psishare.audit.log import Log
    from psishare.exchange.register import Register
    from psishare.parties.home import Home
    from psishare.parties.peers import Peer, Peers
    from psishare.transport.channel import Call

STEP = "a parcel's record"

_logger = logging.getLogger(__name__)


class Rooms(Protocol):
    """What either side works with."""

    @property
    def home(self) -> Home:
        """Keys, card and folders."""

    @property
    def peers(self) -> Peers:
        """The pinned parties."""

    @property
    def log(self) -> Log:
        """The audit log."""

    @property
    def register(self) -> Register:
        """The exchanges."""


@dataclass(frozen=True, slots=True)
class Addressed:
    """What a parcel is about, and for whom.

    Attributes:
        kind: what it carries.
        peer: the recipient.
        exchange_id: 32 bytes, or None for a dataset.
        mandate_sha256: of the mandate under which it is made, hexadecimal.
        expires: when the exchange expires; None for a dataset.
        version: of the format: that of the parcel that it goes on from.
    """

    kind: Kind
    peer: Peer
    exchange_id: bytes | None
    mandate_sha256: str
    expires: str | None
    version: Literal[1, 2]


class Outgoing:
    """A parcel that is being written.

    Args:
        writer: takes the records.
        cosigns: whether a cosignature may stand in it.
        first: called before the first call is added, with this; puts what stands before all calls.
    """

    def __init__(
        self,
        writer: ParcelWriter,
        *,
        cosigns: bool,
        first: Callable[[Outgoing], None] | None = None,
    ) -> None:
        self._writer = writer
        self._first = first
        self.cosigns = cosigns

    def add_cosignature(self, cosignature: Cosignature) -> None:
        """Put a cosignature after the heads and before everything else."""
        self._writer.add(COSIGNATURE, serialise(cosignature, step=STEP))

    def add_heads(self, choices: list[LogHead]) -> None:
        """Put one head, as often as it is proven, before everything else."""
        for choice in choices:
            self._writer.add(LOG_HEAD, serialise(choice, step=STEP))

    def add(self, call: Call, message: Message) -> None:
        """Add a call's request or response."""
        if self._first is not None:
            first, self._first = self._first, None
            first(self)
        self._writer.add(TAGS[call], serialise(message, step=call.step))

    def add_raw(self, tag: int, data: bytes) -> None:
        """Add a message that is serialised already."""
        self._writer.add(tag, data)


class Parcels:
    """Makes and takes parcels.

    Args:
        rooms: home, peers, log and register.
    """

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._heads = PeerHeads(rooms.peers, rooms.register)

    def kept(self, exchange_id: bytes, name: str) -> Path:
        """Return where a parcel of an exchange is kept."""
        return self._rooms.home.exchange_path(exchange_id) / name

    def take(self, path: Path, kind: Kind, role: str) -> Parcel:
        """Open a parcel of a pinned party, checked as a whole.

        Args:
            path: the file.
            kind: which is due.
            role: of the party that may send it.

        Raises:
            InputError: it cannot be read.
            ProtocolError: it is damaged, or not what is due.
            AuthorisationError: ``peer_unknown``: its sender is not pinned here in that role.
            VerificationError: ``log_rolled_back``: its sender has seen a larger log of this party.
        """
        rooms = self._rooms
        parcel = Parcel.open(
            path,
            key=rooms.home.sealing_key(),
            recipient=rooms.home.id,
            kind=kind,
            sender_key=lambda party: self._sender(party, role).card.log_key,
        )
        try:
            known = parcel.head.known_tree_size
            require_not_rolled_back(rooms.log.size, known)
            rooms.register.head_known(parcel.head.sender, known)
            self._keep_cosignature(parcel)
        except BaseException:
            parcel.close()
            raise
        return parcel

    def _keep_cosignature(self, parcel: Parcel) -> None:
        """Keep the cosignature that came in a parcel; one that is wrong holds nothing back."""
        if parcel.cosignature is None:
            return
        peer = self.sender(parcel)
        sent = parse(Cosignature, parcel.cosignature, step=STEP, party=peer.id)
        try:
            keep_cosignature(self._rooms.log, sent.tree_size, sent.lines, peer)
        except AuditError as error:
            if not isinstance(error, VerificationError) and error.reason != "checkpoint_unknown":
                raise
            _logger.warning(
                "a cosignature of %s is not kept: %s [%s]", peer.id, error.message, error.reason
            )

    def sender(self, parcel: Parcel) -> Peer:
        """Return who made a parcel."""
        return self._rooms.peers.get(parcel.head.sender)

    def _sender(self, party: str, role: str) -> Peer:
        found = [peer for peer in self._rooms.peers if peer.id == party and peer.card.role == role]
        if not found:
            raise AuthorisationError(
                f"the parcel's sender is no {role} that is pinned here",
                mend="Exchange cards first and compare the fingerprints.",
                reason="peer_unknown",
            )
        return found[0]

    @contextlib.contextmanager
    def making(
        self,
        path: Path,
        addressed: Addressed,
        *,
        first: Callable[[Outgoing], None] | None = None,
    ) -> Iterator[Outgoing]:
        """Write a parcel; it is there only when the block has ended well.

        Args:
            path: where it is kept; its folder is made.
            addressed: what it is about, and for whom.
            first: called before the first call is added; puts what stands before all calls.

        Raises:
            AuditError: ``state_write_failed``: the disk refuses.
        """
        rooms, peer = self._rooms, addressed.peer
        label = Label(
            kind=addressed.kind,
            sender=rooms.home.id,
            recipient=peer.id,
            exchange_id=addressed.exchange_id,
            mandate_sha256=addressed.mandate_sha256,
            known_tree_size=self._heads.known_size(peer),
            time=write_time(now()),
            expires=addressed.expires,
            version=addressed.version,
        )
        with _translated(path), contextlib.ExitStack() as stack:
            make_folder(path.parent)
            file = PendingFile(path)
            stack.callback(file.drop)
            signer = rooms.home.log_signer()
            writer = ParcelWriter(file.stream, label, signer, peer.card.sealing_key_bytes)
            yield Outgoing(writer, cosigns=addressed.version >= VERSION, first=first)
            writer.finish()
            file.publish(overwrite=True)
            stack.pop_all()

    def choices(self, peer: Peer, head: LogHead) -> list[LogHead]:
        """Return a head of this log, made by ``show_head``, proven from whatever a peer may know."""
        register, log = self._rooms.register, self._rooms.log
        known = [*register.heads_shown(peer.id), last_cosigned(log, peer), head.since]
        register.show_head(peer.id, head_size(head))
        return head_choices(log, head, known)

    def show(self, peer: Peer, head: LogHead, out: Outgoing) -> None:
        """Begin a parcel with a head of this log, and cosign the peer's head that is remembered.

        Args:
            peer: for whom it is.
            head: made by ``show_head``.
            out: nothing stands in it yet.
        """
        out.add_heads(self.choices(peer, head))
        known = self._heads.to_cosign(peer)
        if known is not None and out.cosigns:
            out.add_cosignature(
                Cosignature(
                    lines=cosign_head(self._rooms.home, known),
                    tree_size=parse_checkpoint(known).tree_size,
                )
            )

    def accept_head(self, parcel: Parcel) -> None:
        """Remember the head that a parcel shows in no message; one that does not fit holds nothing back."""
        if not parcel.heads:
            return
        peer = self.sender(parcel)
        head = parse(LogHead, parcel.heads[0], step=STEP, party=peer.id)
        self.fit(parcel, head)
        try:
            self._heads.accept(peer, head, carried=True)
        except (PeerError, VerificationError) as error:
            _logger.warning(
                "the head of %s's log is not remembered: %s [%s]",
                peer.id,
                error.message,
                error.reason,
            )

    def fit(self, parcel: Parcel, head: LogHead) -> None:
        """Give a head that came in a parcel the proof that starts from what is remembered here."""
        sent = [parse(LogHead, data, step=STEP, party=parcel.head.sender) for data in parcel.heads]
        # Each stands for the head in the message: a proof of another one is no use.
        choices = [head, *(choice for choice in sent if choice.checkpoint == head.checkpoint)]
        peer = self.sender(parcel)
        fitting = self._heads.fitting(peer, choices)
        if fitting is not None:
            self._heads.keep_proofs(peer, fitting, choices)
            head.CopyFrom(fitting)


def require_free(out: Path, *, overwrite: bool) -> None:
    """Find out before any work whether a parcel can be given out there.

    Raises:
        InputError: ``output_exists``; ``output_unwritable``: there is no such folder.
    """
    if out.exists() and not overwrite:
        raise _exists(out)
    if not out.parent.is_dir():
        raise InputError(
            f"{out} cannot be written: there is no folder {out.parent}",
            mend="Make the folder, or choose another one.",
            reason="output_unwritable",
        )


def _exists(out: Path) -> InputError:
    return InputError(
        f"{out} is there already",
        mend="Choose another name, or say --overwrite.",
        reason="output_exists",
    )


def give_out(kept: Path, out: Path, *, overwrite: bool) -> None:
    """Copy a parcel that is kept to where its courier takes it from; whole or not at all.

    Raises:
        InputError: ``output_exists``; ``output_unwritable``.
    """
    try:
        file = PendingFile(out)
        try:
            with kept.open("rb") as source:
                shutil.copyfileobj(source, file.stream, 1 << 20)
            file.publish(overwrite=overwrite)
        except BaseException:
            file.drop()
            raise
    except FileExistsError:
        raise _exists(out) from None
    except OSError as error:
        raise InputError(
            f"{out} cannot be written: {error.strerror or type(error).__name__}",
            mend="Check the folder, its permissions and the space there.",
            reason="output_unwritable",
        ) from error


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise AuditError(
            f"the parcel {path} cannot be written: {error.strerror or type(error).__name__}",
            mend="Check free space and permissions there, then try again.",
            reason="state_write_failed",
        ) from error
