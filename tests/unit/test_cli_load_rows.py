"""How rows of NDJSON and CSV become events, and what is said of those that can't."""

import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from millimetric.v1 import event_pb2
from millimetric_server.cli.load.rows import LINE_BYTES_MAX, FormatError, Row, read_csv, read_ndjson
from millimetric_server.cli.load.shaping import MappingError, Shaper, parse_map

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
        ('{"event":"a","timestamp":170}', "timestamp"),
        ('{"event":"a","timestamp":true}', "timestamp"),
        ("[" * 10_000, "body"),
    ],
    ids=["type", "time", "number", "truth", "depth"],
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


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("1793527200", "2026-11-01T10:00:00"),
        ("1793527200.25", "2026-11-01T10:00:00.250000"),
        ("1793527200000", "2026-11-01T10:00:00"),
        ("1793527200000001", "2026-11-01T10:00:00.000001"),
        ("1793527200000001000", "2026-11-01T10:00:00.000001"),
        ("2026-11-01 10:00:00 UTC", "2026-11-01T10:00:00"),
        ("2026-11-01 10:00:00.123456 UTC", "2026-11-01T10:00:00.123456"),
        ("2026-11-01 11:00:00+01", "2026-11-01T10:00:00"),
        ("2026-11-01 11:00:00 +0100", "2026-11-01T10:00:00"),
        ("2026-11-01T10:00:00Z", "2026-11-01T10:00:00"),
        ("2026-11-01", "2026-11-01T00:00:00"),
        ("01/Nov/2026:11:00:00 +0100", "2026-11-01T10:00:00"),
    ],
)
def test_times_of_other_products_are_read_in_csv_and_json(written: str, wanted: str) -> None:
    moment = datetime.fromisoformat(wanted).replace(tzinfo=UTC)
    rows = [csv("event,timestamp", f"a, {written} ")[0], ndjson(json.dumps({"event": "a", "timestamp": written}))[0]]
    if written.replace(".", "").isdigit():
        rows.append(ndjson(f'{{"event":"a","timestamp":{written}}}')[0])
    assert [event_of(row).timestamp.ToDatetime(UTC) for row in rows] == [moment] * len(rows)


def test_a_quote_without_an_end_costs_its_own_line_alone() -> None:
    lines = [f"a,{number}" for number in range(60)]
    lines[5] = 'a,"no end'
    rows = csv("event,x", *lines)
    assert len(rows) == 60
    assert [row.line for row in rows if isinstance(row.event, tuple)] == [7]
    assert "a quote is opened and not closed" in problems_of(rows[5])["body"]
    assert event_of(rows[59]).properties_json == '{"x":59}'


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_quotes_newlines_and_a_byte_order_mark(newline: str) -> None:
    text = newline.join(
        ["\ufeffevent, note ,n", f'"a" , "he said ""hi"",{newline}twice" ,1', 'b,5" pipe,2', 'c,"x"y,3', "d,,4"]
    )
    rows = list(read_csv(io.BytesIO(text.replace('"a" ,', '"a",').replace('" ,1', '",1').encode()), SEED))
    assert json.loads(event_of(rows[0]).properties_json) == {"note": f'he said "hi",{newline}twice', "n": 1}
    assert json.loads(event_of(rows[1]).properties_json) == {"note": '5" pipe', "n": 2}
    assert "is not CSV" in problems_of(rows[2])["body"]
    assert event_of(rows[3]).properties_json == '{"n":4}'
    assert [row.line for row in rows] == [2, 4, 5, 6]


def test_cells_are_trimmed_as_the_header_is() -> None:
    row = csv("event , timestamp,user_id", " order_paid , 2026-11-01 10:00:00 ,  u ")[0]
    assert (event_of(row).event, event_of(row).user_id) == ("order_paid", "u")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_in_the_header(delimiter: str) -> None:
    row = csv(delimiter.join(["event", "user_id", "x"]), delimiter.join(["a", "u", '"1,2;3|4"']))[0]
    assert (event_of(row).user_id, json.loads(event_of(row).properties_json)) == ("u", {"x": "1,2;3|4"})


def test_a_delimiter_that_is_given_counts() -> None:
    rows = list(read_csv(io.BytesIO(b"event,a,b;x\nn,1,2;y\n"), SEED, Shaper({"event,a,b": "event"}), ";"))
    assert event_of(rows[0]).event == "n,1,2"


