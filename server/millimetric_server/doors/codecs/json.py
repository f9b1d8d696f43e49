"""Messages as JSON: one reader of both spellings and all forms of proto3 JSON; snake_case out, proto3 for Connect."""

import re
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_origin
from urllib.parse import parse_qsl

import msgspec
from google.protobuf import json_format
from msgspec import UNSET
from msgspec.structs import fields

from millimetric_server.api.errors import AppError, Reason, Violation, invalid_params, invalid_payload
from millimetric_server.api.json_faults import find_fault
from millimetric_server.api.limits import make_too_many
from millimetric_server.api.messages import (
    NO_JSON,
    Ack,
    BatchMode,
    BatchRequest,
    Event,
    Filter,
    FilterOp,
    FilterTree,
    Measure,
    Message,
    StatsResponse,
    StatsRow,
    decode_custom,
    encode_custom,
)
from millimetric_server.api.undecodable import UndecodableEvent
from millimetric_server.doors.codecs.filter_text import parse_filter
from millimetric_server.doors.codecs.json_pieces import TooManyItemsError, split_list
from millimetric_server.doors.codecs.measure_text import parse_measures
from millimetric_server.doors.codecs.plain_json import is_absent, write_plainly
from millimetric_server.doors.codecs.proto import to_proto

_MALFORMED = (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError)
# Values that a body may hold, by its commas, if it is no batch: more than any valid request. What a list is made of is
# built before anybody can count it, so it is bounded here.
_COMMAS_MAX = 250_000
_TEXT_CHARS_MAX = 400  # of msgspec's sentences, which repeat what was sent; the place stands at the end
_OP_PLACE = re.compile(r"(^|\.)filter(\[(\d+|\.\.\.)\])?\.op$")  # of a filter that compares in an unknown way
_PLACE = re.compile(r"(?P<what>.*?)(?: - at `\$\.?(?P<field>.*)`)?", re.DOTALL)

encode_rest: Callable[[Any], bytes] = msgspec.json.Encoder(enc_hook=encode_custom).encode
_WHOLE_MAX = 2.0**53


class _RawBatch(msgspec.Struct):
    """A batch whose events are neither parsed nor counted yet."""

    events: msgspec.Raw = NO_JSON
    mode: BatchMode = BatchMode.UNSPECIFIED
    ack: Ack = Ack.UNSPECIFIED


_decode_raw_batch = msgspec.json.Decoder(_RawBatch).decode
_decode_events = msgspec.json.Decoder(list[Event], dec_hook=decode_custom).decode
_decode_tree = msgspec.json.Decoder(FilterTree, dec_hook=decode_custom).decode
_decode_event = msgspec.json.Decoder(Event, dec_hook=decode_custom).decode


class JsonDecoder:
    """Decodes one request type. Unknown fields are ignored."""

    def __init__(self, request: type[Message]) -> None:
        self._request = request
        self._decoder = msgspec.json.Decoder(request, dec_hook=decode_custom)
        self._has_lists = any(get_origin(field.type) is list for field in fields(request))

    def decode(self, body: bytes) -> Message:
        """Decode a body. Raises AppError invalid_payload that names the field."""
        try:
            str(body, "utf-8")  # msgspec does not look into what it skips
            if self._request is BatchRequest:
                return _decode_batch(body or b"{}")
            if body.count(b",") > _COMMAS_MAX and self._has_lists:
                raise invalid_payload((Violation("body", f"must contain at most {_COMMAS_MAX} values"),))
            try:
                message: Message = self._decoder.decode(body or b"{}")
            except msgspec.ValidationError:  # most calls are written as we would write them, and are spared this
                message = self._decoder.decode(write_plainly(body or b"{}", self._request))
        except msgspec.ValidationError as error:
            place = _locate(error)
            if _OP_PLACE.search(place.field):
                raise invalid_params(place.field, _explain_op(place.message)) from None
            raise invalid_payload((place,)) from None
        except _MALFORMED:
            raise invalid_payload((_find_fault(body),)) from None
        return message


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
            raise invalid_params(name[:64], f"is not a parameter of this route; there are {', '.join(known)}")
        if name not in texts and text.lower() == "null":  # msgspec would take it for an absent value
            raise invalid_params(name, "must not be null: leave it out")
        _add_param(values, name, text, is_list=known[name])
    try:
        return msgspec.convert(values, request, strict=False, dec_hook=decode_custom)
    except (msgspec.ValidationError, OverflowError) as error:
        place = _locate(error)
        raise AppError(Reason.INVALID_PARAMS, f"{place.field}: {place.message}", violations=(place,)) from None


def _add_param(values: dict[str, Any], name: str, text: str, *, is_list: bool) -> None:
    if name == "filter" and text:
        values.setdefault(name, []).append(_read_filter(text))
    elif name == "metrics":
        values.setdefault(name, []).extend(_read_measures(text))
    elif is_list:
        values.setdefault(name, []).extend(part.strip() for part in text.split(",") if part.strip())
    elif name in values:
        raise invalid_params(name, "is given twice")
    elif text:
        values[name] = _read_tree(text) if name == "where" else text


