"""Rewrites a message's JSON into the one form that msgspec decodes: other spellings, absent values, proto3's forms.

https://protobuf.dev/programming-guides/json
"""

import functools
import re
import types
from collections.abc import Callable, Mapping
from typing import Any, Union, get_args, get_origin

import msgspec
from msgspec import Raw, UnsetType
from msgspec.structs import FieldInfo, astuple, fields

from millimetric_server.api.messages import NO_JSON, Message, WireEnum
from millimetric_server.doors.codecs.json_pieces import TooManyItemsError, split_list
from millimetric_server.doors.codecs.proto import find_proto_class
from millimetric_server.doors.codecs.proto_values import read_enum_names

_encode = msgspec.json.encode
Write = Callable[[bytes, int], bytes | None]  # with how many levels of messages there may be inside
Decode = Callable[[bytes | Raw], msgspec.Struct]
_ABSENT = (b"null", b'""')
_NUMBER_STARTS = [bytes((start,)) for start in b'"-0123456789']
_NUMBER_BYTES_MAX = 200  # with escapes
_DIGITS_MAX = 20  # of 64 bits, with a sign
_WHOLE_MAX = 2.0**64
_LEVELS_MAX = 16  # each level is copied into the one around it
_NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][+-]?\d{1,2})?", re.ASCII)


def write_plainly(
    body: bytes | Raw,
    message: type[msgspec.Struct],
    described: type[Message] | None = None,
    levels: int = _LEVELS_MAX,
) -> bytes:
    """Write an object in snake_case without unknown fields and absent values; free-form values stay as they are.

    `described` is the message of the protos that it stands for, if its class has another name. `levels` is how many
    messages may stand inside one another.

    Raises:
        msgspec.MsgspecError: it is no JSON object, or has too many levels.
    """
    if levels == 0:
        raise msgspec.ValidationError(f"Must have at most {_LEVELS_MAX} levels")
    plan, decode = _make_plan(message, described or message)
    pairs = []
    for (start, write), raw in zip(plan, astuple(decode(body)), strict=True):
        if raw is not NO_JSON and (value := write(bytes(raw), levels - 1)) is not None:
            pairs.append(start + value)
    return b"{" + b",".join(pairs) + b"}"


def is_absent(raw: Raw) -> bool:
    """Tell whether a value that is no text counts as absent."""
    return raw is NO_JSON or (len(memoryview(raw)) <= len(b"null") and bytes(raw) in _ABSENT)


def find_kind(kind: Any) -> Any:
    """The type of a field's value when it is present: `str | None` and `str | UnsetType` are `str`."""
    if get_origin(kind) in (Union, types.UnionType):
        return next(one for one in get_args(kind) if one not in (type(None), UnsetType))
    return kind


@functools.cache
def _make_plan(message: type[msgspec.Struct], described: Any) -> tuple[list[tuple[bytes, Write]], Decode]:
    """Say how each field begins and is written, under each of its names, and make what finds the names.

    Where a field is sent under both, camelCase counts, as it comes last. Nothing is built of unknown fields.
    """
    snake = [(field, field.encode_name) for field in fields(message)]
    camel = [(field, _to_camel(field.encode_name)) for field in fields(message) if "_" in field.encode_name]
    names = {f"field_{number}": name for number, (_, name) in enumerate(snake + camel)}
    spellings = msgspec.defstruct("_Spellings", [(one, Raw, NO_JSON) for one in names], rename=names, gc=False)
    plan = [(_encode(field.encode_name) + b":", _make_writer(field, described)) for field, _ in snake + camel]
    return plan, msgspec.json.Decoder(spellings).decode


def _make_writer(field: FieldInfo, message: type[Message]) -> Write:
    """How a field's value is written; None is an absent one. What can't be read stays, for the decoder to tell."""
    kind = find_kind(field.type)
    if kind is str:
        return _write_text
    if get_origin(kind) is list:
        (item,) = get_args(kind)
        write = _make_value_writer(item, field.encode_name, message)
        return write if write is _write_present else functools.partial(_write_list, write)
    return _write_integer if kind is int else _make_value_writer(kind, field.encode_name, message)


def _make_value_writer(kind: Any, name: str, message: type[Message]) -> Write:
    """How a value is written that may also stand in a list."""
    if _is_message(kind):
        return functools.partial(_write_message, kind)
    return _make_enum_writer(kind, name, message) if _is_enum(kind) else _write_present


def _make_enum_writer(kind: type[WireEnum], name: str, message: type[Message]) -> Write:
    described: Any = find_proto_class(message).DESCRIPTOR.fields_by_name[name].enum_type
    return functools.partial(_write_enum, read_enum_names(kind, described))


def _write_text(raw: bytes, _levels: int) -> bytes | None:
    return None if raw == b"null" else raw


def _write_present(raw: bytes, _levels: int) -> bytes | None:
    return None if raw in _ABSENT else raw


def _write_integer(raw: bytes, levels: int) -> bytes | None:
    number = _read_integer(raw)
    return _write_present(raw, levels) if number is None else str(number).encode()


def _write_enum(members: Mapping[int, WireEnum], raw: bytes, levels: int) -> bytes | None:
    number = _read_integer(raw)
    return _write_present(raw, levels) if number is None else _encode(members.get(number, number))


def _write_message(kind: type[Message], raw: bytes, levels: int) -> bytes | None:
    return write_plainly(raw, kind, None, levels) if raw.startswith(b"{") else _write_present(raw, levels)


def _write_list(write: Write, raw: bytes, levels: int) -> bytes | None:
    if not raw.startswith(b"["):
        return _write_present(raw, levels)
    try:
        items = split_list(raw)
    except TooManyItemsError:
        return raw  # the request's check limits the number
    return b"[" + b",".join(write(bytes(one), levels) or b"null" for one in items) + b"]"


def _read_integer(raw: bytes) -> int | None:
    """Read a number, or a text of one, that is whole."""
    if raw[:1] not in _NUMBER_STARTS or len(raw) > _NUMBER_BYTES_MAX:
        return None
    text = raw.decode()
    if text.startswith('"'):
        text = str(msgspec.json.decode(raw))
    if not _NUMBER.fullmatch(text):
        return None
    if text.lstrip("-").isdigit():
        return int(text) if len(text) <= _DIGITS_MAX else None
    number = float(text)
    return int(number) if number.is_integer() and abs(number) < _WHOLE_MAX else None


def _is_message(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Message)


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, WireEnum)


def _to_camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
