"""The platform's delivery of encoded sets (protocols/specs/exchange.md, section 12).

Nothing is delivered without a mandate in force, and each delivery is in the log before its first
byte leaves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.datasets.cache import PIECE_BYTES
from psishare.datasets.encoded_set import shard_name
from psishare.errors import AuthorisationError, ProtocolError
from psishare.exchange.document import now
from psishare.exchange.heads import head_size, show_head
from psishare.mandates.check import Delivery as Asked
from psishare.mandates.check import check_delivery
from psishare.transport import wire_pb2 as wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psishare.exchange.admission import Admission, PlatformRooms
    from psishare.exchange.journal import Journal
    from psishare.exchange.offering import EncodedOffering
    from psishare.mandates.envelope import VerifiedMandate
    from psishare.parties.peers import Peer


class Delivery:
    """Answers the calls ``Manifest`` and ``Shard``.

    Args:
        rooms: home, log, register and policy are used.
        offerings: the encoded sets that are served, by name.
        admission: verifies mandates.
        journal: takes ``dataset.delivered``.
    """

    def __init__(
        self,
        rooms: PlatformRooms,
        offerings: Mapping[str, EncodedOffering],
        admission: Admission,
        journal: Journal,
    ) -> None:
        self._rooms = rooms
        self._offerings = offerings
        self._admission = admission
        self._journal = journal

    def manifest(self, request: wire.ManifestRequest, peer: Peer) -> wire.ManifestResponse:
        """Deliver a manifest, with the proof that the platform has published it."""
        offering, mandate = self._authorise(request.dataset, request.mandate, peer)
        dataset, log = offering.dataset, self._rooms.log
        had = self._had(mandate, request.dataset, peer)
        if dataset.signed.sha256 not in had:
            self._journal.delivered(
                dataset.signed, peer.id, mandate.mandate.id, mandate.envelope_sha256
            )
            self._rooms.register.delivered(
                peer.id, mandate.envelope_sha256, request.dataset, dataset.signed.sha256
            )
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
        with (dataset.folder / shard_name(request.shard)).open("rb") as file:
            file.seek(request.offset)
            return wire.ShardResponse(data=file.read(PIECE_BYTES))

    def _authorise(
        self, name: str, envelope: bytes, peer: Peer
    ) -> tuple[EncodedOffering, VerifiedMandate]:
        offering = self._offerings.get(name)
        if offering is None:
            raise AuthorisationError(
                "no encoded dataset of this name is served",
                mend="Ask the platform for the dataset's name, or use the protocol ecdh.",
                reason="dataset_unknown",
            )
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
        return offering, mandate

    def _had(self, mandate: VerifiedMandate, dataset: str, peer: Peer) -> set[bytes]:
        return self._rooms.register.deliveries(peer.id, mandate.envelope_sha256, dataset)
