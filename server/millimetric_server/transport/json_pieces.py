"""JSON taken apart without building what it holds: lists counted, names of objects changed.

What is built of a body can take a hundred times its bytes, so only a known number of pieces is ever made of it.
"""

import functools
from typing import Any, get_args, get_origin

import msgspec
from msgspec import Raw
from msgspec.structs import FieldInfo, astuple, fields

from millimetric_server.messages import NO_JSON, Message, WireEnum
from millimetric_server.transport.codec_proto import find_proto_class
from millimetric_server.transport.proto_values import read_enum_names
from millimetric_server.validate.events import BATCH_EVENTS_MAX

_ENUM_DIGITS_MAX = 10
# msgspec counts a list when it is built. An object that is written as an array is counted on the way: decoding ends
# with the first item that it has no place for.
_decode_items = msgspec.json.Decoder(
    msgspec.defstruct(
        "_Items",
        [(f"item_{number}", Raw, NO_JSON) for number in range(BATCH_EVENTS_MAX)],
        array_like=True,
        forbid_unknown_fields=True,
        gc=False,
    )
).decode


class TooManyItemsError(msgspec.ValidationError):
    """A list holds more than BATCH_EVENTS_MAX items."""


def split_list(raw: bytes | Raw) -> list[Raw]:
    """Split a list into its items. Raises TooManyItemsError, msgspec.ValidationError, msgspec.DecodeError."""
    try:
        items = astuple(_decode_items(raw))
    except msgspec.ValidationError as error:
        if "at most length" in str(error):
            raise TooManyItemsError from None
        raise
    return [item for item in items if item is not NO_JSON]


def rename_keys(body: bytes | Raw, message: type[Message]) -> bytes:
    """Write an object's camelCase keys in snake_case, guided by the message; free-form values stay as they are.

    Unknown keys are left out. Raises like split_list.
    """
    spelled, decode = _make_speller(message)
    pairs = [
        b'"%b":%b' % (field.encode_name.encode(), _rename_value(raw, field, message))
        for field, raw in zip(spelled, astuple(decode(body)), strict=True)
        if raw is not NO_JSON
    ]
    return b"{" + b",".join(pairs) + b"}"


@functools.cache
def _make_speller(message: type[Message]) -> tuple[list[FieldInfo], Any]:
    """Make what finds each field under its two names; with both given the camelCase one, which comes second, counts."""
    named = [
        (field, name) for field in fields(message) for name in sorted({field.encode_name, _to_camel(field.encode_name)})
    ]
    named.sort(key=lambda pair: pair[1] != pair[0].encode_name)
    attributes = {f"field_{number}": name for number, (_, name) in enumerate(named)}
    spellings = msgspec.defstruct(
        "_Spellings", [(attribute, Raw, NO_JSON) for attribute in attributes], rename=attributes, gc=False
    )
    return [field for field, _ in named], msgspec.json.Decoder(spellings).decode


def _rename_value(raw: Raw, field: FieldInfo, message: type[Message]) -> bytes:
    kinds = [kind for kind in (field.type, *get_args(field.type)) if isinstance(kind, type)]
    nested = next((kind for kind in kinds if issubclass(kind, Message)), None)
    if nested is None and not issubclass(kinds[0], WireEnum):
        return bytes(raw)
    if nested is None:
        return _rename_enum(bytes(raw), kinds[0], field, message)
    if bytes(raw) == b"null":
        return b"null"
    if get_origin(field.type) is list:
        return b"[" + b",".join(rename_keys(item, nested) for item in split_list(raw)) + b"]"
    return rename_keys(raw, nested)


def _rename_enum(text: bytes, kind: Any, field: FieldInfo, message: type[Message]) -> bytes:
    """Write an enum's number as its name: proto3 JSON takes both."""
    if not text.isdigit() or len(text) > _ENUM_DIGITS_MAX:
        return text
    enum: Any = find_proto_class(message).DESCRIPTOR.fields_by_name[field.encode_name].enum_type
    return msgspec.json.encode(read_enum_names(kind, enum).get(int(text), int(text)))


def _to_camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
