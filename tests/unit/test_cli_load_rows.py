"""How rows of NDJSON and CSV become events, and what is said of those that can't."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from millimetric.v1 import event_pb2
from millimetric_server.cli.load.rows import LINE_BYTES_MAX, FormatError, Row, read_csv, read_ndjson

SEED = "digest of a file"


def ndjson(*lines: str | bytes) -> list[Row]:
    content = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    return list(read_ndjson(io.BytesIO(content), SEED))


def csv(*lines: str | bytes) -> list[Row]:
    content = b"\r\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    return list(read_csv(io.BytesIO(content), SEED))


def event_of(row: Row) -> event_pb2.Event:
    assert isinstance(row.event, event_pb2.Event), row
    return row.event


def problems_of(row: Row) -> dict[str, str]:
    assert isinstance(row.event, tuple), row
    return {one.field: one.message for one in row.event}


def test_all_fields_of_a_json_row() -> None:
    fields = {
        "event": "signup", "event_id": "e1", "timestamp": "2026-01-31T12:00:00.25+01:00", "anonymous_id": "a",
        "user_id": "u", "session_id": "s", "url": "https://x.example/p", "path": "/p", "referrer": "r",
        "properties": {"plan": "team", "n": None}, "context": {"ip": "192.0.2.1", "user_agent": "UA"},
        "source": "ignored", "is_bot": True,
    }  # fmt: skip
    event = event_of(ndjson(json.dumps(fields))[0])
    for name in ("event", "event_id", "anonymous_id", "user_id", "session_id", "url", "path", "referrer"):
        assert getattr(event, name) == fields[name]
    assert event.timestamp.ToDatetime(UTC) == datetime(2026, 1, 31, 11, 0, 0, 250_000, UTC)
    assert json.loads(event.properties_json) == fields["properties"]
    assert (event.context.ip, event.context.user_agent) == ("192.0.2.1", "UA")


def test_properties_may_be_the_text_that_query_answers() -> None:
    assert event_of(ndjson('{"event":"a","properties":"{\\"n\\":1}"}')[0]).properties_json == '{"n":1}'
    assert event_of(ndjson('{"event":"a","properties_json":"{\\"n\\":1}"}')[0]).properties_json == '{"n":1}'
    assert "properties_json" in problems_of(ndjson('{"event":"a","properties":{},"properties_json":"{}"}')[0])


def test_an_event_id_depends_on_file_line_and_content_only() -> None:
    first = [event_of(row).event_id for row in ndjson('{"event":"a"}', '{"event":"a"}', '{"event":"b"}')]
    assert first == [event_of(row).event_id for row in ndjson('{"event":"a"}', '{"event":"a"}', '{"event":"b"}')]
    assert len(set(first)) == 3
    other = event_of(next(read_ndjson(io.BytesIO(b'{"event":"a"}'), "another file")))
    assert other.event_id not in first
    assert event_of(ndjson('{"event":"a","event_id":"mine"}')[0]).event_id == "mine"


def test_lines_are_counted_and_blank_ones_passed_over() -> None:
    rows = ndjson('\ufeff{"event":"a"}', "", "  ", '{"event":"b"}\r', "not json", '"text"', b'{"event":"\xff"}')
    assert [row.line for row in rows] == [1, 4, 5, 6, 7]
    assert [isinstance(row.event, tuple) for row in rows] == [False, False, True, True, True]
    assert rows[2].content == "not json"


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ('{"event":5}', "event"),
        ('{"event":"a","timestamp":"yesterday"}', "timestamp"),
        ('{"event":"a","timestamp":1700000000}', "timestamp"),
        ("[" * 10_000, "body"),
    ],
    ids=["type", "time", "number", "depth"],
)
def test_a_row_that_is_no_event_says_why(row: str, field: str) -> None:
    assert list(problems_of(ndjson(row)[0])) == [field]


def test_an_endless_line_is_refused_without_being_read_into_memory() -> None:
    rows = ndjson("x" * (2 * LINE_BYTES_MAX + 5), '{"event":"a"}')
    assert "shorter" in problems_of(rows[0])["body"]
    assert len(rows[0].content) < 300
    assert (rows[1].line, event_of(rows[1]).event) == (2, "a")


def test_csv_columns_find_their_place() -> None:
    row = csv(
        "event,timestamp,user_id,properties.plan,properties,context.ip,amount",
        'purchase,2026-01-31 12:00:00,u1,team,"{""a"":{""b"":1}}",192.0.2.1,19.5',
    )[0]
    event = event_of(row)
    assert (event.event, event.user_id, event.context.ip) == ("purchase", "u1", "192.0.2.1")
    assert event.timestamp.ToDatetime(UTC) == datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
    assert json.loads(event.properties_json) == {"a": {"b": 1}, "plan": "team", "amount": 19.5}


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("12", 12), ("-3.25", -3.25), ("0", 0), ("true", True), ("false", False),
        ("0123", "0123"), ("1e5", "1e5"), ("12345678901234567890", "12345678901234567890"), ("NaN", "NaN"),
        ("+4912345", "+4912345"), ("null", "null"), ("True", "True"),
    ],
)  # fmt: skip
def test_a_cell_is_a_number_only_if_json_would_write_it_so(cell: str, value: object) -> None:
    event = event_of(csv("event,x", f"a,{cell}")[0])
    read = json.loads(event.properties_json)["x"]
    assert read == value
    assert type(read) is type(value)


def test_empty_cells_are_absent_and_quoted_lines_count() -> None:
    rows = csv("event,user_id,note", 'a,,"two\nlines"', "b,u,", "", "c")
    assert [(row.line, event_of(row).event, event_of(row).user_id) for row in rows] == [
        (2, "a", ""),
        (4, "b", "u"),
        (6, "c", ""),
    ]
    assert event_of(rows[1]).properties_json == ""


def test_csv_rows_that_are_no_events_say_why() -> None:
    rows = csv("event,properties", "a,[1]", "b,{},extra", b"c\xff,{}", "d,{}")
    assert list(problems_of(rows[0])) == ["properties"]
    assert "3 cells" in problems_of(rows[1])["body"]
    assert "UTF-8" in problems_of(rows[2])["body"]
    assert event_of(rows[3]).event == "d"
    assert rows[2].content == {"event": "c\ufffd", "properties": "{}"}


@pytest.mark.parametrize("header", ["", "name,time", "event,x,x"])
def test_a_header_that_cannot_be_used_ends_the_load(header: str) -> None:
    with pytest.raises(FormatError, match="first row"):
        csv(header, "a,b,c")


def test_the_file_stays_open() -> None:
    file = io.BytesIO(b"event\na\n")
    assert len(list(read_csv(file, SEED))) == 1
    assert not file.closed


def test_a_quote_that_never_ends_does_not_take_the_rest_of_the_file_into_memory() -> None:
    rows = csv("event,x", 'a,"' + "y" * (LINE_BYTES_MAX + 10))
    assert "is not CSV" in problems_of(rows[0])["body"]


def test_reading_is_lazy() -> None:
    def lines() -> Iterator[bytes]:
        yield b'{"event":"a"}\n'
        raise AssertionError("the second line was read before the first was used")

    source = lines()

    class Pipe(io.RawIOBase):
        def readline(self, size: int | None = -1, /) -> bytes:  # noqa: ARG002
            return next(source)

    assert event_of(next(read_ndjson(Pipe(), SEED))).event == "a"  # type: ignore[arg-type]
