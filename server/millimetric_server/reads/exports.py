"""Exports: events as a file, read page by page, or written into a temporary file first.

Between two pages nothing is held in ClickHouse, so a reader may be slow. A page ends at a key that was
looked up before, and holds every row down to it: so also rows of equal time and id are in it, once, and rows that are
added meanwhile neither shift nor repeat others. Parquet has its index at its end and can't be put together of pages.
"""

import contextlib
import functools
import tempfile
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from millimetric_server.api.messages import ExportFormat, StoredEvent
from millimetric_server.reads.columns import COLUMNS, TEXTS
from millimetric_server.reads.conditions import Conditions
from millimetric_server.store.cancellation import Cancellation
from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.faults import NoRoomError, StoreUnavailableError
from millimetric_server.store.statements import read_statement

PAGE_ROWS_MAX = 10_000
PAGE_BYTES_MAX = 4_000_000  # of values: as JSON it is about twice as much
PIECE_BYTES = 256 * 1024
_TEXT_BYTES = " + ".join(f"length({name})" for name in TEXTS)
_FORMATS = {ExportFormat.NDJSON: "JSONEachRow", ExportFormat.CSV: "CSV"}
_PARQUET_END = b"PAR1"
# RFC 3339 with as many digits of a second as are needed, as Instant.to_text writes it.
_TEXT_OF_TIME = (
    "concat(replaceOne(substring(toString({0}), 1, multiIf(toUnixTimestamp64Micro({0}) % 1000000 = 0, 19, "
    "toUnixTimestamp64Micro({0}) % 1000 = 0, 23, 26)), ' ', 'T'), 'Z')"
)
# A spreadsheet program takes a cell of a CSV file for a formula when it begins so, behind quotes and whatever white or
# invisible it strips; the wide forms are for those set to Chinese, Japanese or Korean. A quote in front makes it text.
# What has one in front of such a beginning gets another, so that taking one off gives what was sent.
_FORMULA = r"""^[\s\p{Z}\p{C}"'`]*[=+\-@＝＋－＠]|^'*[\t\r\n]"""  # noqa: RUF001 - wide forms are meant
_FORMULA_SQL = _FORMULA.replace("\\", "\\\\").replace("'", "\\'")


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows an export has, how they are written, and the call that it is for."""

    project_id: str
    conditions: Conditions
    format: ExportFormat
    tag: str  # names its queries in ClickHouse: letters, digits and dashes
    cancellation: Cancellation


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of text, and where the next page begins; None behind the last."""

    data: bytes
    end: tuple[int, str] | None


