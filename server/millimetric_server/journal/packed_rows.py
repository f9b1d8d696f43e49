"""Rows as the journal keeps them and ClickHouse takes them: the msgpack values of all fields, row after row.

That is ClickHouse's input format MsgPack, so the loader passes bytes on without parsing them (docs/adr/0005).
"""

import struct
from collections.abc import Sequence
from typing import Any

import msgspec

from millimetric_server.enrich.event_row import EventRow

COLUMN_NAMES = EventRow.__struct_fields__
COLUMN_COUNT = len(COLUMN_NAMES)
FORMAT = "MsgPack"

_encode = msgspec.msgpack.Encoder().encode
_decode_values = msgspec.msgpack.Decoder(list[Any]).decode
_ARRAY_16 = b"\xdc" + struct.pack(">H", COLUMN_COUNT)  # how msgpack begins an array of so many values
_HEADER_BYTES = {15: 1, 65535: 3, 2**32 - 1: 5}  # the length of an array's header, up to so many values
assert COLUMN_COUNT in range(16, 65536)  # noqa: S101 - what pack_row cuts off depends on it


class UnreadableRowsError(ValueError):
    """Packed rows can't be unpacked: the file they came from was damaged."""


def pack_row(row: EventRow) -> bytes:
    """Pack one row."""
    return _encode(row)[len(_ARRAY_16) :]


def pack_values(rows: Sequence[Sequence[object]]) -> bytes:
    """Pack rows that were unpacked before."""
    values = [value for row in rows for value in row]
    header = next(size for count, size in _HEADER_BYTES.items() if len(values) <= count)
    return _encode(values)[header:]


def unpack_rows(packed: bytes, row_count: int, column_count: int) -> list[list[Any]]:
    """Unpack rows into lists of their first `column_count` fields. Raises UnreadableRowsError."""
    try:
        values = _decode_values(b"\xdd" + struct.pack(">I", row_count * column_count) + packed)
    except msgspec.DecodeError as error:
        raise UnreadableRowsError(f"{row_count} rows can't be read: {error}") from None
    return [values[start : start + column_count] for start in range(0, len(values), column_count)]
