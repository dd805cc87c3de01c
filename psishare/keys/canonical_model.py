"""Models of canonical documents, which are read in one pass where their bytes are plain.

A document's canonical form (``keys.canonical``) has its members in increasing order of their names, so
the models keep their fields in that order, whatever order a class defines them in. Bytes that hold
nothing but ASCII and no escape are canonical exactly if the model that was read from them writes the same
bytes again; everything else goes the long way, which also tells what is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from psishare.keys import canonical

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler
    from pydantic_core import CoreSchema


class CanonicalModel(BaseModel):
    """Strict types, every field, no other. Integers are bounded by ±(2^53 - 1), each by its own field."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return pydantic's schema of the model, its fields in canonical order."""
        schema = handler(source)
        fields: Any = handler.resolve_ref_schema(schema)
        while fields["type"] != "model-fields":
            fields = fields["schema"]
        fields["fields"] = dict(sorted(fields["fields"].items()))
        return schema

    def canonical_bytes(self) -> bytes:
        """Return the canonical bytes, which are what is signed, hashed and digested.

        Raises:
            InputError: a value has no canonical form.
        """
        return canonical.dumps(self.model_dump(mode="json"))

    @classmethod
    def read_plain(cls, data: bytes) -> Self | None:
        """Return what canonical bytes say, or None where the long way must tell whether they are that.

        Args:
            data: within the length that the caller allows.
        """
        if not data.isascii() or b"\\" in data:
            return None
        try:
            parsed: Self = cls.__pydantic_validator__.validate_json(data)
        except ValidationError:
            return None
        # What was repeated, spaced, left to a default or spelt otherwise does not come back the same.
        return parsed if parsed.__pydantic_serializer__.to_json(parsed) == data else None
