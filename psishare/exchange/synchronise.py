"""The authority's copy of a platform's encoded set, verified before it is used (section 12)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psishare.audit.entry import parse_entry
from psishare.audit.merkle import leaf_hash, verify_inclusion
from psishare.datasets.cache import DatasetCache
from psishare.datasets.manifest import LABEL, SignedManifest, parse_manifest
from psishare.errors import AuthorisationError, ProtocolError, VerificationError
from psishare.exchange.reasons import recorded
from psishare.keys.statement import verify_statement
from psishare.transport import wire_pb2 as wire
from psishare.transport.channel import Call

if TYPE_CHECKING:
    from pathlib import Path

    from psishare.audit.checkpoint import Checkpoint
    from psishare.datasets.encoded_set import EncodedSet
    from psishare.exchange.heads import PeerHeads
    from psishare.exchange.journal import Journal
    from psishare.parties.peers import Peer
    from psishare.transport.channel import Channel

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Synchronised:
    """A dataset's current epoch, verified and open for look-ups."""

    signed: SignedManifest
    contents: EncodedSet


@dataclass(frozen=True, slots=True)
class Source:
    """Where a dataset comes from, and under which mandate.

    Attributes:
        channel: to the platform.
        platform: the platform, as pinned.
        dataset: the dataset's name.
        mandate: the envelope's bytes.
        mandate_id: the mandate's id.
        mandate_sha256: 32 bytes, of the envelope.
        carried: whether all of it has come in a parcel.
    """

    channel: Channel
    platform: Peer
    dataset: str
    mandate: bytes
    mandate_id: str
    mandate_sha256: bytes
    carried: bool = False


def synchronise(
    source: Source, heads: PeerHeads, journal: Journal, cache: Path, progress: Progress
) -> Synchronised:
    """Fetch what is missing of the dataset's current epoch; verify all of it; open it.

    Raises:
        AuthorisationError: the platform delivers nothing under this mandate.
        ProtocolError: the manifest is not this platform's, or not the one that it published.
        VerificationError: a shard is not what the manifest says.
    """
    signed = _fetch_manifest(source, heads, journal)
    copies = DatasetCache(cache)
    contents = copies.open(signed)
    if contents is None:
        contents = copies.synchronise(
            signed,
            _fetcher(source, signed, journal),
            _received(copies.missing_bytes(signed), progress),
            lambda: journal.delivered(
                signed, source.platform.id, source.mandate_id, source.mandate_sha256
            ),
        )
    return Synchronised(signed, contents)


def _call(source: Source, journal: Journal, call: Call, request: Any) -> Any:
    """Make a call that the mandate has to cover; a refusal is logged here as it is there."""
    try:
        return source.channel.call(call, request)
    except AuthorisationError as refusal:
        journal.delivery_refused(
            source.dataset, source.platform.id, recorded(refusal), source.mandate_sha256
        )
        raise


def _fetch_manifest(source: Source, heads: PeerHeads, journal: Journal) -> SignedManifest:
    platform = source.platform
    request = wire.ManifestRequest(
        dataset=source.dataset,
        mandate=source.mandate,
        known_tree_size=heads.known_size(platform),
    )
    response: wire.ManifestResponse = _call(source, journal, Call.MANIFEST, request)
    document = response.manifest.document
    signature = response.manifest.signature
    try:
        verify_statement(platform.card.log_key, LABEL, document, signature, party=platform.id)
        signed = SignedManifest(parse_manifest(document), document, signature)
        checkpoint = heads.accept(platform, response.head, carried=source.carried)
        _require_published(response, checkpoint, signed)
    except VerificationError as error:
        if error.reason.startswith("log_") or error.reason == "checkpoint_invalid":
            raise
        raise _not_published(source, error) from error
    named = signed.manifest.platform, signed.manifest.dataset
    if named != (platform.id, source.dataset):
        raise _not_published(source, None)
    return signed


def _require_published(
    response: wire.ManifestResponse, checkpoint: Checkpoint, signed: SignedManifest
) -> None:
    """Check that the platform's log names exactly this manifest and key."""
    entry = parse_entry(response.published_entry)
    verify_inclusion(
        leaf_hash(response.published_entry),
        response.published_index,
        checkpoint.tree_size,
        list(response.inclusion),
        checkpoint.root_hash,
    )
    named = entry.type, entry.fields.get("manifest_sha256"), entry.fields.get("public_key")
    if named != ("dataset.published", signed.sha256.hex(), signed.manifest.public_key):
        raise VerificationError(
            "the platform's log entry names another manifest",
            mend="Ask the platform for its log; do not use this dataset.",
            reason="manifest_unpublished",
        )


def _fetcher(
    source: Source, signed: SignedManifest, journal: Journal
) -> Callable[[int, int], bytes]:
    def fetch(shard: int, offset: int) -> bytes:
        request = wire.ShardRequest(
            dataset=source.dataset,
            mandate=source.mandate,
            manifest_sha256=signed.sha256,
            shard=shard,
            offset=offset,
        )
        response: wire.ShardResponse = _call(source, journal, Call.SHARD, request)
        data: bytes = response.data
        return data

    return fetch


def _received(total: int, progress: Progress) -> Callable[[int], None]:
    done = 0

    def received(n_bytes: int) -> None:
        nonlocal done
        done += n_bytes
        progress("synchronising", done, total)

    return received


def _not_published(source: Source, error: VerificationError | None) -> ProtocolError:
    fault = error.message if error else "it is another dataset's"
    return ProtocolError(
        f"the manifest of {source.dataset} is not one that the platform published: {fault}",
        mend="Do not use this dataset; ask the platform's operator and its auditor.",
        reason="manifest_invalid",
        party=source.platform.id,
    )
