"""What an update changes: the fingerprints added and removed, in effect (dataset.md, section 5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from psishare import _native
from psishare.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from psishare.datasets.dataset import Dataset
    from psishare.datasets.encode import Progress


@dataclass(frozen=True, slots=True)
class Changes:
    """The fingerprints by which a dataset changes, each column strictly increasing.

    Attributes:
        added: those that it did not hold.
        removed: those that it held.
    """

    added: pa.FixedSizeBinaryArray
    removed: pa.FixedSizeBinaryArray

    def __len__(self) -> int:
        """Return how many fingerprints change."""
        return len(self.added) + len(self.removed)


def evaluate_changes(
    dataset: Dataset, add: Iterable[pa.Array], remove: Iterable[pa.Array], progress: Progress
) -> Changes:
    """Evaluate identifiers to add and to remove, and leave out what changes nothing.

    Args:
        dataset: the epoch as it is.
        add: canonical identifiers, batch by batch.
        remove: as ``add``.
        progress: called with the number of identifiers evaluated.

    Raises:
        InputError: an identifier is to be both added and removed.
        ConfigError: the epoch's key cannot be read.
        VerificationError: a shard of the epoch is damaged.
    """
    key, bits = dataset.key(), dataset.manifest.fingerprint_bits
    added = _evaluated(add, key, bits, progress)
    removed = _evaluated(remove, key, bits, progress)
    both = pc.sum(_native.contains(added, removed)).as_py()
    if both:
        raise InputError(
            f"{both:,} identifiers are to be both added and removed",
            mend="Leave each in one of the two lists.",
            reason="change_contradicts",
        )
    contents = dataset.contents()
    return Changes(
        added=added.filter(pc.invert(contents.contains(added))),
        removed=removed.filter(contents.contains(removed)),
    )


def _evaluated(
    batches: Iterable[pa.Array], key: _native.OprfKey, bits: int, progress: Progress
) -> pa.FixedSizeBinaryArray:
    parts = [pa.array([], pa.binary(-(-bits // 8)))]
    for batch in batches:
        parts.append(key.fingerprints(batch.unique(), bits=bits))
        progress(len(batch))
    return _native.sort_distinct(pa.concat_arrays(parts), bits=bits)
