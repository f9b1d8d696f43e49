"""Counts what a protobuf body contains, field by field, before it is parsed.

A parsed message takes up to a hundred times the bytes that it is sent in: 16 MB of empty events become 1.1 GB, in 2 s
in which nothing else runs. So what could grow is counted first, and a body with too much of it is not parsed at all.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from google.protobuf.descriptor import FieldDescriptor

from millimetric_server.api.errors import Violation, invalid_payload

# Fields that a body may have, those of nested messages included and those of Structs not: more than any valid request.
FIELDS_MAX = 250_000
# A Struct takes at most 5.5 bytes for each byte of its compact JSON (a list of digits), of which 8192 are allowed.
STRUCT_BYTES_MAX = 6 * 8192
_VARINT, _EIGHT, _LENGTH, _GROUP, _GROUP_END, _FOUR = range(6)
_VARINT_BITS_MAX = 63
_LEVELS_MAX = 100  # of messages inside messages, as protobuf itself has it
_MORE = 0x80  # the bit that says that a number goes on


class MalformedError(ValueError):
    """The body is not protobuf."""


class Field(NamedTuple):
    """A field as it lies in a body: its number, where it begins with its tag, and where its content is."""

    number: int
    start: int
    content: int
    end: int
    is_bytes: bool  # length-delimited: text, bytes or a message


class WireReader:
    """Reads one body and counts its fields on the way."""

    def __init__(self) -> None:
        self._fields_left = FIELDS_MAX

    def read(self, body: bytes) -> Iterator[Field]:
        """Yield the fields of a message. Raises MalformedError, AppError invalid_payload for too many fields."""
        at, size = 0, len(body)
        try:
            while at < size:
                self._fields_left -= 1
                if self._fields_left < 0:
                    raise invalid_payload((Violation("body", f"must contain at most {FIELDS_MAX} fields"),))
                start = at
                tag, at = _read_varint(body, at)
                end = _find_end(body, at, tag & 7)
                if tag & 7 == _LENGTH:
                    length, at = _read_varint(body, at)
                    end = at + length
                if end > size:
                    raise MalformedError
                yield Field(tag >> 3, start, at, end, tag & 7 == _LENGTH)
                at = end
        except IndexError:
            raise MalformedError from None

    def check(self, body: bytes, described: Any, levels: int = _LEVELS_MAX) -> None:
        """Count everything in a message of this descriptor.

        Raises MalformedError, AppError invalid_payload that names a Struct which is too large.
        """
        if levels == 0:
            raise MalformedError
        struct_bytes: dict[str, int] = {}
        for number, _, start, end, is_bytes in self.read(body):
            field = described.fields_by_number.get(number)
            if field is None or not is_bytes or field.type != FieldDescriptor.TYPE_MESSAGE:
                continue
            if field.message_type.full_name != "google.protobuf.Struct":
                self.check(body[start:end], field.message_type, levels - 1)
                continue
            struct_bytes[field.name] = struct_bytes.get(field.name, 0) + end - start  # repeated ones are merged
            if struct_bytes[field.name] > STRUCT_BYTES_MAX:
                raise make_struct_too_large(field.name)


def make_struct_too_large(field: str) -> Exception:
    """Make the error for a Struct whose JSON is too long whatever its exact length."""
    return invalid_payload((Violation(field, "must be at most 8192 bytes as compact JSON"),))


def _find_end(body: bytes, at: int, kind: int) -> int:
    """Where the content ends that begins here; of what has a length, here."""
    if kind == _VARINT:
        return _read_varint(body, at)[1]
    if kind == _EIGHT:
        return at + 8
    if kind == _FOUR:
        return at + 4
    if kind in (_LENGTH, _GROUP, _GROUP_END):
        return at
    raise MalformedError


def _read_varint(body: bytes, at: int) -> tuple[int, int]:
    """Read a number; returns it and where it ends. Raises IndexError, MalformedError."""
    byte = body[at]
    at += 1
    if byte < _MORE:
        return byte, at
    value, shift = byte & 0x7F, 7
    while True:
        byte = body[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < _MORE:
            return value, at
        shift += 7
        if shift > _VARINT_BITS_MAX:
            raise MalformedError