class ExportReader:
    """Reads one export: take() what is there, read_on() when that is empty, close() at the end. One call at a time."""

    @classmethod
    def open(cls, store: ClickHouse, selection: Selection) -> "ExportReader | None":
        """Take one of the store's places for exports, which close() gives back; None when the project has none."""
        return cls(store, selection) if store.reads.exports.take(selection.project_id) else None

    def __init__(self, store: ClickHouse, selection: Selection) -> None:
        self._store = store
        self._selection = selection
        self._end: tuple[int, str] | None = None
        self._is_begun = self._is_complete = self._is_closed = False
        self._data = memoryview(b"")
        self._file: IO[bytes] | None = None

    @property
    def format(self) -> ExportFormat:
        """How the rows are written."""
        return self._selection.format

    def take(self) -> bytes:
        """The next piece of what is there already; empty when more must be read first."""
        piece = bytes(self._data[:PIECE_BYTES])
        self._data = self._data[PIECE_BYTES:]
        return piece

    def read_on(self) -> "Future[bool] | None":
        """Read more in a thread of the store; None at the end. The future fails as ReadPool.submit_export says."""
        if self._is_complete:
            return None
        selection = self._selection
        read = self._read_file if selection.format is ExportFormat.PARQUET else self._read_page
        return self._store.reads.submit_export(read, selection.tag, selection.cancellation)

    def close(self) -> None:
        """Release the temporary file and the place; a second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = self._is_complete = True
        self._data = memoryview(b"")
        self._store.reads.end_export(self._selection.project_id, self._file)

    def _read_page(self) -> bool:
        page = _read_page(self._store, self._selection, self._end, is_first=not self._is_begun)
        self._is_begun, self._end, self._is_complete = True, page.end, page.end is None
        self._data = memoryview(page.data)
        return not self._is_complete

    def _read_file(self) -> bool:
        if self._file is None:
            self._file = _write_file(self._store, self._selection)
        data = self._file.read(PIECE_BYTES * 16)
        self._data, self._is_complete = memoryview(data), not data
        return not self._is_complete


def _read_page(store: ClickHouse, selection: Selection, after: tuple[int, str] | None, *, is_first: bool) -> Page:
    conditions = selection.conditions.copy()
    if after is not None:
        _bound(conditions, after, "<=", "<")
    ((rows, timestamp, event_id, is_last),) = store.query(
        _finish("export.page_end", selection, conditions),
        {
            "project": selection.project_id,
            "rows_max": PAGE_ROWS_MAX,
            "bytes_max": PAGE_BYTES_MAX,
            **conditions.parameters,
        },
    )
    is_csv = selection.format is ExportFormat.CSV
    if rows:
        _bound(conditions, (timestamp, event_id), ">=", ">=")
    elif not (is_first and is_csv):
        return Page(b"", None)
    else:
        conditions.clauses.append("0")  # for the line of names
    data = store.read_bytes(
        _finish("export.rows", selection, conditions),
        {"project": selection.project_id, **conditions.parameters},
        "CSVWithNames" if is_first and is_csv else _FORMATS[selection.format],
    )
    return Page(data, None if is_last or not rows else (timestamp, event_id))


def _bound(conditions: Conditions, key: tuple[int, str], time_operator: str, key_operator: str) -> None:
    """The time alone is what the index understands best; the key decides."""
    time = f"fromUnixTimestamp64Micro({conditions.bind(key[0], 'Int64')})"
    event_id = conditions.bind(key[1], "String")
    conditions.clauses.append(f"timestamp {time_operator} {time}")
    conditions.clauses.append(f"(timestamp, event_id) {key_operator} ({time}, {event_id})")


def _finish(name: str, selection: Selection, conditions: Conditions) -> str:
    return (
        read_statement(name)
        .replace("%COLUMNS%", _write_columns(selection.format))
        .replace("%TEXT_BYTES%", _TEXT_BYTES)
        .replace("%CONDITIONS%", conditions.sql)
        .replace("%TAG%", selection.tag)
    )


@functools.cache
def _write_columns(written: ExportFormat) -> str:
    columns = []
    for name in StoredEvent.__struct_fields__:
        kind = COLUMNS.get(name)  # none of properties, which begin with a brace
        if kind == "DateTime" and written is not ExportFormat.PARQUET:
            columns.append(f"{_TEXT_OF_TIME.format(name)} AS {name}")
        elif kind == "String" and written is ExportFormat.CSV:
            columns.append(f"if(match({name}, '{_FORMULA_SQL}'), concat(char(39), {name}), {name}) AS {name}")
        else:
            columns.append(name)
    return ", ".join(columns)


def _write_file(store: ClickHouse, selection: Selection) -> IO[bytes]:
    """Have ClickHouse write a Parquet file, and open it. It has no name any more: closing it deletes it."""
    conditions = selection.conditions
    statement = _finish("export.rows", selection, conditions)
    parameters = {"project": selection.project_id, **conditions.parameters}
    if store.is_embedded:
        return _write_by_engine(store, statement, parameters)
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - it outlives this function
    except OSError as error:
        raise NoRoomError(str(error)) from error
    try:
        store.copy_stream(statement, parameters, "Parquet", file)
        if not _is_whole(file):  # a query that fails in the middle ends its answer with a text
            raise StoreUnavailableError("the Parquet file is truncated")  # noqa: TRY301 - told like any other
    except BaseException as error:
        with contextlib.suppress(OSError):  # it writes what it has kept back, and there may be no room for that
            file.close()
        if isinstance(error, OSError):
            raise NoRoomError(str(error)) from error
        raise
    return file


def _is_whole(file: IO[bytes]) -> bool:
    """Tell whether a Parquet file has its end, and go back to its beginning."""
    size = file.seek(0, 2)
    file.seek(max(size - len(_PARQUET_END), 0))
    end = file.read()
    file.seek(0)
    return end == _PARQUET_END


def _write_by_engine(store: ClickHouse, statement: str, parameters: dict[str, Any]) -> IO[bytes]:
    try:
        path = Path(tempfile.mkdtemp(prefix="export-")) / "rows.parquet"
    except OSError as error:
        raise NoRoomError(str(error)) from error
    try:
        store.command(
            f"INSERT INTO FUNCTION file({{path:String}}, 'Parquet') {statement}", parameters | {"path": str(path)}
        )
        file = path.open("rb")
        if not _is_whole(file):  # the engine tells nobody that a disk is full
            file.close()
            raise NoRoomError("the Parquet file is truncated")
        return file
    finally:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        path.parent.rmdir()
