"""What the files of other products become; the samples are made up in the form that each product documents."""

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from millimetric.v1 import event_pb2
from millimetric_server.cli.load.preset_rows import read_preset
from millimetric_server.cli.load.presets import PRESETS
from millimetric_server.cli.load.rows import Row
from millimetric_server.cli.load.shaping import Shaper

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
NOON_S = int(NOON.timestamp())


def read(name: str, text: str, *, is_csv: bool = False, shaper: Shaper | None = None) -> list[Row]:
    file = io.BytesIO(text.encode())
    return list(read_preset(file, "seed", PRESETS[name], shaper or Shaper(), is_csv=is_csv))


def describe(row: Row) -> dict[str, Any]:
    """The event's fields that are set, without the ids that are made of a hash."""
    assert isinstance(row.event, event_pb2.Event), row
    event = row.event
    told: dict[str, Any] = {
        name: getattr(event, name)
        for name in ("event", "anonymous_id", "user_id", "session_id", "url", "path", "referrer")
        if getattr(event, name)
    }
    if event.HasField("timestamp"):
        told["timestamp"] = event.timestamp.ToDatetime(UTC)
    if event.properties_json:
        told["properties"] = json.loads(event.properties_json)
    if event.HasField("context"):
        told["context"] = (event.context.ip, event.context.user_agent)
    return told


def ids(rows: list[Row]) -> list[str]:
    return [row.event.event_id for row in rows if isinstance(row.event, event_pb2.Event)]


def test_posthog() -> None:
    page = {
        "uuid": "0190-1",
        "event": "$pageview",
        "distinct_id": "d-1",
        "timestamp": "2026-11-01T12:00:00.000000+00:00",
        "properties": {
            "$current_url": "https://shop.example/p?utm_source=x",
            "$pathname": "/p",
            "$referrer": "$direct",
            "$session_id": "s-1",
            "$ip": "192.0.2.7",
            "$raw_user_agent": "UA",
            "plan": "team",
        },
        "person": {"name": "ignored"},
    }
    signup = {"uuid": "0190-2", "event": "signup", "distinct_id": "u-1", "properties": {"$user_id": "u-1"}}
    rows = read("posthog", json.dumps([page, signup]))
    assert describe(rows[0]) == {
        "event": "$pageview",
        "timestamp": NOON,
        "anonymous_id": "d-1",
        "session_id": "s-1",
        "url": "https://shop.example/p?utm_source=x",
        "path": "/p",
        "properties": {"plan": "team"},
        "context": ("192.0.2.7", "UA"),
    }
    assert describe(rows[1]) == {"event": "signup", "user_id": "u-1"}
    assert ids(rows) == ["0190-1", "0190-2"]


def test_segment() -> None:
    lines = [
        {
            "type": "track",
            "event": "Order Completed",
            "messageId": "m-1",
            "anonymousId": "a",
            "userId": "u",
            "timestamp": "2026-11-01T12:00:00.000Z",
            "properties": {"total": 9.5},
            "context": {
                "ip": "192.0.2.7",
                "userAgent": "UA",
                "page": {"url": "https://s.example/", "referrer": "https://r.example/"},
            },
        },
        {"type": "page", "name": "Home", "messageId": "m-2", "anonymousId": "a"},
        {"type": "identify", "messageId": "m-3", "anonymousId": "a", "userId": "u", "traits": {"plan": "team"}},
    ]
    rows = read("segment", "\n".join(map(json.dumps, lines)))
    assert describe(rows[0]) == {
        "event": "Order Completed",
        "timestamp": NOON,
        "anonymous_id": "a",
        "user_id": "u",
        "url": "https://s.example/",
        "referrer": "https://r.example/",
        "properties": {"total": 9.5},
        "context": ("192.0.2.7", "UA"),
    }
    assert describe(rows[1]) == {"event": "$pageview", "anonymous_id": "a", "properties": {"name": "Home"}}
    assert describe(rows[2]) == {
        "event": "$identify",
        "anonymous_id": "a",
        "user_id": "u",
        "properties": {"plan": "team"},
    }
    assert ids(rows) == ["m-1", "m-2", "m-3"]


def test_ga4() -> None:
    line = {
        "event_date": "20261101",
        "event_timestamp": str(NOON_S * 1_000_000),
        "event_name": "page_view",
        "event_params": [
            {"key": "page_location", "value": {"string_value": "https://s.example/?gclid=1"}},
            {"key": "page_referrer", "value": {"string_value": "https://google.com/"}},
            {"key": "ga_session_id", "value": {"int_value": "77"}},
            {"key": "price", "value": {"double_value": 1.5, "string_value": None}},
        ],
        "user_pseudo_id": "1.2",
    }
    rows = read("ga4", json.dumps(line))
    assert describe(rows[0]) == {
        "event": "$pageview",
        "timestamp": NOON,
        "anonymous_id": "1.2",
        "session_id": "1.2-77",
        "url": "https://s.example/?gclid=1",
        "referrer": "https://google.com/",
        "properties": {"price": 1.5},
    }
    assert ids(rows) == ids(read("ga4", "\n" + json.dumps(line))), "the id is of the event, not of its line"