def choose_rest_encoder(response: type[Message]) -> Callable[[Any], bytes]:
    """Choose what encodes a response as JSON in snake_case."""
    return _encode_stats if response is StatsResponse else encode_rest


def _encode_stats(message: StatsResponse) -> bytes:
    """Encode Stats: what a row has by name are members of the row."""
    if all(map(_is_plain, message.rows[:1])):
        return encode_rest(message)
    content = msgspec.to_builtins(message)
    content["rows"] = list(map(_flatten, content["rows"]))
    return encode_rest(content)


def _is_plain(row: StatsRow) -> bool:
    return row.properties is UNSET and row.measures is UNSET and row.previous is UNSET


def _flatten(row: dict[str, Any]) -> dict[str, Any]:
    """Put the members of a row's maps into the row; `value` is the figure where there is one."""
    value, measures, previous = row.pop("value"), row.pop("measures", None), row.pop("previous", None)
    row.update(row.pop("properties", {}))
    if measures is None:
        row["value"] = value
    else:
        row.update(_make_whole(measures))
        if len(measures) == 1:
            (row["value"],) = _make_whole(measures).values()
    if previous is not None:
        row["previous"] = _make_whole(previous)
    return row


def _make_whole(figures: Mapping[str, float]) -> dict[str, float]:
    is_whole = {name: figure.is_integer() and abs(figure) < _WHOLE_MAX for name, figure in figures.items()}
    return {name: int(figure) if is_whole[name] else figure for name, figure in figures.items()}


def encode_connect(message: Message) -> bytes:
    """Encode a response as proto3 JSON: camelCase names, full enum names, 64-bit integers as text."""
    return msgspec.json.encode(json_format.MessageToDict(to_proto(message)))


def _decode_batch(body: bytes) -> Message:
    """Decode a batch: count its events, then build them. Where one is bad, each is decoded for itself."""
    try:
        raw = _decode_raw_batch(body)
    except msgspec.ValidationError:
        raw = _decode_raw_batch(write_plainly(body, _RawBatch, BatchRequest))
    try:
        sent = [] if is_absent(raw.events) else split_list(raw.events)
    except TooManyItemsError:
        raise make_too_many("events") from None
    except msgspec.ValidationError as error:
        raise invalid_payload((Violation("events", _locate(error).message),)) from None
    try:
        events = _decode_events(raw.events) if sent else []
    except msgspec.ValidationError:
        events = [_decode_one(event) for event in sent]
    return BatchRequest(events, raw.mode, raw.ack)


def _decode_one(raw: msgspec.Raw) -> Event:
    try:
        return _decode_event(raw)
    except msgspec.ValidationError:
        pass
    try:
        return _decode_event(write_plainly(raw, Event))
    except msgspec.ValidationError as error:
        return UndecodableEvent(violations=(_locate(error),))


def _find_fault(body: bytes) -> Violation:
    """Say which value makes a body malformed, if it is one that programs write and JSON has not."""
    try:
        fault = find_fault(body.decode())
    except UnicodeError:
        fault = None
    if fault is None or not fault.path:
        return Violation("body", "must be a JSON object in UTF-8")
    return Violation(fault.place_in("").removeprefix("."), str(fault))


def _explain_op(message: str) -> str:
    _, _, sent = message.partition("invalid enum value ")
    known = ", ".join(f"`{op.value}`" for op in FilterOp if op is not FilterOp.UNSPECIFIED)
    return f"must be one of {known}" + (f", not {sent[:64]}" if sent else "")


def _read_tree(text: str) -> Any:
    """Read a tree of filters from JSON. Raises AppError invalid_params that names the field."""
    try:
        return _decode_tree(write_plainly(text.encode(), FilterTree))
    except msgspec.ValidationError as error:
        place = _locate(error)
        field = "where" if place.field == "body" else f"where.{place.field}"
        message = _explain_op(place.message) if _OP_PLACE.search(place.field) else place.message
        raise invalid_params(field, message) from None
    except _MALFORMED:
        raise invalid_params("where", 'must be a JSON object, such as {"not": {"filter": …}}') from None


def _read_measures(text: str) -> list[Measure]:
    try:
        return parse_measures(text)
    except ValueError as error:
        raise invalid_params("metrics", str(error)) from None


def _read_filter(text: str) -> Filter:
    try:
        return parse_filter(text)
    except ValueError as error:
        raise invalid_params("filter", str(error)) from None


def _locate(error: Exception) -> Violation:
    """Turn msgspec's sentence, `Expected … - at `$.events[3].url``, into a violation."""
    text = str(error)
    if len(text) > _TEXT_CHARS_MAX:
        text = f"{text[: _TEXT_CHARS_MAX // 2]}…{text[-_TEXT_CHARS_MAX // 2 :]}"
    match = _PLACE.fullmatch(text)
    what, field = (match["what"], match["field"]) if match else (text, None)
    return Violation(field or "body", what[:1].lower() + what[1:])
