"""The demo's invented events: always the same, each id once, every source there."""

from collections import Counter
from datetime import UTC, date, timedelta

from millimetric_server.cli.demo_events import DAYS, count_events, make_day

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
    assert all(event.anonymous_id and event.session_id and event.context.user_agent for event in events)
    text = " ".join(f"{event.url} {event.referrer}" for event in events)
    for trace in ("gclid=", "utm_medium=cpc", "fbclid=", "utm_source=newsletter", "chatgpt.com", "google.com/ "):
        assert trace in text
    assert any("Googlebot" in event.context.user_agent for event in events)
