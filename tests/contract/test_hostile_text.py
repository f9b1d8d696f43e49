"""Whatever stands in a text of a read is compared as text or refused in the caller's terms: it never becomes SQL."""

import contextlib
import functools
import http.client
import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from contract.doors import Answer, WireCall
from contract.projects import Tenant
from contract.stage import Stage, assert_no_leak
from millimetric_server.api.limits import CHARS_MAX
from millimetric_server.reads.columns import COLUMNS

_DOORS = ("grpc", "rest")
_THEIRS = "theirs-0815"
_TEXT_COLUMNS = [name for name, kind in COLUMNS.items() if kind == "String"]
# A call that reads nothing may name what is wrong by one of these reasons, and by no other.
_REFUSALS = {"invalid_params", "invalid_group_by", "invalid_payload", "not_found"}
_STATEMENTS = "".join(
    one.read_text("utf-8") for one in sorted(Path(str(resources.files("millimetric_server"))).glob("*/sql/*.sql"))
)
_PLACEHOLDERS = sorted({*re.findall(r"%[A-Z_]+%", _STATEMENTS), *re.findall(r"\{\w+:\w+\}", _STATEMENTS)})
_STORABLE = (
    "'",
    '"',
    "`",
    "''",
    "\\",
    "\\'",
    "\\\\' OR 1=1 --",
    "\u2019\u201c\u00ab",
    "{",
    "}",
    "{{",
    "{}",
    "{0}",
    "{p0:String}",
    "{p1:Array(String)}",
    "{project:Identifier}",
    "%",
    "%s",
    "%(project)s",
    "%%",
    "$1",
    "?",
    ":project",
    "@@version",
    "' OR 1=1 --",
    "') OR (1=1",
    "'; DROP TABLE events; --",
    "x) UNION ALL SELECT * FROM events",
    "' UNION ALL SELECT 1 FORMAT JSON --",
    "/* */ -- #",
    "event) OR (project_id != ''",
    "[1,2]",
    "['a', 'b']",
    "('a', 1)",
    "NULL",
    "null",
    "\\N",
    "nan",
    "true",
    "-1e9",
    "a\nb",
    "a\r\nb",
    "a\tb",
    "a\\nb\\tb",
    "a\x01\x1b\x7fb",
    "\u202eevil\u202c",
    "\u05e9\u05dc\u05d5\u05dd",
    "\U0001f469\u200d\U0001f680",
    "e\u0301\u00e9",
    "\ufeff\u2028\ufffd\U0010ffff",
    *_PLACEHOLDERS,
)
_LONG = "x'" * 32_768
_URL_CHARS_MAX = 60_000  # what the client sends
_UNSTORABLE = ("a\0b", "\0", _LONG)


@dataclass(frozen=True)
class _Case:
    """A project that holds an event for each text, all of whose texts are that text."""

    stage: Stage
    tenant: Tenant
    theirs: Tenant
    rows: list[dict[str, Any]]

    def send(self, door: str, rpc: str, request: dict[str, Any]) -> Answer:
        """Read; never a fault, nothing of the other project."""
        if door == "rest" and rpc in ("Query", "Stats", "Sources"):
            query = urlencode([pair for name, value in request.items() for pair in _write_pairs(name, value)])
            query = query[:_URL_CHARS_MAX].rpartition("x")[0] if len(query) > _URL_CHARS_MAX else query
            call = WireCall(rpc, self.tenant.keys["rk"], raw_body=query.encode("ascii"))
        else:
            call = WireCall(rpc, self.tenant.keys["rk"], request=request)
        return self._check(self.stage.doors.send(door, call))

    def send_raw(self, door: str, rpc: str, body: str) -> Answer:
        """The same of a body, or a query string."""
        return self._check(
            self.stage.doors.send(door, WireCall(rpc, self.tenant.keys["rk"], raw_body=body.encode("latin-1")))
        )

    def _check(self, answer: Answer) -> Answer:
        assert not answer.reason or answer.reason in _REFUSALS, answer
        assert answer.http_status is None or answer.http_status < 500, answer
        assert _THEIRS not in answer.raw
        assert _THEIRS not in json.dumps(answer.response)
        assert_no_leak(answer)
        return answer

    def list_ids(self, matches: Callable[[dict[str, Any]], bool]) -> list[str]:
        return [row["event_id"] for row in self.rows if matches(row)]


