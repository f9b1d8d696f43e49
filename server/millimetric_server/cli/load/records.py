"""Takes files apart into records, piece by piece: lines of JSON, the items of a JSON array, rows of CSV."""

import codecs
import csv
import io
import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

LINE_BYTES_MAX = 1024 * 1024  # an event of the largest allowed size, spelled as wastefully as JSON allows
_CHUNK_BYTES = 256 * 1024
_BOM = b"\xef\xbb\xbf"
_BLANK = " \t\r\n"
_OPEN = "unexpected end of data"  # what csv says of a quote without an end
_SHOWN_CHARS = 200
DELIMITERS = {",": ",", ";": ";", "tab": "\t", "|": "|"}


class FormatError(Exception):
    """The whole file does not have the expected format; the message is a sentence."""


@dataclass(frozen=True, slots=True)
class JsonRecord:
    """One JSON value of the file, with its first line; a `problem` is what is wrong with it."""

    line: int
    text: bytes
    problem: str = ""


@dataclass(frozen=True, slots=True)
class CsvRecord:
    """One row of a CSV file, with its first line; a `problem` is what is wrong with it."""

    line: int
    cells: Sequence[str] = field(default_factory=tuple)
    problem: str = ""


def read_json(file: BinaryIO) -> Iterator[JsonRecord]:
    """Read a JSON value a line, or the items of an array if the file begins with a bracket; pass over blank lines."""
    line, is_first = 0, True
    while text := file.readline(LINE_BYTES_MAX):
        line += 1
        text = text.removeprefix(_BOM) if line == 1 else text
        if is_first and text.lstrip().startswith(b"["):
            yield from _read_array(_TextReader(file, text, line))
            return
        is_first = is_first and not text.strip()
        if len(text) == LINE_BYTES_MAX and not text.endswith(b"\n"):
            while (rest := file.readline(LINE_BYTES_MAX)) and not rest.endswith(b"\n"):
                pass
            yield JsonRecord(line, text[:_SHOWN_CHARS], f"must be shorter than {LINE_BYTES_MAX} bytes")
        elif text := text.strip():
            yield JsonRecord(line, text)


def _read_array(reader: "_TextReader") -> Iterator[JsonRecord]:
    """Read the items one by one; what is no JSON ends the file, since nobody knows where the next one begins."""
    decoder = json.JSONDecoder()
    reader.skip(_BLANK)
    reader.move(reader.at + 1)
    while (sign := reader.skip(_BLANK + ",")) and sign != "]":
        while True:
            try:
                _, end = decoder.raw_decode(reader.text, reader.at)
                if end < len(reader.text) or reader.is_over:  # a number could go on
                    break
            except (ValueError, RecursionError) as error:
                if reader.is_over or len(reader.text) - reader.at > LINE_BYTES_MAX:
                    what = "is nested too deep" if isinstance(error, RecursionError) else "is not JSON"
                    shown = reader.text[reader.at : reader.at + 200].encode(errors="replace")
                    yield JsonRecord(reader.line, shown, f"{what}; nothing behind it was read")
                    return
            reader.read_on()
        item = reader.text[reader.at : end]
        yield JsonRecord(reader.line, item.encode(errors="surrogateescape"))
        reader.move(end)
    if not sign:
        yield JsonRecord(reader.line, b"", "the array has no end: the file is truncated")


class _TextReader:
    """A piece of the text, the place in it, and the line of that place."""

    def __init__(self, file: BinaryIO, begun: bytes, line: int) -> None:
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self.text = self._decode(begun)
        self.at = 0
        self.line = line
        self.is_over = False

    def read_on(self) -> None:
        """Read another piece, and forget what lies behind."""
        chunk = self._file.read(_CHUNK_BYTES)
        self.is_over = not chunk
        self.text = self.text[self.at :] + self._decode(chunk, self.is_over)
        self.at = 0

    def skip(self, letters: str) -> str:
        """Pass over these letters; returns the next one, or nothing at the end."""
        while True:
            end = self.at
            while end < len(self.text) and self.text[end] in letters:
                end += 1
            self.move(end)
            if end < len(self.text) or self.is_over:
                return self.text[end : end + 1]
            self.read_on()

    def move(self, end: int) -> None:
        """Go on to this place."""
        self.line += self.text.count("\n", self.at, end)
        self.at = end


class CsvReader:
    """Reads rows strictly: a quote that is opened must be closed, or its line alone is refused and the next one read.

    The first row is the header; the delimiter is the sign that divides it most often, unless one is given.
    """

    def __init__(self, file: BinaryIO, delimiter: str = "") -> None:
        self._text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="")
        self._waiting: deque[str] = deque()
        self._line = 0
        csv.field_size_limit(LINE_BYTES_MAX)
        first = self._next_line()
        self.delimiter = delimiter or _guess_delimiter(first)
        self._give_back([first])
        header = self._read_record()
        if header is not None and header.problem:
            raise FormatError(f"The header row can't be read: {header.problem}.")
        self.header = [name.strip() for name in header.cells] if header is not None else []

    def __iter__(self) -> Iterator[CsvRecord]:
        """Read the rows behind the header; blank ones are passed over."""
        while (record := self._read_record()) is not None:
            if record.problem or any(record.cells):
                yield record

    def detach(self) -> None:
        """Leave the file open for its owner."""
        self._text.detach()

    def _next_line(self) -> str:
        self._line += 1
        return self._waiting.popleft() if self._waiting else self._text.readline(LINE_BYTES_MAX)

    def _read_record(self) -> CsvRecord | None:
        """Read one row, which may have several lines inside of quotes."""
        lines = [self._next_line()]
        line = self._line
        if not lines[0]:
            return None
        if self._is_cut(lines[0]):
            return CsvRecord(line, (lines[0][:_SHOWN_CHARS],), f"must be shorter than {LINE_BYTES_MAX} characters")
        while True:
            try:
                return CsvRecord(line, self._split(lines))
            except csv.Error as error:
                problem = str(error)
            if problem != _OPEN or not self._read_to_quote(lines):
                self._give_back(lines[1:])
                what = "a quote is opened and not closed" if problem == _OPEN else problem
                return CsvRecord(line, (lines[0].rstrip("\r\n")[:_SHOWN_CHARS],), f"is not CSV: {what}")

    def _is_cut(self, line: str) -> bool:
        """Tell whether a line is too long; if so, its rest is passed over."""
        if len(line) < LINE_BYTES_MAX or line.endswith(("\n", "\r")) or '"' in line:
            return False
        while (rest := self._text.readline(LINE_BYTES_MAX)) and not rest.endswith(("\n", "\r")):
            pass
        return True

    def _read_to_quote(self, lines: list[str]) -> bool:
        """Read on to where all quotes may be closed; False where none is within reach."""
        size, quotes = sum(map(len, lines)), sum(line.count('"') for line in lines)
        while size < LINE_BYTES_MAX and (more := self._next_line()):
            lines.append(more)
            size += len(more)
            quotes += more.count('"')
            if '"' in more and quotes % 2 == 0:
                return True
        return False

    def _split(self, lines: Sequence[str]) -> list[str]:
        reader = csv.reader(["".join(lines)], delimiter=self.delimiter, strict=True, skipinitialspace=True)
        return [cell.strip() for cell in next(reader, [])]

    def _give_back(self, lines: Sequence[str]) -> None:
        self._line -= len(lines)
        self._waiting.extendleft(reversed(lines))


def _guess_delimiter(header: str) -> str:
    """The sign that makes the most columns; the comma where none makes two."""
    return max(DELIMITERS.values(), key=lambda sign: len(next(csv.reader([header], delimiter=sign), [])))
