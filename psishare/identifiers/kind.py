"""What every kind of identifier is made of: a rule for one value, and the same rule for a column.

The rule for one value (``canonical``) goes through the library that defines the kind. The rule for a
column (``is_canonical``) recognises, on whole Arrow buffers, values that are canonical already, which
is what most columns are full of. It may miss some; what it takes must be what the library takes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import pyarrow.compute as pc

from psishare.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

SEPARATOR = "\x00"


class Kind(ABC):
    """A kind of identifiers; one subclass each, registered in ``registry.py``.

    Attributes:
        name: 1 to 32 characters of ``[a-z0-9-]``.
        summary: what it is, in a few words.
        note: what was chosen where standards leave a choice, and what to mind.
        takes_region: whether a default region changes how a value is read.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    note: ClassVar[str]
    takes_region: ClassVar[bool] = False

    @abstractmethod
    def is_canonical(self, values: pa.Array) -> pa.Array:
        """Tell which values are canonical for certain.

        Args:
            values: ``large_string``, shape ``(n,)``; nulls allowed.

        Returns:
            ``bool``, shape ``(n,)``, null where the value is. True only where ``canonical`` would
            return the value itself.
        """

    def respelled(self, values: pa.Array, region: str | None) -> pa.Array:  # noqa: ARG002
        """Return the values in a spelling that ``is_canonical`` is likelier to take.

        Args:
            values: ``large_string``, shape ``(n,)``; nulls allowed.
            region: the default region, or None.

        Returns:
            ``large_string``, shape ``(n,)``. Where ``is_canonical`` takes the new spelling, it is
            what ``canonical`` would return for the old one.
        """
        return values

    @abstractmethod
    def canonical(self, value: str, region: str | None) -> str:
        """Return one value's canonical form, through the library that defines it.

        Args:
            value: without white space at its ends, not empty, at most 4,096 bytes.
            region: the default region, or None.

        Raises:
            Unacceptable: it has none.
        """

    def require_region(self, region: str | None) -> None:
        """Refuse a default region that this kind cannot use.

        Raises:
            InputError: ``region_unused`` or ``region_unknown``.
        """
        if region is not None:
            raise InputError(
                f"kind {self.name} knows no regions",
                mend="Leave the region out.",
                reason="region_unused",
            )

    def prefix(self, namespace: str) -> str:
        """Return what stands before the value in the canonical identifier (identifiers.md, 2.6)."""
        return f"{self.name}{SEPARATOR}{namespace}{SEPARATOR}"


def settles_nothing(values: pa.Array) -> pa.Array:
    """Return the ``is_canonical`` of a kind that leaves every value to its library."""
    return pc.not_equal(values, values)
