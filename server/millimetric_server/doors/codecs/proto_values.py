"""Reads single protobuf values; those without meaning are refused by their field's name."""

import json
import math
from collections.abc import Callable
from typing import Any

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from msgspec import Raw

from millimetric_server.api.errors import Violation
from millimetric_server.api.limits import PROPERTIES_BYTES_MAX
from millimetric_server.api.messages import Instant, WireEnum
from millimetric_server.doors.codecs.wire import make_struct_too_large

# Even an empty value takes two bytes of compact JSON.
_VALUES_MAX = PROPERTIES_BYTES_MAX // 2
# What google.protobuf.Timestamp allows: the years 1 to 9999.
_SECONDS_MIN, _SECONDS_MAX, _NANOS_MAX = -62_135_596_800, 253_402_300_799, 999_999_999


class FieldError(Exception):
    """A field has a value that protobuf can carry but that has no meaning for its type."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.violation = Violation(field, message)

    def within(self, place: str) -> "FieldError":
        """The same, seen from the message around."""
        return FieldError(f"{place}.{self.violation.field}", self.violation.message)


def read_enum_names(enum: type[WireEnum], described: EnumDescriptor) -> dict[int, WireEnum]:
    """The members of an enum by their numbers in the protos."""
    return {value.number: enum(value.name) for value in described.values}


def make_enum_reader(name: str, enum: type[WireEnum], described: EnumDescriptor) -> Callable[[int], WireEnum]:
    """Make the function that reads a number of this enum. It raises FieldError for one that the enum has not."""
    members = read_enum_names(enum, described)
    words = ", ".join(f"{number} ({member.value})" for number, member in members.items() if member.value)

    def read(value: int) -> WireEnum:
        try:
            return members[value]
        except KeyError:  # a newer client's: to read it as the default would answer another question
            raise FieldError(name, f"must be one of {words}, not {value}") from None

    return read


def read_timestamp(name: str, value: Timestamp) -> Instant:
    """Read a time, its nanoseconds cut to microseconds. Raises FieldError."""
    seconds, nanos = value.seconds, value.nanos
    if not (_SECONDS_MIN <= seconds <= _SECONDS_MAX and 0 <= nanos <= _NANOS_MAX):
        raise FieldError(name, "must be between the years 1 and 9999, with 0 to 999,999,999 nanos")
    return Instant(seconds * 1_000_000 + nanos // 1000)


def write_timestamp(value: int) -> Timestamp:
    """Write microseconds since 1970."""
    return Timestamp(seconds=value // 1_000_000, nanos=value % 1_000_000 * 1000)


def read_struct(name: str, value: Struct) -> Raw:
    """Write a Struct as JSON text. What is not JSON (NaN) comes out as such and fails validation with its field."""
    content = _StructReader(name).read_fields(value)
    return Raw(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode())


class _StructReader:
    """Reads one Struct, and stops where it holds more values than its JSON may have room for."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._values_left = _VALUES_MAX

    def read_fields(self, value: Struct) -> dict[str, Any]:
        return {name: self._read_value(item) for name, item in self._check_room(value.fields).items()}

    def _check_room(self, values: Any) -> Any:
        self._values_left -= len(values)
        if self._values_left < 0:
            raise make_struct_too_large(self._name)
        return values

    def _read_value(self, value: Any) -> Any:
        kind = value.WhichOneof("kind")
        if kind == "struct_value":
            return self.read_fields(value.struct_value)
        if kind == "list_value":
            return [self._read_value(item) for item in self._check_room(value.list_value.values)]
        if kind == "number_value":
            return _read_number(value.number_value)
        return None if kind in (None, "null_value") else getattr(value, kind)


def _read_number(number: float) -> float | int:
    """A Struct has only doubles: a whole one is an integer, unless no 64-bit integer could have become it."""
    if math.isfinite(number) and number.is_integer() and abs(number) <= 2**64:
        return int(number)
    return number
