"""Reads rows of a file: each is an event to send, or the reason why it is not one."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from millimetric.v1 import event_pb2
from millimetric_server.api.errors import AppError, Violation, invalid_payload
from millimetric_server.api.messages import NO_JSON, Event
from millimetric_server.cli.load.records import LINE_BYTES_MAX, CsvReader, FormatError, JsonRecord, read_json
from millimetric_server.cli.load.shaping import JSON_NAMES, TEXT_FIELDS, Shaper, is_export, write_time
from millimetric_server.doors.codecs.json import JsonDecoder

__all__ = ["LINE_BYTES_MAX", "FormatError", "Rejection", "Row", "RowReader", "read_csv", "read_ndjson"]

_PLAIN_FIELDS = tuple(name for name in TEXT_FIELDS if name != "timestamp")
_PLAIN_TIME = re.compile(rb'null|"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d)?"')
_DECODER = JsonDecoder(Event)
_read_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

Rejection = tuple[Violation, ...]
RowReader = Callable[[BinaryIO, str], Iterator["Row"]]


@dataclass(frozen=True, slots=True)
class Row:
    """One record: its first line, its content, and the event made from it or what is wrong with it."""

    line: int
    content: str | Mapping[str, str]
    event: event_pb2.Event | Rejection


def read_ndjson(file: BinaryIO, seed: str, shaper: Shaper | None = None) -> Iterator[Row]:
    """Read JSON objects, one a line or in an array."""
    shaper = shaper or Shaper()
    for record in read_json(file):
        shown = record.text.decode(errors="replace")
        if record.problem:
            yield Row(record.line, f"{shown}…" if shown else "", (Violation("body", record.problem),))
        else:
            event_id = make_event_id(seed, record.line, record.text)
            yield Row(record.line, shown, _make_json_event(record, event_id, shaper))


def _make_json_event(record: JsonRecord, event_id: str, shaper: Shaper) -> event_pb2.Event | Rejection:
    try:
        members = _read_members(record.text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return make_event(record.text, event_id)  # which knows what is wrong
    time = members.get("timestamp")
    is_plain = not shaper.renamed and (time is None or _PLAIN_TIME.fullmatch(bytes(time)) is not None)
    if is_plain and members.keys() <= JSON_NAMES:
        return make_event(record.text, event_id)
    try:
        return make_shaped(shaper.shape_object(msgspec.json.decode(record.text)), event_id)
    except msgspec.DecodeError:
        return make_event(record.text, event_id)


def read_csv(file: BinaryIO, seed: str, shaper: Shaper | None = None, delimiter: str = "") -> Iterator[Row]:
    """Read records under a header row of field names. Raises FormatError for a header that can't be used."""
    reader = CsvReader(file, delimiter)
    try:
        yield from _read_records(reader, seed, shaper or Shaper())
    finally:
        reader.detach()  # or it would close the file, which is the caller's


def _read_records(reader: CsvReader, seed: str, shaper: Shaper) -> Iterator[Row]:
    header = reader.header
    places = shaper.list_places(header)
    _check_header(header, [place for _, place in places])
    is_own_export = is_export(header)
    for record in reader:
        content = {name: _show(cell) for name, cell in zip(header, record.cells, strict=False)}
        problem = record.problem
        if not problem and len(record.cells) > len(header):
            problem = f"has {len(record.cells)} cells, but the header has {len(header)}"
        if problem:
            yield Row(record.line, content, (Violation("body", problem),))
            continue
        event_id = make_event_id(seed, record.line, "\x1f".join(record.cells).encode(errors="surrogateescape"))
        try:
            shaped = shaper.shape_cells(places, record.cells, is_own_export=is_own_export)
        except ValueError as error:
            yield Row(record.line, content, (Violation("properties", str(error)),))
            continue
        yield Row(record.line, content, make_shaped(shaped, event_id))


def _check_header(header: Sequence[str], places: Sequence[str]) -> None:
    if "event" not in places:
        raise FormatError(
            "The first row must name the columns, and one of them must be `event`. "
            "If another column has the event's name, say which: --map COLUMN=event."
        )
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise FormatError(f"The first row names a column twice: {', '.join(twice)}.")


def make_shaped(shaped: Mapping[str, Any], event_id: str) -> event_pb2.Event | Rejection:
    """Make an event of its fields, whose time may be written in any known way."""
    content = dict(shaped)
    try:
        if content.get("timestamp") not in (None, ""):
            content["timestamp"] = write_time(content["timestamp"])
    except (ValueError, OverflowError) as error:
        return (Violation("timestamp", str(error)),)
    try:
        return make_event(msgspec.json.encode(content), event_id)
    except UnicodeEncodeError:
        return (Violation("body", "must be UTF-8"),)
    except (OverflowError, RecursionError):
        return (Violation("properties", "must not contain an integer beyond 2^53, or too many levels"),)


def make_event(body: bytes, event_id: str) -> event_pb2.Event | Rejection:
    """Make an event of its JSON; the event_id counts if it has none of its own."""
    try:
        event = _DECODER.decode(body)
        assert isinstance(event, Event)  # noqa: S101 - tells the type checker what the decoder was made for
        return _write_proto(event, event_id)
    except AppError as error:
        return error.violations
    except ValueError:  # protobuf, of a lone surrogate
        return (Violation("body", "must be UTF-8"),)


def _write_proto(event: Event, event_id: str) -> event_pb2.Event:
    content: dict[str, Any] = {name: value for name in _PLAIN_FIELDS if (value := getattr(event, name))}
    content.setdefault("event_id", event_id)
    if event.timestamp is not None:
        seconds, microseconds = divmod(event.timestamp, 1_000_000)
        content["timestamp"] = Timestamp(seconds=seconds, nanos=microseconds * 1000)
    if event.context is not None:
        content["context"] = event_pb2.EventContext(
            ip=event.context.ip or "", user_agent=event.context.user_agent or ""
        )
    content["properties_json"] = _read_properties(event)
    return event_pb2.Event(**content)


def _read_properties(event: Event) -> str:
    """The properties as text; rows that were read by Query hold them as a string of JSON."""
    if event.properties == NO_JSON:
        return event.properties_json or ""
    if event.properties_json:
        problem = Violation("properties_json", "can't be sent together with properties: send one of the two")
        raise invalid_payload((problem,))
    raw = bytes(event.properties)
    return str(msgspec.json.decode(raw)) if raw.startswith(b'"') else raw.decode()


def make_event_id(seed: str, line: int, content: bytes) -> str:
    """A UUIDv8 that is the same whenever this line of this file is sent, so that it is counted once."""
    message = f"{seed}\n{line}\n".encode() + content
    digits = hashlib.blake2b(message, digest_size=16).hexdigest()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def _show(cell: str) -> str:
    return cell.encode(errors="surrogateescape").decode(errors="replace")