def test_plausible() -> None:
    line = {
        "name": "pageview",
        "timestamp": "2026-11-01 12:00:00",
        "user_id": 123456789012345678,
        "session_id": 42,
        "hostname": "s.example",
        "pathname": "/pricing",
        "referrer": "https://r.example/",
        "utm_source": "news",
        "meta.key": ["plan"],
        "meta.value": ["team"],
    }
    wanted = {
        "event": "$pageview",
        "timestamp": NOON,
        "anonymous_id": "123456789012345678",
        "session_id": "42",
        "url": "https://s.example/pricing?utm_source=news",
        "path": "/pricing",
        "referrer": "https://r.example/",
    }
    rows = read("plausible", json.dumps(line))
    assert describe(rows[0]) == wanted | {"properties": {"plan": "team"}}
    cells = "name,timestamp,user_id,session_id,hostname,pathname,referrer,utm_source\npageview,2026-11-01 12:00:00,"
    cells += "123456789012345678,42,s.example,/pricing,https://r.example/,news\n"
    assert describe(read("plausible", cells, is_csv=True)[0]) == wanted
    assert ids(rows) == ids(read("plausible", f"\n{json.dumps(line)}"))


def test_umami() -> None:
    text = (
        "event_id;session_id;visit_id;created_at;hostname;url_path;url_query;referrer_domain;referrer_path;event_name\n"
        "e-1;v-1;s-1;2026-11-01 12:00:00+00;s.example;/a;utm_source=x;r.example;/from;\n"
        "e-2;v-1;s-1;2026-11-01 12:00:00+00;s.example;/a;;;;signup\n"
    )
    rows = read("umami", text, is_csv=True)
    base = {"timestamp": NOON, "anonymous_id": "v-1", "session_id": "s-1", "path": "/a"}
    assert describe(rows[0]) == base | {
        "event": "$pageview",
        "url": "https://s.example/a?utm_source=x",
        "referrer": "https://r.example/from",
    }
    assert describe(rows[1]) == base | {"event": "signup", "url": "https://s.example/a"}
    assert ids(rows) == ["e-1", "e-2"]


def test_matomo() -> None:
    visit = {
        "idSite": 1,
        "idVisit": 7,
        "visitorId": "abcd",
        "referrerUrl": "https://r.example/",
        "actionDetails": [
            {"type": "action", "url": "https://s.example/", "timestamp": NOON_S, "pageId": 1},
            {
                "type": "event",
                "eventAction": "signup",
                "url": "https://s.example/join",
                "timestamp": NOON_S,
                "pageId": 2,
            },
        ],
    }
    rows = read("matomo", json.dumps([visit, {"idVisit": 8, "actionDetails": []}]))
    base = {"timestamp": NOON, "anonymous_id": "abcd", "session_id": "7"}
    assert [describe(row) for row in rows] == [
        base | {"event": "$pageview", "url": "https://s.example/", "referrer": "https://r.example/"},
        base | {"event": "signup", "url": "https://s.example/join"},
    ]
    assert len(set(ids(rows))) == 2
    assert ids(rows) == ids(read("matomo", json.dumps([{}, visit])))


def test_snowplow() -> None:
    line = {
        "event_id": "e-1",
        "event_name": "page_view",
        "derived_tstamp": "2026-11-01 12:00:00.000",
        "domain_userid": "d",
        "domain_sessionid": "s",
        "page_url": "https://s.example/",
        "page_referrer": "https://r.example/",
        "user_ipaddress": "192.0.2.7",
        "useragent": "UA",
        "unstruct_event": {"data": {"schema": "iglu:x", "data": {"plan": "team"}}},
    }
    wanted = {
        "event": "$pageview",
        "timestamp": NOON,
        "anonymous_id": "d",
        "session_id": "s",
        "url": "https://s.example/",
        "referrer": "https://r.example/",
        "context": ("192.0.2.7", "UA"),
        "properties": {"plan": "team"},
    }
    rows = read("snowplow", json.dumps(line))
    assert (describe(rows[0]), ids(rows)) == (wanted, ["e-1"])


def test_access_log() -> None:
    agent = r"Mozilla/5.0 (X11; \"quoted\")"
    line = '192.0.2.7 - - [01/Nov/2026:12:00:00 +0000] "GET {} HTTP/1.1" {} 512 "{}" "' + agent + '"'
    lines = [
        line.format("/p?utm_source=x", 200, "https://r.example/"),
        "s.example " + line.format("/q", 304, "-"),
        line.format("/style.css", 200, "-"),
        line.format("/missing", 404, "-"),
        line.format("/p", 200, "-").replace("GET", "POST"),
        "nonsense",
        '192.0.2.7 - - [01/Nov/2026:12:00:00 +0000] "GET /common HTTP/1.1" 200 512',
    ]
    shaper = Shaper()
    rows = read("accesslog", "\n".join(lines), shaper=shaper)
    told = [describe(row) if isinstance(row.event, event_pb2.Event) else "rejected" for row in rows]
    assert [one if isinstance(one, str) else (one["event"], one["path"]) for one in told] == [
        ("$pageview", "/p"),
        ("$pageview", "/q"),
        "rejected",
        ("$pageview", "/common"),
    ]
    assert shaper.left_out == 3
    first, second = told[0], told[1]
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert (first["timestamp"], first["referrer"]) == (NOON, "https://r.example/")
    assert first["context"][0] == "192.0.2.7"
    assert second["url"] == "https://s.example/q"
    assert first["anonymous_id"] == second["anonymous_id"], "one address and agent are one visitor for a day"


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_no_record_of_the_product_is_refused_and_never_a_fault(name: str) -> None:
    odd = '{"properties":5,"context":[],"event_params":[{},7],"actionDetails":[{},7],"meta.key":3}'
    for text in ("", "{}", "[{}]", "7", "not json", odd, '{"event_params":7}'):
        for row in read(name, text):
            assert row.event is not None
    for row in read(name, "a,b\n1,2\n", is_csv=True):
        assert row.event is not None