@pytest.mark.parametrize("gap", ["", " ", "\n  "])
def test_a_json_array_is_read_item_by_item(gap: str) -> None:
    items = [{"event": "a", "properties": {"n": [1, {"]": "}"}]}}, {"event": "é" * 100}, {"event": 5}, 7]
    text = f"{gap}[{gap}" + f"{gap},{gap}".join(json.dumps(item, ensure_ascii=False) for item in items) + f"{gap}]{gap}"
    rows = list(read_ndjson(io.BytesIO(text.encode()), SEED))
    assert [isinstance(row.event, tuple) for row in rows] == [False, False, True, True]
    assert event_of(rows[1]).event == "é" * 100
    assert len({event_of(row).event_id for row in rows[:2]}) == 2


def test_a_long_array_is_read_in_pieces_and_a_broken_one_is_told() -> None:
    whole = json.dumps([{"event": "e", "properties": {"n": number, "text": "ü" * 300}} for number in range(3000)])
    assert len(list(read_ndjson(io.BytesIO(whole.encode()), SEED))) == 3000
    rows = list(read_ndjson(io.BytesIO(whole[:100_000].encode()), SEED))
    assert "nothing behind it was read" in problems_of(rows[-1])["body"]
    rows = list(read_ndjson(io.BytesIO(b'[{"event":"a"},'), SEED))
    assert "truncated" in problems_of(rows[-1])["body"]


def test_names_are_mapped_from_columns_and_from_paths() -> None:
    shaper = Shaper(
        parse_map(["Order Date=timestamp", "Customer=user_id", "note=", "Kind = event", "Sum=properties.total"])
    )
    text = b"Kind,Order Date,Customer,note,Sum,size\nbuy,2026-11-01 10:00,c-1,secret,9.5,L\n"
    event = event_of(next(read_csv(io.BytesIO(text), SEED, shaper)))
    assert (event.event, event.user_id, event.timestamp.seconds) == ("buy", "c-1", 1_793_527_200)
    assert json.loads(event.properties_json) == {"total": 9.5, "size": "L"}

    shaper = Shaper(parse_map(["name=event", "who.id=user_id", "cart.total=properties.total", "debug="]))
    line = {"name": "buy", "who": {"id": 7, "age": 3}, "cart": {"total": 9, "n": 1}, "debug": 1, "properties": {"a": 1}}
    event = event_of(next(read_ndjson(io.BytesIO(json.dumps(line).encode()), SEED, shaper)))
    assert (event.event, event.user_id) == ("buy", "7")
    assert json.loads(event.properties_json) == {"a": 1, "total": 9}
    assert shaper.unknown == {"who": 1, "cart": 1}


@pytest.mark.parametrize("text", ["x", "=event", "a=source", "a=properties.", "a=evnt"])
def test_a_map_that_leads_nowhere_is_refused(text: str) -> None:
    with pytest.raises(MappingError, match="must be FROM=TO"):
        parse_map([text])


def test_unknown_names_are_counted_and_an_export_of_ours_loses_what_is_derived() -> None:
    shaper = Shaper()
    line = {"event": "a", "userId": "u", "distinct_id": "d", "source": "google", "received_at": "2026-11-01T10:00:00Z"}
    event = event_of(next(read_ndjson(io.BytesIO(json.dumps(line).encode()), SEED, shaper)))
    assert (event.user_id, event.properties_json) == ("u", "")
    assert (dict(shaper.unknown), set(shaper.derived)) == ({"distinct_id": 1}, {"source", "received_at"})

    names = "event,event_id,timestamp,received_at,anonymous_id,properties,source,source_rule_id,country,ip_hash"
    row = 'a,e1,2026-11-01T10:00:00Z,2026-11-01T10:00:01Z,\'=cmd|x,"{""n"":1}",google,utm,DE,ab'
    shaper = Shaper()
    event = event_of(next(read_csv(io.BytesIO(f"{names}\n{row}\n".encode()), SEED, shaper)))
    assert (event.anonymous_id, event.properties_json) == ("=cmd|x", '{"n":1}')
    assert "country" in shaper.derived
    # A file of somebody else's may well have a country.
    assert event_of(csv("event,country", "a,DE")[0]).properties_json == '{"country":"DE"}'


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
