"""Log heads as they travel: showing one's own, accepting a peer's, remembering what was verified.

Source: protocols/specs/exchange.md, section 4, step 4. A head that is not proven to extend the one
remembered is a fork or a restored backup, and ends the exchange.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from psishare.audit.checkpoint import Checkpoint, parse_checkpoint
from psishare.audit.cosignature import cosign, verify_cosignatures
from psishare.audit.note import SignedNote
from psishare.audit.peer_view import verify_extension
from psishare.audit.signed_checkpoint import require_up_to_date, verify_checkpoint
from psishare.errors import AuditError, ConfigError, PeerError, VerificationError
from psishare.exchange.document import now
from psishare.keys.note_key import NoteSigner, SignatureType
from psishare.transport.parcel import HEADS_MAX
from psishare.transport.wire_pb2 import LogHead

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psishare.audit.log import Log
    from psishare.exchange.register import Register
    from psishare.parties.home import Home
    from psishare.parties.peers import Peer, Peers

COSIGNED_WITHIN: Final = 1024
"""How far back a cosignature is looked for: one that is older helps no parcel to be taken."""


def show_head(log: Log, since: int) -> LogHead:
    """Return this log's newest checkpoint with the proof from the size that the peer knows.

    Raises:
        VerificationError: the peer knows a larger tree than this log has: it was restored from an
            old copy.
    """
    note = log.checkpoint()
    size = parse_checkpoint(note).tree_size
    require_not_rolled_back(size, since)
    proof = log.consistency_proof(since, size) if since else []
    return LogHead(checkpoint=note, consistency=proof, since=since)


def require_not_rolled_back(own_size: int, known_size: int) -> None:
    """Refuse to go on with a log that is smaller than a peer has seen it.

    Raises:
        VerificationError: it is.
    """
    if known_size > own_size:
        raise VerificationError(
            f"this log has {own_size} entries, but the peer has seen {known_size}",
            mend="The log was restored from an old copy: restore the newest one before going on.",
            reason="log_rolled_back",
        )


def require_current(peer: Peer, head: Checkpoint) -> None:
    """Require a head of a peer's log to be of the newest keys that are known of it.

    Whoever has the older ones could have made another. That somebody cosigned it is no excuse here.

    Raises:
        VerificationError: ``log_head_outdated``.
    """
    require_up_to_date(head, peer.card.checkpoint_verifiers, vouched=False)


class PeerHeads:
    """What this party knows of its peers' logs.

    Args:
        peers: the home's peers, where verified heads are remembered.
        register: where proofs that came with them are kept, for parcels that were overtaken.
    """

    def __init__(self, peers: Peers, register: Register) -> None:
        self._peers = peers
        self._register = register

    def known_size(self, peer: Peer) -> int:
        """Return the tree size of a peer's log as last verified; 0 where never."""
        note = self._peers.checkpoint(peer.id)
        return parse_checkpoint(note).tree_size if note else 0

    def fitting(self, peer: Peer, choices: Iterable[LogHead]) -> LogHead | None:
        """Return the one of several proofs of one head that starts from what is remembered here.

        A head of exactly the size that is remembered needs no proof. None where none fits.
        """
        note = self._peers.checkpoint(peer.id)
        size = parse_checkpoint(note).tree_size if note else 0
        for choice in choices:
            if choice.since == size:
                return choice
            if size and _tree_size(choice) == size:
                return LogHead(checkpoint=choice.checkpoint, since=size)
        return None

    def keep_proofs(self, peer: Peer, fitting: LogHead, choices: Iterable[LogHead]) -> None:
        """Keep what proves a head that extends the one remembered to extend others, too.

        So a parcel that it has overtaken can still be taken (offline.md, section 5, step 4).
        """
        note = self._peers.checkpoint(peer.id)
        old = parse_checkpoint(note) if note else None
        with contextlib.suppress(VerificationError):
            verify_extension(
                old, fitting.checkpoint, list(fitting.consistency), peer.card.checkpoint_verifiers
            )
            proofs = {c.since: c.SerializeToString() for c in choices if c.since}
            self._register.keep_proofs(peer.id, proofs)

    def _overtaken(self, peer: Peer, head: LogHead, remembered: Checkpoint) -> Checkpoint | None:
        """Return a head that is older than the one remembered, where that is proven to extend it.

        Raises:
            VerificationError: it is another log's, or another history.
        """
        size = _tree_size(head)
        kept = self._register.proof_of(peer.id, size) if size else None
        if not size or size >= remembered.tree_size or kept is None:
            return None
        older = verify_checkpoint(head.checkpoint, peer.card.checkpoint_verifiers)
        proof = LogHead.FromString(kept)
        verify_extension(
            older, proof.checkpoint, list(proof.consistency), peer.card.checkpoint_verifiers
        )
        return older

    def to_cosign(self, peer: Peer) -> bytes | None:
        """Return the remembered head of a peer's log; None where there is none, or it is not to be cosigned.

        One from before the newest keys that are known of the log may be a thief's, who has the old ones.
        """
        note = self._peers.checkpoint(peer.id)
        with contextlib.suppress(VerificationError):
            if note is not None:
                require_current(peer, parse_checkpoint(note))
                return note
        return None

    def accept(self, peer: Peer, head: LogHead, *, carried: bool = False) -> Checkpoint:
        """Verify that a peer's head extends the one that is remembered, and remember it instead.

        Args:
            peer: with the newest card that is here.
            head: as it came.
            carried: whether a parcel brought it, which may be from before a rotation of the log's keys.

        Raises:
            VerificationError: a signature or the proof is wrong; ``log_head_outdated``, a peer that shows
                its head now shows one from before the newest keys of its log that are known.
            PeerError: ``log_head_stale``: the proof starts from another size than is
                remembered, because another exchange went on meanwhile; ask again.
            AuditError: ``state_write_failed``: it cannot be remembered.
        """
        if not carried:
            keys = peer.card.checkpoint_verifiers
            require_current(peer, verify_checkpoint(head.checkpoint, keys))
        remembered = self._peers.checkpoint(peer.id)
        old = parse_checkpoint(remembered) if remembered else None
        if head.since != (old.tree_size if old else 0):
            overtaken = self._overtaken(peer, head, old) if old else None
            if overtaken is not None:
                return overtaken
            raise _stale(peer)
        checkpoint = verify_extension(
            old, head.checkpoint, list(head.consistency), peer.card.checkpoint_verifiers
        )
        if not self._remember(peer, head, checkpoint):
            raise _stale(peer)
        return checkpoint

    def _remember(self, peer: Peer, head: LogHead, checkpoint: Checkpoint) -> bool:
        """Remember a head, unless another one has been remembered since it was verified.

        Of two heads that extend one and the same, the second to come has to extend the first:
        otherwise a peer could show two exchanges at once two different logs.
        """
        try:
            return self._peers.remember_checkpoint(
                peer.id, head.checkpoint, checkpoint.tree_size, since=head.since
            )
        except ConfigError as error:
            if error.reason != "peers_unwritable":
                raise
            raise AuditError(
                f"the head of {peer.id}'s log cannot be remembered",
                mend=error.mend,
                reason="state_write_failed",
            ) from error


