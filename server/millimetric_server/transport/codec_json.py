"""Messages as JSON: snake_case for REST, both spellings in and proto3 JSON out for Connect."""

import contextlib
import re
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec
from google.protobuf import json_format
from msgspec.structs import FieldInfo, fields

from millimetric_server.errors import AppError, Reason, Violation, invalid_params, invalid_payload
from millimetric_server.messages import (
    BatchRequest,
    Event,
    Filter,
    Message,
    UndecodableEvent,
    WireEnum,
    decode_custom,
    encode_custom,
)
from millimetric_server.store.filters import FilterError, parse_filter
from millimetric_server.transport.codec_proto import find_proto_class, read_enum_names, to_proto

_MALFORMED = (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError)
_PLACE = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<field>.*)`)?", re.DOTALL)

encode_rest: Callable[[Message], bytes] = msgspec.json.Encoder(enc_hook=encode_custom).encode
_decode_raw_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_raw_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


class _RawBatch(msgspec.Struct):
    """A batch whose events have not been looked at."""

    events: list[msgspec.Raw]


class JsonDecoder:
    """Decodes one request type. Unknown fields are ignored."""

    def __init__(self, request: type[Message]) -> None:
        self._request = request
        self._decoder = msgspec.json.Decoder(request, dec_hook=decode_custom)

    def decode(self, body: bytes) -> Message:
        """Decode a body with snake_case names. Raises AppError invalid_payload that names the field."""
        try:
            str(body, "utf-8")  # msgspec does not look into what it skips
            message: Message = self._decoder.decode(body or b"{}")
        except msgspec.ValidationError as error:
            if self._request is not BatchRequest:
                raise invalid_payload((_locate(error),)) from None
            return _decode_batch(body, error)
        except _MALFORMED:
            raise invalid_payload((Violation("body", "must be a JSON object in UTF-8"),)) from None
        return message

    def decode_connect(self, body: bytes) -> Message:
        """Decode a body with camelCase or snake_case names, as proto3 JSON allows. Raises like decode."""
        with contextlib.suppress(*_MALFORMED):  # decode finds the same fault and tells it better
            body = _rename_keys(body or b"{}", self._request)
        return self.decode(body)


def decode_params(request: type[Message], query: str, path: Mapping[str, str]) -> Message:
    """Read a request from a query string and a path. Raises AppError invalid_params that names the parameter."""
    known = {field.encode_name: get_origin(field.type) is list for field in fields(request)}
    texts = {field.encode_name for field in fields(request) if str in (field.type, *get_args(field.type))}
    values: dict[str, Any] = dict(path)
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise invalid_params("query", "must be percent-encoded UTF-8 with at most 100 parameters") from None
    for name, text in pairs:
        if name not in known or name in path:
            raise invalid_params(name[:64], f"is unknown here; there are {', '.join(known)}")
        if name == "filter" and text:
            values.setdefault(name, []).append(_read_filter(text))
        elif known[name]:
            values.setdefault(name, []).extend(part.strip() for part in text.split(",") if part.strip())
        elif name in values:
            raise invalid_params(name, "is given twice")
        elif text.lower() == "null" and name not in texts:  # msgspec would take it for an absent value
            raise invalid_params(name, "must not be null: leave it out")
        elif text:
            values[name] = text
    try:
        return msgspec.convert(values, request, strict=False, dec_hook=decode_custom)
    except (msgspec.ValidationError, OverflowError) as error:
        place = _locate(error)
        raise AppError(Reason.INVALID_PARAMS, f"{place.field}: {place.message}", violations=(place,)) from None


def encode_connect(message: Message) -> bytes:
    """Encode a response as proto3 JSON: camelCase names, full enum names, 64-bit integers as text."""
    return msgspec.json.encode(json_format.MessageToDict(to_proto(message)))


def _decode_batch(body: bytes, error: msgspec.ValidationError) -> Message:
    """Decode a batch event by event, so that every bad one is told and, if wanted, the good ones are stored."""
    try:
        raw = msgspec.json.decode(body, type=_RawBatch).events
        batch = msgspec.json.decode(_without_events(body), type=BatchRequest, dec_hook=decode_custom)
    except _MALFORMED:
        raise invalid_payload((_locate(error),)) from None
    batch.events = [_decode_event(one) for one in raw]
    return batch


def _decode_event(raw: msgspec.Raw) -> Event:
    try:
        return msgspec.json.decode(raw, type=Event, dec_hook=decode_custom)
    except msgspec.ValidationError as error:
        return UndecodableEvent(violations=(_locate(error),))


def _without_events(body: bytes) -> bytes:
    return msgspec.json.encode({name: raw for name, raw in _decode_raw_object(body).items() if name != "events"})


def _rename_keys(body: bytes | msgspec.Raw, message: type[Message]) -> bytes:
    """Write an object's camelCase keys in snake_case, guided by the message; free-form values stay as they are."""
    known = {name: one for one in fields(message) for name in (one.encode_name, _to_camel(one.encode_name))}
    pairs = []
    for name, raw in _decode_raw_object(body).items():
        field = known.get(name)
        value = bytes(raw) if field is None else _rename_value(raw, field, message)
        pairs.append(msgspec.json.encode(field.encode_name if field else name) + b":" + value)
    return b"{" + b",".join(pairs) + b"}"


def _rename_value(raw: msgspec.Raw, field: FieldInfo, message: type[Message]) -> bytes:
    kinds = [kind for kind in (field.type, *get_args(field.type)) if isinstance(kind, type)]
    nested = next((kind for kind in kinds if issubclass(kind, Message)), None)
    if bytes(raw).isdigit() and issubclass(kinds[0], WireEnum):  # proto3 JSON takes an enum's number too
        enum: Any = find_proto_class(message).DESCRIPTOR.fields_by_name[field.encode_name].enum_type
        return msgspec.json.encode(read_enum_names(kinds[0], enum).get(int(bytes(raw)), int(bytes(raw))))
    if nested is None or bytes(raw) == b"null":
        return bytes(raw)
    if get_origin(field.type) is list:
        return b"[" + b",".join(_rename_keys(item, nested) for item in _decode_raw_list(raw)) + b"]"
    return _rename_keys(raw, nested)


def _to_camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _read_filter(text: str) -> Filter:
    try:
        return parse_filter(text)
    except FilterError as error:
        raise invalid_params("filter", str(error)) from None


def _locate(error: Exception) -> Violation:
    """Turn msgspec's sentence, `Expected … - at `$.events[3].url``, into a violation."""
    match = _PLACE.fullmatch(str(error))
    what, field = (match["what"], match["field"]) if match else (str(error), None)
    return Violation(field or "body", what[:1].lower() + what[1:])