def _write_pairs(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """Query parameters, in which the texts are as they were given: also blanks at their ends."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            op = {"eq": "=", "ne": "!="}.get(item["op"], item["op"])
            yield name, f"{item['column']} {op} {','.join(item.get('values', []))}"
        else:
            yield name, str(item)


def _make_event(text: str, mark: str) -> dict[str, Any]:
    return {
        "event": text,
        "event_id": text,
        "anonymous_id": text,
        "user_id": text,
        "session_id": text,
        "url": f"https://shop.example.com/?utm_source={mark}&utm_medium=email&utm_campaign={quote(text)}",
        "path": text,
        "referrer": text,
        "properties": {"word": text, text: text, "nest": {text: "in"}, "list": [text]},
    }


@pytest.fixture(scope="module")
def case(stage: Stage) -> Iterator[_Case]:
    """Both projects hold the same events; each has a source of its own."""
    mine, theirs = stage.registry.create(), stage.registry.create()
    for tenant, mark in ((mine, "mine"), (theirs, _THEIRS)):
        events = [_make_event(text, mark) for text in _STORABLE]
        answer = stage.doors.send(
            "rest", WireCall("Batch", tenant.keys["sk"], request={"events": events, "ack": "stored"})
        )
        assert not answer.reason, answer
        assert answer.response["count"] == len(_STORABLE)
    rows = stage.read_rows(mine)
    assert sorted(row["event"] for row in rows) == sorted(_STORABLE)
    yield _Case(stage, mine, theirs, rows)
    assert stage.read_rows(mine) == rows, "the tables are as they were"
    assert len(stage.read_rows(theirs)) == len(rows)


def _with_each(texts: Sequence[str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Make one test of a test that takes a `text`: it goes through all of them, and names each that has failed."""

    def make(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def test_all(**fixtures: Any) -> None:
            failures = [failure for text in texts if (failure := _catch(test, text, fixtures))]
            if failures:
                raise ExceptionGroup(f"{len(failures)} of {len(texts)} texts", failures)

        signature = inspect.signature(test)
        kept = [parameter for name, parameter in signature.parameters.items() if name != "text"]
        test_all.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
        return test_all

    return make


def _catch(test: Callable[..., None], text: str, fixtures: dict[str, Any]) -> Exception | None:
    try:
        test(text=text, **fixtures)
    except Exception as failure:  # noqa: BLE001 - whatever it is, it is raised when all texts were tried
        failure.add_note(f"text: {text[:100]!a}")
        return failure
    return None


_over_each_door = pytest.mark.parametrize("door", _DOORS)


@_over_each_door
@_with_each(_STORABLE)
def test_every_text_is_stored_and_found_as_it_is(case: _Case, door: str, text: str) -> None:
    row = next(row for row in case.rows if row["event"] == text)
    for name in ("event", "event_id", "anonymous_id", "user_id", "session_id", "path"):
        assert row[name] == text, name
    assert row["properties"] == {"word": text, text: text, "nest": {text: "in"}, "list": [text]}
    for name in ("event", "user_id", "anonymous_id"):
        assert _read_ids(case.send(door, "Query", {name: text})) == [text], name
    for name in ("source", "medium"):
        assert _read_ids(case.send(door, "Query", {name: text})) == []


@_over_each_door
@_with_each(_STORABLE)
def test_a_filter_compares_text(case: _Case, door: str, text: str) -> None:
    row = next(row for row in case.rows if row["event"] == text)
    every = [{"column": column, "op": "in", "values": [row[column], text]} for column in _TEXT_COLUMNS]
    if door == "grpc":  # in a query string a comma separates, and a blank at the beginning is none
        assert _read_ids(case.send(door, "Query", {"filter": every})) == [text]
    for column in ("event", "campaign"):
        one = {"column": column, "op": "eq", "values": [text]}
        found = _read_ids(case.send(door, "Query", {"filter": [one]}))
        assert found == case.list_ids(lambda row, column=column: row[column] == text), column
    for op, matches in _COMPARISONS.items():
        if op == "in" and door == "rest" and "," in text:
            continue  # a comma separates there
        one = {"column": "event", "op": op, "values": [text]}
        found = _read_ids(case.send(door, "Query", {"limit": 1000, "filter": [one]}))
        assert found == case.list_ids(lambda row, matches=matches: matches(row["event"], text)), op


_COMPARISONS: Mapping[str, Callable[[str, str], bool]] = {
    "ne": lambda value, text: value != text,
    "in": lambda value, text: value == text,
    "contains": lambda value, text: text in value,
}


@_over_each_door
@_with_each(_STORABLE)
def test_a_filter_compares_a_property(case: _Case, door: str, text: str) -> None:
    for op, matches in {"eq": _COMPARISONS["in"], "contains": _COMPARISONS["contains"]}.items():
        one = {"column": "properties.word", "op": op, "values": [text]}
        found = _read_ids(case.send(door, "Query", {"limit": 1000, "filter": [one]}))
        assert found == case.list_ids(lambda row, matches=matches: matches(row["properties"]["word"], text)), op


@_with_each(_STORABLE)
def test_a_path_of_a_property_is_text(case: _Case, text: str) -> None:
    for column, value in ((f"properties.{text}", text), (f"properties.nest.{text}", "in")):
        for one in ({"column": column, "op": "eq", "values": [value]}, {"column": column, "op": "exists"}):
            answer = case.send("grpc", "Query", {"filter": [one]})
            assert _read_ids(answer) == [text], one
        mine = {"column": column, "op": "ne", "values": [value]}
        assert len(_read_ids(case.send("grpc", "Query", {"limit": 1000, "filter": [mine]}))) == len(_STORABLE) - 1


@_over_each_door
@_with_each(_STORABLE)
def test_stats_count_what_has_the_text(case: _Case, door: str, text: str) -> None:
    request: dict[str, Any] = {"group_by": ["event_name", "source"]}
    from_rollup = case.send(door, "Stats", {**request, "event": text})
    from_events = case.send(door, "Stats", {**request, "filter": [{"column": "path", "op": "eq", "values": [text]}]})
    for answer in (from_rollup, from_events):
        assert answer.response["rows"] == [{"event_name": text, "source": "mine", "value": 1}], answer


@_over_each_door
@_with_each(_STORABLE)
def test_funnel_and_retention_count_what_has_the_text(case: _Case, door: str, text: str) -> None:
    same = {"column": "properties.word", "op": "eq", "values": [text]}
    other = {"column": "path", "op": "contains", "values": [text]}
    steps = [{"event": text, "filter": [same, other]}, {"event": text, "filter": [same]}]
    answer = case.send(door, "Funnel", {"steps": steps, "group_by": "event_name"})
    assert [(row["group"], row["event"], row["visitors"]) for row in answer.response["rows"]] == [
        (text, text, 1),
        (text, text, 0),
    ]
    for name in ("first_event", "return_event"):
        answer = case.send(door, "Retention", {name: text})
        visitors = [row["visitors"] for row in answer.response["rows"]]
        assert visitors == [1 if name == "first_event" else len(_STORABLE)]


@_over_each_door
@_with_each((*_STORABLE, *_UNSTORABLE))
def test_names_of_ours_are_taken_from_a_list(case: _Case, door: str, text: str) -> None:
    steps = [{"event": "a"}, {"event": "b"}]
    for rpc, request in (
        ("Query", {}),
        ("Stats", {}),
        ("Sources", {}),
        ("Funnel", {"steps": steps}),
        ("Retention", {}),
    ):
        assert case.send(door, rpc, {**request, "project": text}).reason == "not_found"
    for rpc in ("Stats", "Retention"):
        answer = case.send(door, rpc, {"timezone": text})
        assert (answer.reason, answer.fields) == ("invalid_params", ("timezone",)), rpc
    assert case.send(door, "Stats", {"group_by": [text]}).reason == "invalid_group_by"
    assert case.send(door, "Funnel", {"steps": steps, "group_by": text}).reason == "invalid_group_by"
    answer = case.send(door, "Query", {"page_token": text})
    assert (answer.reason, answer.fields) == ("invalid_params", ("page_token",))


@_with_each((*_STORABLE, *_UNSTORABLE))
def test_columns_are_taken_from_a_list(case: _Case, text: str) -> None:
    for rpc in ("Query", "Stats"):
        for column in (text, f"event{text}", f"{text}event", f"properties.{text}." if text != "." else text):
            answer = case.send("grpc", rpc, {"filter": [{"column": column, "op": "eq", "values": ["x"]}]})
            assert (answer.reason, answer.fields) == ("invalid_params", ("filter",)), column
    steps = [{"event": "a"}, {"event": "b", "filter": [{"column": text, "op": "exists"}]}]
    answer = case.send("grpc", "Funnel", {"steps": steps})
    assert (answer.reason, answer.fields) == ("invalid_params", ("steps[1].filter",))


@_with_each((*_STORABLE, *_UNSTORABLE))
def test_a_filter_in_a_query_string_is_read_or_refused(case: _Case, text: str) -> None:
    for rpc in ("Query", "Stats"):
        for one in (text, f"{text} = x", f"event {text} x", f"event{text}= x", f"properties.{text}.word exists"):
            answer = case.send("rest", rpc, {"filter": [one]})
            assert answer.fields == ("filter",) if answer.reason else answer.response is not None, answer


@_with_each((*_STORABLE, *_UNSTORABLE))
def test_words_and_numbers_are_read_or_refused(case: _Case, text: str) -> None:
    parameters = {
        "Query": ("from", "to", "limit"),
        "Stats": ("from", "to", "limit", "metric", "interval", "include_bots"),
        "Sources": ("from", "to", "limit", "breakdown", "include_bots"),
    }
    for rpc, names in parameters.items():
        for name in names:
            answer = case.send("rest", rpc, {name: text})
            is_fine = name == "include_bots" and text == "true"
            assert is_fine or (answer.reason, answer.fields) == ("invalid_params", (name,)), (rpc, name)
        assert case.send("rest", rpc, {text[:100]: "x"}).reason == "invalid_params"
    for rpc, names in {"Funnel": ("from", "limit", "window_seconds"), "Retention": ("to", "period", "periods")}.items():
        for name in names:
            answer = case.send("rest", rpc, {"steps": [{"event": "a"}, {"event": "b"}], name: text})
            # A text of a number is a number in proto3 JSON: -1e9 is read, and is no limit.
            reason = "invalid_params" if text == "-1e9" and name not in ("from", "to", "period") else "invalid_payload"
            assert (answer.reason, answer.fields) == (reason, (name,)), (rpc, name)


@_over_each_door
@_with_each(_UNSTORABLE)
def test_what_no_event_can_hold_is_refused(case: _Case, door: str, text: str) -> None:
    for name in ("event", "source", "medium", "user_id", "anonymous_id"):
        assert case.send(door, "Query", {name: text}).fields == (name,)
    assert case.send(door, "Stats", {"event": text}).fields == ("event",)
    for column in ("event", "properties.word"):
        for op in ("eq", "ne", "contains", "in"):
            one = {"column": column, "op": op, "values": [text]}
            for rpc in ("Query", "Stats"):
                assert case.send(door, rpc, {"filter": [one]}).fields == ("filter",)
    assert case.send(door, "Funnel", {"steps": [{"event": "a"}, {"event": text}]}).fields == ("steps[1].event",)
    for name in ("first_event", "return_event"):
        assert case.send(door, "Retention", {name: text}).fields == (name,)
    assert max(CHARS_MAX.values()) < len(_LONG)


@pytest.mark.parametrize("surrogate", [r"\ud800", r"\udc00", r"\udc00\ud800", r"a\udfffb"])
def test_half_a_character_is_refused(case: _Case, surrogate: str) -> None:
    text = f'"{surrogate}"'
    one = f'[{{"column": "event", "op": "FILTER_OP_EQ", "values": [{text}]}}]'
    bodies = {
        "Query": ["event", "source", "medium", "user_id", "anonymous_id", "page_token", "project"],
        "Stats": ["event", "timezone", "project"],
        "Sources": ["project"],
        "Funnel": ["group_by", "project"],
        "Retention": ["first_event", "return_event", "timezone", "project"],
    }
    for rpc, names in bodies.items():
        doors = ("connect_json", "rest") if rpc in ("Funnel", "Retention") else ("connect_json",)
        for door in doors:
            for name in names:
                spelt = name if door == "rest" else re.sub(r"_(\w)", lambda match: match[1].upper(), name)
                assert case.send_raw(door, rpc, f'{{"{spelt}": {text}}}').reason == "invalid_payload", (rpc, name)
    for rpc in ("Query", "Stats"):
        assert case.send_raw("connect_json", rpc, f'{{"filter": {one}}}').reason == "invalid_payload"
    steps = f'{{"steps": [{{"event": {text}, "filter": {one}}}, {{"event": "b"}}]}}'
    for door in ("connect_json", "rest"):
        assert case.send_raw(door, "Funnel", steps).reason == "invalid_payload"


def test_a_request_line_that_is_too_long_is_refused(case: _Case) -> None:
    """By the bound of a request's head, before there is a call: a client of ours would not send it."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", case.stage.server.http_port)) as connection:
        connection.request("GET", f"/v1/query?event={quote(_LONG)}")
        assert connection.getresponse().status == http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE


@pytest.mark.parametrize("written", ["%ED%A0%80", "%ff", "%C0%AF", "a%80"])
def test_a_query_string_that_is_no_text_is_refused(case: _Case, written: str) -> None:
    for rpc, names in {"Query": ("event", "filter", "page_token"), "Stats": ("group_by", "timezone")}.items():
        for name in names:
            assert case.send_raw("rest", rpc, f"{name}={written}").reason == "invalid_params"


@pytest.mark.parametrize("field", [4, 5, 6, 7, 8, 11])
def test_bytes_that_are_no_text_are_refused(case: _Case, field: int) -> None:
    for text in ("\xed\xa0\x80", "\xff", "\xc0\xaf"):
        body = chr(field << 3 | 2) + chr(len(text)) + text
        for door in ("grpc", "connect_proto"):
            assert case.send_raw(door, "Query", body).reason == "invalid_payload"


def _read_ids(answer: Answer) -> list[str]:
    assert not answer.reason, answer
    return [row["event_id"] for row in answer.response["rows"]]
