"""Reads rows of another product's file, each of which is one event, several, or none."""

from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import msgspec

from millimetric_server.api.errors import Violation
from millimetric_server.cli.load.preset_fixes import parse_log_line
from millimetric_server.cli.load.presets import Preset
from millimetric_server.cli.load.records import LINE_BYTES_MAX, CsvReader, JsonRecord, read_json
from millimetric_server.cli.load.rows import Row, make_event_id, make_shaped
from millimetric_server.cli.load.shaping import Shaper

_SHOWN_CHARS = 200
_ESCAPED = ("[", "{")  # a cell with a list or an object in it


def read_preset(
    file: BinaryIO, seed: str, preset: Preset, shaper: Shaper, *, is_csv: bool = False, delimiter: str = ""
) -> Iterator[Row]:
    """Read the events of a file of this product. Raises FormatError for a header that can't be used."""
    for line, text, found in _read_records(file, preset, is_csv=is_csv, delimiter=delimiter):
        shown = text.decode(errors="replace")
        if isinstance(found, str):
            yield Row(line, shown[:_SHOWN_CHARS], (Violation("body", found),))
            continue
        try:
            events = list(preset.shape(found))
        except (AttributeError, TypeError, ValueError):  # a list where the product has an object, and the like
            yield Row(line, shown, (Violation("body", f"is no record of {preset.title}"),))
            continue
        for number, shaped in enumerate(events):
            event_id = make_event_id(seed, line, b"%d\n%b" % (number, text) if number else text)
            yield Row(line, shown, make_shaped(shaped, event_id))
        if not events:
            shaper.left_out += 1


def _read_records(
    file: BinaryIO, preset: Preset, *, is_csv: bool, delimiter: str
) -> Iterator[tuple[int, bytes, Mapping[str, Any] | str]]:
    """Yield the line, the text, and what it says or what is wrong with it."""
    if preset.is_log:
        yield from _read_log(file)
    elif is_csv:
        yield from _read_cells(file, delimiter)
    else:
        yield from ((record.line, record.text, _read_object(record)) for record in read_json(file))


def _read_log(file: BinaryIO) -> Iterator[tuple[int, bytes, Mapping[str, Any] | str]]:
    line = 0
    while text := file.readline(LINE_BYTES_MAX):
        line += 1
        if text := text.strip():
            yield line, text, parse_log_line(text.decode(errors="replace")) or "is no line of an access log"


def _read_cells(file: BinaryIO, delimiter: str) -> Iterator[tuple[int, bytes, Mapping[str, Any] | str]]:
    reader = CsvReader(file, delimiter)
    try:
        for record in reader:
            text = "\x1f".join(record.cells).encode(errors="surrogateescape")
            pairs = zip(reader.header, record.cells, strict=False)
            yield record.line, text, record.problem or {name: _read_cell(cell) for name, cell in pairs}
    finally:
        reader.detach()


def _read_cell(cell: str) -> Any:
    if cell.startswith(_ESCAPED):
        try:
            return msgspec.json.decode(cell)
        except (msgspec.DecodeError, RecursionError):
            pass
    return cell.encode(errors="surrogateescape").decode(errors="replace")


def _read_object(record: JsonRecord) -> Mapping[str, Any] | str:
    if record.problem:
        return record.problem
    try:
        return msgspec.json.decode(record.text, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return "must be a JSON object in UTF-8"
