"""The demo's invented events: always the same, each id once, every source there."""

import json
from collections import Counter
from datetime import UTC, date, timedelta

from millimetric_server.cli.demo.events import DAYS, count_events, make_day

MONDAY = date(2026, 3, 2)


def test_a_day_is_always_the_same_and_a_larger_count_only_adds() -> None:
    few, many = make_day(MONDAY, 100), make_day(MONDAY, 250)
    assert few == make_day(MONDAY, 100)
    assert many[:100] == few
    assert len({event.event_id for event in many}) == 250
    assert not {event.event_id for event in make_day(MONDAY + timedelta(1), 250)} & {one.event_id for one in many}


def test_no_event_leaves_its_day() -> None:
    events = make_day(MONDAY, 2000)
    assert {event.timestamp.ToDatetime(UTC).date() for event in events} == {MONDAY}


def test_a_month_holds_about_as_many_events_as_asked_for() -> None:
    days = [MONDAY + timedelta(number) for number in range(DAYS)]
    assert abs(sum(count_events(day, 3000) for day in days) - 3000) < 150
    assert count_events(MONDAY, DAYS) == 1


def test_every_kind_of_event_and_source_occurs() -> None:
    events = make_day(MONDAY, 3000)
    names = Counter(event.event for event in events)
    assert names["$pageview"] > names["signup"] > names["purchase"] > 20
    assert names["product_view"] > names["add_to_cart"] > names["checkout"] > names["purchase"]
    assert all(event.anonymous_id and event.session_id and event.context.user_agent for event in events)
    text = " ".join(f"{event.url} {event.referrer}" for event in events)
    for trace in ("gclid=", "utm_medium=cpc", "fbclid=", "utm_source=newsletter", "chatgpt.com", "google.com/ "):
        assert trace in text
    assert any("Googlebot" in event.context.user_agent for event in events)


def test_visitors_come_back_weeks_later() -> None:
    events = [event for number in range(DAYS) for event in make_day(MONDAY + timedelta(number), 100)]
    days: dict[str, set[date]] = {}
    for event in events:
        days.setdefault(event.anonymous_id, set()).add(event.timestamp.ToDatetime(UTC).date())
    assert sum(max(of_one) - min(of_one) >= timedelta(7) for of_one in days.values()) > 20


def test_a_purchase_tells_its_value_as_its_checkout_did() -> None:
    facts: dict[tuple[str, str], dict[str, object]] = {
        (event.session_id, event.event): json.loads(event.properties_json)
        for event in make_day(MONDAY, 3000)
        if event.event in ("checkout", "purchase")
    }
    for (session_id, name), told in facts.items():
        if name == "purchase":
            assert {key: told[key] for key in ("value", "currency", "items")} == facts[session_id, "checkout"]
