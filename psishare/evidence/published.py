"""The datasets that a platform's log says it has published."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psishare.audit.entry import DatasetPublished
from psishare.evidence.source import open_evidence

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from psishare.parties.card import Card


def require_published(path: Path, trust: Mapping[str, Card]) -> tuple[str, frozenset[str]]:
    """Verify a platform's evidence, and return whose it is and the digests of published manifests.

    Args:
        path: a bundle or a log's folder.
        trust: the cards that the verifier trusts, by party id.

    Raises:
        ConfigError: a card is missing.
        VerificationError: something does not verify.
        AuditError: there is no evidence, or it cannot be read.
    """
    with open_evidence(path, trust) as evidence:
        published = frozenset(
            entry.manifest_sha256
            for _index, entry in evidence.entries()
            if isinstance(entry, DatasetPublished)
        )
    return evidence.owner.id, published
