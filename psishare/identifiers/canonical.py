"""Makes a column canonical (identifiers.md, section 2): most of it as whole buffers, the rest by value.

Values that are canonical already are recognised on Arrow buffers. Only distinct others go through
the library that defines the kind, one by one. Both ways give the same bytes; tests hold them to it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from psishare.errors import InputError
from psishare.identifiers.registry import kind as kind_named
from psishare.identifiers.reject import Reason, Rejects, Unacceptable
from psishare.identifiers.white_space import WHITE_SPACE

if TYPE_CHECKING:
    from psishare.identifiers.kind import Kind

MAX_INPUT_BYTES = 4096
MAX_VALUE_BYTES = 1024
NAMESPACE = re.compile("[a-z0-9./-]{0,64}")

_TEXT = pa.large_string()
_REASONS = pa.dictionary(pa.int8(), pa.string())
_REASON_CODES = pa.array([reason.value for reason in Reason], pa.string())
_REASON_INDEX = {reason: index for index, reason in enumerate(Reason)}


@dataclass(frozen=True, slots=True)
class Canonical:
    """A column of canonical identifiers, and what was rejected.

    Attributes:
        values: ``large_binary``, shape ``(n,)``, in the column's order, null where rejected.
        rejects: the rejected rows and their reasons.
    """

    values: pa.Array
    rejects: Rejects


@dataclass(frozen=True, slots=True)
class _Outcome:
    """For each value either its canonical form or the index of the reason to reject it.

    Attributes:
        values: ``large_string``, shape ``(n,)``, null where rejected.
        reasons: ``int8``, shape ``(n,)``, null where accepted.
    """

    values: pa.Array
    reasons: pa.Array


def canonicalise(
    column: pa.Array | pa.ChunkedArray,
    kind: str,
    *,
    namespace: str = "",
    region: str | None = None,
) -> Canonical:
    """Turn a column of values, however spelled, into canonical identifiers.

    Args:
        column: text (``string``, ``large_string``, ``string_view`` or a dictionary of them), shape
            ``(n,)``; nulls allowed.
        kind: the kind's name, such as ``phone``.
        namespace: sets apart values of different origin; part of the canonical bytes.
        region: the default region of phone numbers without a country calling code.

    Returns:
        ``Canonical``, whose arrays never hold a value that was rejected.

    Raises:
        InputError: ``kind_unknown``, ``namespace_invalid``, ``region_unknown``, ``region_unused``,
            ``column_not_text``, or ``encoding_invalid``. Names no value.
    """
    rule = kind_named(kind)
    _require_namespace(namespace)
    rule.require_region(region)
    outcome = _of_column(_text(column), rule, region)
    identifiers = pc.binary_join_element_wise(
        pa.scalar(rule.prefix(namespace), _TEXT), outcome.values, pa.scalar("", _TEXT)
    ).cast(pa.large_binary())
    return Canonical(identifiers, _rejects(outcome.reasons))


def _of_column(text: pa.Array, rule: Kind, region: str | None) -> _Outcome:
    """Take what is canonical already; the rest by distinct value, joined back to its rows."""
    ready = pc.fill_null(_is_canonical(text, rule), fill_value=False)
    if ready.true_count == len(text):
        return _Outcome(text, pa.nulls(len(text), pa.int8()))
    rest = pc.invert(ready)
    distinct = pc.utf8_trim(text.filter(rest), WHITE_SPACE).dictionary_encode()
    outcome = _of_distinct(distinct.dictionary, rule, region)
    # A null row is a null index, and takes the outcome of a missing value.
    missing = pa.scalar(_REASON_INDEX[Reason.MISSING], pa.int8())
    values = outcome.values.take(distinct.indices)
    reasons = outcome.reasons.take(distinct.indices)
    reasons = pc.if_else(pc.is_null(distinct.indices), missing, reasons)
    return _Outcome(
        pc.replace_with_mask(text, rest, values),
        pc.replace_with_mask(pa.nulls(len(text), pa.int8()), rest, reasons),
    )


def _of_distinct(values: pa.Array, rule: Kind, region: str | None) -> _Outcome:
    """Canonicalise distinct, trimmed values without nulls; the library sees what RE2 cannot settle."""
    respelled = rule.respelled(values, region)
    settled = pc.and_(_within(values, MAX_INPUT_BYTES), _is_canonical(respelled, rule))
    open_ = pc.invert(settled)
    asked = values.filter(open_)
    answers = [_by_library(value, rule, region) for value in asked.to_pylist()]
    found = pa.array([None if isinstance(a, Reason) else a for a in answers], _TEXT)
    causes = [_REASON_INDEX[a] if isinstance(a, Reason) else None for a in answers]
    unstable = _unstable(asked, found, rule, region)
    ambiguous = pa.scalar(_REASON_INDEX[Reason.AMBIGUOUS], pa.int8())
    found_reasons = pc.if_else(unstable, ambiguous, pa.array(causes, pa.int8()))
    found = pc.if_else(unstable, pa.scalar(None, _TEXT), found)
    return _Outcome(
        pc.replace_with_mask(respelled, open_, found),
        pc.replace_with_mask(pa.nulls(len(values), pa.int8()), open_, found_reasons),
    )


def _by_library(value: str, rule: Kind, region: str | None) -> str | Reason:
    if not value:
        return Reason.MISSING
    if len(value.encode()) > MAX_INPUT_BYTES:
        return Reason.TOO_LONG
    try:
        canonical = rule.canonical(value, region)
    except Unacceptable as unacceptable:
        return unacceptable.reason
    return canonical if len(canonical.encode()) <= MAX_VALUE_BYTES else Reason.TOO_LONG


def _unstable(asked: pa.Array, found: pa.Array, rule: Kind, region: str | None) -> pa.Array:
    """Tell which canonical values are not their own canonical value (step 2.5)."""
    stable = pc.or_(_is_canonical(found, rule), pc.equal(asked, found))
    doubtful = pc.invert(pc.fill_null(stable, fill_value=True))
    if not doubtful.true_count:
        return doubtful
    again = [
        _by_library(value, rule, region) != value for value in found.filter(doubtful).to_pylist()
    ]
    return pc.replace_with_mask(doubtful, doubtful, pa.array(again, pa.bool_()))


def _is_canonical(values: pa.Array, rule: Kind) -> pa.Array:
    return pc.and_(_within(values, MAX_VALUE_BYTES), rule.is_canonical(values))


def _within(values: pa.Array, max_bytes: int) -> pa.Array:
    return pc.less_equal(pc.binary_length(values), max_bytes)


def _rejects(reasons: pa.Array) -> Rejects:
    rejected = pc.is_valid(reasons)
    rows = pc.indices_nonzero(rejected)
    codes = pa.DictionaryArray.from_arrays(reasons.filter(rejected), _REASON_CODES)
    return Rejects(rows.cast(pa.uint64()), codes.cast(_REASONS))


def _text(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Return the column as one ``large_string`` array of valid UTF-8."""
    kind = column.type
    value_type = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not _is_text(value_type) and not pa.types.is_null(value_type):
        raise InputError(
            f"the column holds {value_type}, not text: leading zeros and plus signs may be lost",
            mend="Write the column as strings where it comes from, then try again.",
            reason="column_not_text",
        )
    try:
        text = column.cast(_TEXT)
        text = text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text
        text.validate(full=True)
    except pa.ArrowInvalid:
        text = None
    if text is None:
        raise InputError(
            "the column holds bytes that are not UTF-8",
            mend="Find out the encoding in which the column was written and declare it.",
            reason="encoding_invalid",
        )
    return text


def _is_text(type_: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_string_view(type_)
    )


def _require_namespace(namespace: str) -> None:
    if not NAMESPACE.fullmatch(namespace):
        raise InputError(
            "a namespace is at most 64 characters of a-z, 0-9, dot, slash and hyphen",
            mend="Choose a namespace of that form, the same on both sides.",
            reason="namespace_invalid",
        )