def _tree_size(head: LogHead) -> int | None:
    """Return the size that a peer's head claims, or None where it cannot be read."""
    with contextlib.suppress(VerificationError):
        return parse_checkpoint(head.checkpoint).tree_size
    return None


def _stale(peer: Peer) -> PeerError:
    return PeerError(
        f"the head of {peer.id}'s log is not proven from the one that is known here",
        mend="Another exchange went on at the same time; the call is made again.",
        reason="log_head_stale",
        party=peer.id,
    )


def head_size(head: LogHead) -> int:
    """Return the tree size of a head that this party made itself."""
    return parse_checkpoint(head.checkpoint).tree_size


def head_choices(log: Log, head: LogHead, sizes: Iterable[int]) -> list[LogHead]:
    """Return one head of this log proven from each of several sizes (offline.md, section 5).

    Args:
        log: this party's.
        head: made by ``show_head``.
        sizes: which the peer may remember; those above the head's own are left out.

    Returns:
        At most 64: from nothing, and from the largest sizes.
    """
    own = head_size(head)
    known = sorted({size for size in sizes if 0 < size <= own})[-(HEADS_MAX - 1) :]
    proven = [
        LogHead(
            checkpoint=head.checkpoint, consistency=log.consistency_proof(size, own), since=size
        )
        for size in known
    ]
    return [LogHead(checkpoint=head.checkpoint), *proven]


def last_cosigned(log: Log, peer: Peer) -> int:
    """Return the largest size of this log that a peer has cosigned of late; 0 where it has none."""
    for size in range(log.size, max(0, log.size - COSIGNED_WITHIN), -1):
        try:
            note = SignedNote.parse(log.checkpoint(size))
        except AuditError as error:
            if error.reason != "checkpoint_unknown":
                raise
            continue
        if any(signature.name == peer.id for signature in note.signatures):
            return size
    return 0


def cosign_head(home: Home, note: bytes) -> bytes:
    """Cosign a peer's checkpoint that was verified, with both of this party's log keys.

    Returns:
        Signature lines of types 0x04 and 0x06.
    """
    name = home.card.id
    signers = [
        NoteSigner(name, SignatureType.ED25519_COSIGNATURE, home.log_signer()),
        NoteSigner(name, SignatureType.ML_DSA_44, home.pq_signer()),
    ]
    return cosign(parse_checkpoint(note), signers, time=int(now().timestamp()))


def keep_cosignature(log: Log, tree_size: int, lines: bytes, peer: Peer) -> None:
    """Verify a peer's cosignature of one of this log's checkpoints and keep it beside it.

    Raises:
        VerificationError: it is not the peer's over that checkpoint.
    """
    checkpoint = parse_checkpoint(log.checkpoint(tree_size))
    verify_cosignatures(checkpoint, lines, peer.card.cosigner_keys())
    log.add_cosignature(tree_size, lines)
