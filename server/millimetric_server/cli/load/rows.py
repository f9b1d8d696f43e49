"""Reads rows of an NDJSON or CSV file: each is an event to send, or the reason why it is not one."""

import csv
import hashlib
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from millimetric.v1 import event_pb2
from millimetric_server.api.errors import AppError, Violation, invalid_payload
from millimetric_server.api.messages import NO_JSON, Event
from millimetric_server.doors.codecs.json import JsonDecoder

LINE_BYTES_MAX = 1024 * 1024  # an event of the largest allowed size, spelled as wastefully as JSON allows
TEXT_FIELDS = (
    "event",
    "event_id",
    "timestamp",
    "anonymous_id",
    "user_id",
    "session_id",
    "url",
    "path",
    "referrer",
)
_PLAIN_FIELDS = tuple(name for name in TEXT_FIELDS if name != "timestamp")
_CONTEXT_FIELDS = ("context.ip", "context.user_agent")
_PROPERTY = "properties."
_BOM = b"\xef\xbb\xbf"
# A cell is a number only if JSON would write it so: 0123 (a postcode) and 1e5 stay text.
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,12})?")
_DECODER = JsonDecoder(Event)

Rejection = tuple[Violation, ...]


class FormatError(Exception):
    """The whole file does not have the expected format; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class Row:
    """One record: its first line, its content, and the event made from it or what is wrong with it."""

    line: int
    content: str | Mapping[str, str]
    event: event_pb2.Event | Rejection


def read_ndjson(file: BinaryIO, seed: str) -> Iterator[Row]:
    """Read a JSON object a line; blank lines are passed over."""
    line = 0
    while text := file.readline(LINE_BYTES_MAX):
        line += 1
        if len(text) == LINE_BYTES_MAX and not text.endswith(b"\n"):
            _skip_line(file)
            problem = Violation("body", f"must be shorter than {LINE_BYTES_MAX} bytes")
            yield Row(line, text[:200].decode(errors="replace") + "…", (problem,))
            continue
        text = text.removeprefix(_BOM).strip() if line == 1 else text.strip()
        if text:
            yield Row(line, text.decode(errors="replace"), _make_event(text, _make_event_id(seed, line, text)))


def read_csv(file: BinaryIO, seed: str) -> Iterator[Row]:
    """Read records under a header row of field names. Raises FormatError for a header that can't be used."""
    csv.field_size_limit(LINE_BYTES_MAX)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _read_records(csv.reader(text), seed)
    finally:
        text.detach()  # or it would close the file, which is the caller's


def _read_records(reader: Any, seed: str) -> Iterator[Row]:
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise FormatError(f"The header row can't be read: {error}.") from None
    _check_header(header)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Row(line, "", (Violation("body", f"is not CSV: {error}"),))
            continue
        if any(cells):
            yield _read_record(line, header, cells, seed)


def _read_record(line: int, header: Sequence[str], cells: Sequence[str], seed: str) -> Row:
    content = {name: _show(cell) for name, cell in zip(header, cells, strict=False)}
    if len(cells) > len(header):
        problem = Violation("body", f"has {len(cells)} cells, but the header has {len(header)}")
        return Row(line, content, (problem,))
    text = "\x1f".join(cells).encode(errors="surrogateescape")
    try:
        body = msgspec.json.encode(_shape(dict(zip(header, cells, strict=False))))
    except UnicodeEncodeError:
        return Row(line, content, (Violation("body", "must be UTF-8"),))
    except ValueError as error:
        return Row(line, content, (Violation("properties", str(error)),))
    return Row(line, content, _make_event(body, _make_event_id(seed, line, text)))


def _check_header(header: Sequence[str]) -> None:
    if "event" not in header:
        raise FormatError("The first row must name the columns, and one of them must be `event`.")
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise FormatError(f"The first row names a column twice: {', '.join(twice)}.")


def _shape(cells: Mapping[str, str]) -> dict[str, Any]:
    """Sort cells into an event: its fields, its context, and everything else as properties; empty is absent."""
    shaped: dict[str, Any] = {}
    properties = _read_object(cells["properties"]) if cells.get("properties") else {}
    for name, cell in cells.items():
        if not cell or name == "properties":
            continue
        if name in TEXT_FIELDS:
            shaped[name] = cell
        elif name in _CONTEXT_FIELDS:
            shaped.setdefault("context", {})[name.removeprefix("context.")] = cell
        else:
            properties[name.removeprefix(_PROPERTY)] = _read_value(cell)
    if properties:
        shaped["properties"] = properties
    return shaped


def _read_object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        raise ValueError("must be a JSON object") from None


def _read_value(cell: str) -> str | bool | int | float:
    if cell in ("true", "false"):
        return cell == "true"
    if _NUMBER.fullmatch(cell):
        return float(cell) if "." in cell else int(cell)
    return cell


def _make_event(body: bytes, event_id: str) -> event_pb2.Event | Rejection:
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


def _make_event_id(seed: str, line: int, content: bytes) -> str:
    """A UUIDv8 that is the same whenever this line of this file is sent, so that it is counted once."""
    message = f"{seed}\n{line}\n".encode() + content
    digits = hashlib.blake2b(message, digest_size=16).hexdigest()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def _show(cell: str) -> str:
    return cell.encode(errors="surrogateescape").decode(errors="replace")


def _skip_line(file: BinaryIO) -> None:
    while (rest := file.readline(LINE_BYTES_MAX)) and not rest.endswith(b"\n"):
        pass
