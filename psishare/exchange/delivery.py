"""The platform's delivery of encoded sets (protocols/specs/exchange.md, section 12).

Nothing is delivered without a mandate in force; each delivery is in the log before its first byte
leaves, and each refusal before the caller hears of it.
"""

from __future__ import annotations

import hashlib
import threading
from typing import TYPE_CHECKING

from psishare.datasets.cache import PIECE_BYTES
from psishare.errors import AuthorisationError, ConfigError, ProtocolError
from psishare.exchange.admission import require_not_revoked
from psishare.exchange.document import now
from psishare.exchange.heads import head_size, require_not_rolled_back, show_head
from psishare.mandates.archive import MandateArchive
from psishare.mandates.check import Delivery as Asked
from psishare.mandates.check import check_delivery
from psishare.mandates.policy_rule import delivery_rules
from psishare.transport import wire_pb2 as wire

if TYPE_CHECKING:
    from psishare.datasets.dataset import Dataset
    from psishare.exchange.admission import Admission
    from psishare.exchange.catalogue import Catalogue
    from psishare.exchange.journal import Journal
    from psishare.exchange.offering import EncodedOffering
    from psishare.exchange.rooms import PlatformRooms
    from psishare.mandates.envelope import VerifiedMandate
    from psishare.parties.peers import Peer


class Delivery:
    """Answers the calls ``Manifest`` and ``Shard``.

    Args:
        rooms: home, log, register and policy are used.
        catalogue: what is served.
        admission: verifies mandates.
        journal: takes ``dataset.delivered``.
    """

    def __init__(
        self,
        rooms: PlatformRooms,
        catalogue: Catalogue,
        admission: Admission,
        journal: Journal,
    ) -> None:
        self._rooms = rooms
        self._catalogue = catalogue
        self._admission = admission
        self._journal = journal
        self._lock = threading.Lock()

    def manifest(self, request: wire.ManifestRequest, peer: Peer) -> wire.ManifestResponse:
        """Deliver a manifest, with the proof that the platform has published it."""
        # Before anything else: a log that was restored from an old copy takes no entry at all.
        require_not_rolled_back(self._rooms.log.size, request.known_tree_size)
        offering, mandate = self._authorise(request.dataset, request.mandate, peer)
        dataset, log = offering.dataset, self._rooms.log
        MandateArchive(self._rooms.home.mandates_path).keep(request.mandate)
        with self._lock:
            self._note(dataset, mandate, peer)
        head = show_head(log, request.known_tree_size)
        return wire.ManifestResponse(
            manifest=wire.Signed(
                document=dataset.signed.document, signature=dataset.signed.signature
            ),
            head=head,
            published_index=dataset.entry,
            published_entry=log.entry(dataset.entry),
            inclusion=log.inclusion_proof(dataset.entry, head_size(head)),
        )

    def shard(self, request: wire.ShardRequest, peer: Peer) -> wire.ShardResponse:
        """Deliver a piece of a shard, at most 1 MiB."""
        offering, _mandate = self._authorise(request.dataset, request.mandate, peer)
        dataset = offering.dataset
        shards = dataset.manifest.shards
        wanted = request.shard < len(shards) and request.offset < shards[request.shard].bytes
        if request.manifest_sha256 != dataset.signed.sha256 or not wanted:
            raise ProtocolError(
                "the peer asks for a shard that the dataset's manifest does not have",
                mend="Ask for the manifest again: the dataset may have a new epoch.",
                reason="shard_unknown",
                party=peer.id,
            )
        return wire.ShardResponse(data=_read_piece(dataset, request.shard, request.offset))

    def _note(self, dataset: Dataset, mandate: VerifiedMandate, peer: Peer) -> None:
        """Log a delivery, the first time under a mandate."""
        signed = dataset.signed
        if signed.sha256 in self._had(mandate, signed.manifest.dataset, peer):
            return
        self._journal.delivered(signed, peer.id, mandate.mandate.id, mandate.envelope_sha256)
        self._rooms.register.delivered(
            peer.id, mandate.payload_sha256, signed.manifest.dataset, signed.sha256
        )

    def _authorise(
        self, name: str, envelope: bytes, peer: Peer
    ) -> tuple[EncodedOffering, VerifiedMandate]:
        """Check that a mandate covers a delivery; a refusal is logged before the caller hears of it."""
        try:
            return self._require_covered(name, envelope, peer)
        except AuthorisationError as refusal:
            digest = hashlib.sha256(envelope).digest()
            self._journal.delivery_refused(name, peer.id, refusal.reason, digest)
            raise

    def _require_covered(
        self, name: str, envelope: bytes, peer: Peer
    ) -> tuple[EncodedOffering, VerifiedMandate]:
        offering = self._catalogue.find_encoded(name)
        if offering is None:
            raise AuthorisationError(
                "no encoded dataset of this name is served",
                mend="Ask the platform for the dataset's name, or use the protocol ecdh.",
                reason="dataset_unknown",
            )
        require_not_revoked(offering)
        mandate = self._admission.verify_mandate(envelope)
        had = self._had(mandate, name, peer)
        asked = Asked(
            authority=peer.id,
            platform=self._rooms.home.card.id,
            dataset=name,
            kind=offering.kind,
            newer=bool(had - {offering.dataset.signed.sha256}),
        )
        tolerance_s = self._rooms.policy.clock_tolerance_s
        check_delivery(mandate.mandate, asked, now=now(), clock_tolerance_s=tolerance_s)
        self._admission.require_in_force(mandate)
        self._require_policy(mandate, asked, offering)
        return offering, mandate

    def _require_policy(
        self, mandate: VerifiedMandate, asked: Asked, offering: EncodedOffering
    ) -> None:
        policy, began = self._rooms.policy, offering.epoch_began
        for rule in delivery_rules(policy, mandate, asked, epoch_began=began, now=now()):
            if not rule.passes:
                raise AuthorisationError(
                    rule.message,
                    mend="Ask for what mandate and policy allow, or ask who can change them.",
                    reason=rule.reason,
                )

    def _had(self, mandate: VerifiedMandate, dataset: str, peer: Peer) -> set[bytes]:
        """Return what was delivered under a mandate, whoever had signed it by then.

        An emergency that is validated has another envelope, and is the same mandate. Deliveries were
        entered under the envelope's digest before there were emergencies.
        """
        found = self._rooms.register.deliveries
        by_payload = found(peer.id, mandate.payload_sha256, dataset)
        return by_payload | found(peer.id, mandate.envelope_sha256, dataset)


def _read_piece(dataset: Dataset, shard: int, offset: int) -> bytes:
    path = dataset.folder / dataset.manifest.shards[shard].file_name
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(PIECE_BYTES)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror or type(error).__name__}",
            mend="Restore the dataset's folder from a backup, or encode a new epoch.",
            reason="dataset_unreadable",
        ) from error
