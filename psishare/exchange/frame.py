"""A frame's bytes on the wire: one encapsulated Arrow IPC record batch, checked before use.

Source: protocols/specs/exchange.md, section 8, step 2. Peer bytes are hostile: the length is looked
at first, then the header's few fields, and only then does Arrow read a buffer. Arrow would otherwise
allocate whatever a compressed buffer claims to hold.
"""

from __future__ import annotations

import struct

import pyarrow as pa

from psishare.errors import ProtocolError

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
COLUMN = "element"
_CONTINUATION = 0xFFFFFFFF
_PREFIX_BYTES = 8
_BODY_PADDING_BYTES = 64
_RECORD_BATCH = 3
# Slots of the tables in Arrow's Message.fbs (format version 5): a vtable begins with two u16, then
# one u16 a field, in the order of the schema.
_MESSAGE_HEADER_TYPE, _MESSAGE_HEADER, _MESSAGE_BODY_LENGTH = 1, 2, 3
_BATCH_LENGTH, _BATCH_NODES, _BATCH_BUFFERS, _BATCH_COMPRESSION = 0, 1, 2, 3


def encode_frame(elements: pa.FixedSizeBinaryArray) -> bytes:
    """Return the wire form of a frame's elements."""
    # A slice would be written with the padding that follows it, which is the next element's bytes.
    values = pa.py_buffer(element_bytes_of(elements))
    exact = pa.FixedSizeBinaryArray.from_buffers(elements.type, len(elements), [None, values])
    batch = pa.record_batch([exact], schema=frame_schema(elements.type.byte_width))
    return batch.serialize().to_pybytes()  # type: ignore[no-any-return]


def decode_frame(data: bytes, *, n_rows: int, element_bytes: int) -> pa.FixedSizeBinaryArray:
    """Read a frame that must have exactly these rows and this width.

    Args:
        data: the peer's bytes.
        n_rows: what the offer fixed for this frame.
        element_bytes: the protocol's element width.

    Returns:
        ``fixed_size_binary[element_bytes]``, shape ``(n_rows,)``, no nulls.

    Raises:
        ProtocolError: too long, truncated, another schema, compressed, nulls, or other rows.
    """
    if len(data) > MAX_MESSAGE_BYTES:
        raise _malformed("is larger than 4 MiB")
    _check_header(data, n_rows, n_rows * element_bytes)
    schema = frame_schema(element_bytes)
    try:
        batch = pa.ipc.read_record_batch(pa.py_buffer(data), schema)
        batch.validate(full=True)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _malformed("is not an Arrow record batch of one element column") from error
    column = batch.column(0)
    if batch.num_rows != n_rows or column.null_count:
        raise _malformed(f"has not the {n_rows} rows without nulls that were due")
    buffer = column.buffers()[1]
    if n_rows and (buffer is None or buffer.size < n_rows * element_bytes):
        raise _malformed("is shorter than its rows")
    return column


def element_bytes_of(elements: pa.FixedSizeBinaryArray) -> memoryview:
    """Return the elements' bytes as they stand, without padding, for the frame digest."""
    width = elements.type.byte_width
    if len(elements) == 0:
        return memoryview(b"")
    start = elements.offset * width
    return memoryview(elements.buffers()[1])[start : start + len(elements) * width]


def frame_schema(element_bytes: int) -> pa.Schema:
    """Return the one schema that a frame may have."""
    return pa.schema([pa.field(COLUMN, pa.binary(element_bytes), nullable=False)])


def _check_header(data: bytes, n_rows: int, body_bytes: int) -> None:
    """Check the message's header fields against what is due, before Arrow allocates anything."""
    try:
        continuation, header_bytes = struct.unpack_from("<Ii", data, 0)
        if continuation != _CONTINUATION or not 0 < header_bytes <= len(data) - _PREFIX_BYTES:
            raise _malformed("does not begin as an Arrow message")
        header = data[_PREFIX_BYTES : _PREFIX_BYTES + header_bytes]
        message = _table(header, 0)
        kind = _scalar(header, message, _MESSAGE_HEADER_TYPE, "<B")
        length = _scalar(header, message, _MESSAGE_BODY_LENGTH, "<q")
        batch = _table(header, _slot(header, message, _MESSAGE_HEADER))
        rows = _scalar(header, batch, _BATCH_LENGTH, "<q")
        compressed = _slot(header, batch, _BATCH_COMPRESSION) != 0
        nodes = _pairs(header, batch, _BATCH_NODES, limit=1)
        buffers = _pairs(header, batch, _BATCH_BUFFERS, limit=2)
    except struct.error:
        raise _malformed("has a damaged header") from None
    if kind != _RECORD_BATCH or compressed:
        raise _malformed("is not an uncompressed record batch")
    if rows != n_rows or nodes != [(n_rows, 0)]:
        raise _malformed(f"has not the {n_rows} rows without nulls that were due")
    if len(buffers) != 2 or buffers[1][1] != body_bytes:
        raise _malformed("is not one column of elements")
    bitmap_bytes = -(-n_rows // 8)
    if not body_bytes <= length <= body_bytes + bitmap_bytes + 2 * _BODY_PADDING_BYTES:
        raise _malformed("has a body of another length than its rows")
    if len(data) != _PREFIX_BYTES + header_bytes + length:
        raise _malformed("has another length than its header says")


def _table(header: bytes, position: int) -> int:
    """Follow the offset at ``position`` to a table."""
    return position + _unpack(header, "<I", position)


def _slot(header: bytes, table: int, field: int) -> int:
    """Return where a table's field stands, or 0 where it is absent."""
    vtable = table - _unpack(header, "<i", table)
    entry = 4 + 2 * field
    if entry >= _unpack(header, "<H", vtable):
        return 0
    offset = _unpack(header, "<H", vtable + entry)
    return table + offset if offset else 0


def _scalar(header: bytes, table: int, field: int, form: str) -> int:
    position = _slot(header, table, field)
    return _unpack(header, form, position) if position else 0


def _pairs(header: bytes, table: int, field: int, *, limit: int) -> list[tuple[int, int]]:
    """Read a vector of two-integer structs (Arrow's ``FieldNode`` and ``Buffer``)."""
    slot = _slot(header, table, field)
    if not slot:
        return []
    vector = _table(header, slot)
    if _unpack(header, "<I", vector) > limit:
        raise struct.error
    return [
        (_unpack(header, "<q", at), _unpack(header, "<q", at + 8))
        for at in range(vector + 4, vector + 4 + 16 * _unpack(header, "<I", vector), 16)
    ]


def _unpack(header: bytes, form: str, position: int) -> int:
    if position < 0:
        raise struct.error
    value: int = struct.unpack_from(form, header, position)[0]
    return value


def _malformed(fault: str) -> ProtocolError:
    return ProtocolError(
        f"the peer's frame {fault}",
        mend="Use the same version of psishare on both sides.",
        reason="frame_malformed",
    )
