"""A dataset as an auditor has it in the clear: the list that it was encoded from, and what updates changed.

What each part of the manifest has to be follows from that (protocols/specs/dataset.md, sections 5 and 8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Iterable

ChangeKind = Literal["add", "remove"]


@dataclass(frozen=True, slots=True)
class ListedPart:
    """The identifiers that one part holds.

    Attributes:
        change: as the manifest's part has it.
        identifiers: ``large_binary``, distinct, no nulls.
    """

    change: Literal["base"] | ChangeKind
    identifiers: pa.Array


@dataclass(frozen=True, slots=True)
class ListedDataset:
    """The parts of a dataset, and what it holds in the end.

    Attributes:
        parts: the base, then each change that has an effect, in their order.
        held: the identifiers that it holds now, ``large_binary``.
    """

    parts: tuple[ListedPart, ...]
    held: pa.Array

    @property
    def asked(self) -> pa.Array:
        """What a platform is asked: each identifier of the base and of each ``add``, one after the other.

        One that was removed and added again is there twice. What was removed has been there before.
        """
        return pa.concat_arrays(
            [part.identifiers for part in self.parts if part.change != "remove"]
        )


def listed_dataset(
    base: pa.Array, changes: Iterable[tuple[ChangeKind, pa.Array]] = ()
) -> ListedDataset:
    """Work out what each part holds.

    Args:
        base: the list that was encoded: canonical and distinct, ``binary`` or ``large_binary``.
        changes: what updates were given, oldest first: of one that removed and added, what it removed
            comes first. What changes nothing is left out, as the platform leaves it out.
    """
    held = base.cast(pa.large_binary())
    parts = [ListedPart("base", held)]
    for change, told in changes:
        given = told.cast(pa.large_binary()).unique()
        known = pc.is_in(given, value_set=held)
        if change == "add":
            effective = given.filter(pc.invert(known))
            held = pa.concat_arrays([held, effective])
        else:
            effective = given.filter(known)
            held = held.filter(pc.invert(pc.is_in(held, value_set=effective)))
        if len(effective):
            parts.append(ListedPart(change, effective))
    return ListedDataset(tuple(parts), held)
