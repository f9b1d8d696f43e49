"""A small shop's invented visitors: the same events for the same day, whenever and however often they are made."""

import hashlib
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from millimetric.v1 import event_pb2

SITE = "https://shop.example"
DAYS = 30
_SEED = "millimetric demo 1"
_VISITORS = 600
_WEEKDAYS = (1.1, 1.15, 1.1, 1.05, 1.0, 0.8, 0.8)
_PAGES = ("/", "/pricing", "/features", "/blog/cookieless", "/blog/attribution", "/docs", "/about")
_PLANS = (("starter", 19), ("team", 49), ("business", 199))

_WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
_APPLE = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6"
_AGENTS = (
    f"{_WINDOWS} Chrome/142.0.0.0 Safari/537.36",
    f"{_WINDOWS} Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
    f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_APPLE} Safari/605.1.15",
    f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) {_APPLE} Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
)
_BOTS = (
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; GPTBot/1.2; +https://openai.com/gptbot)",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """How a visit begins: how often, with which query string, from where."""

    weight: int
    query: str
    referrer: str


# Facebook stands here twice, since a click in a friend's post and a click on an ad are not the same.
_ENTRIES = (
    Entry(22, "", "https://www.google.com/"),
    Entry(14, "utm_source=google&utm_medium=cpc&utm_campaign=brand&gclid=Cj0KCQiAdemo", "https://www.google.com/"),
    Entry(9, "fbclid=IwAR0demo", "https://l.facebook.com/"),
    Entry(5, "", "https://m.facebook.com/"),
    Entry(10, "utm_source=facebook&utm_medium=cpc&utm_campaign=spring&fbclid=IwAR1demo", "https://l.facebook.com/"),
    Entry(9, "utm_source=newsletter&utm_medium=email&utm_campaign=weekly", ""),
    Entry(7, "", "https://chatgpt.com/"),
    Entry(4, "", "https://news.ycombinator.com/"),
    Entry(20, "", ""),
)
_WEIGHTS = [entry.weight for entry in _ENTRIES]


def count_events(day: date, events_total: int) -> int:
    """How many of `events_total` fall on this day: weekdays are busier."""
    return max(round(events_total / DAYS * _WEEKDAYS[day.weekday()]), 1)


def make_day(day: date, count: int) -> list[event_pb2.Event]:
    """The first `count` events of a day. A larger count only adds events, so what was sent keeps its ids."""
    events = list(itertools.islice(_tell_visits(day), count))
    for number, event in enumerate(events):
        event.event_id = _make_id(f"{day}/event/{number}")
    return events


def _tell_visits(day: date) -> Iterator[event_pb2.Event]:
    draw = random.Random(f"{_SEED}/{day}")  # noqa: S311 - the same numbers again are what is wanted
    for number in itertools.count():
        session_id = f"demo-{day}-{number}"
        moment = datetime.combine(day, time(), UTC) + timedelta(seconds=_draw_second(draw))
        visit = _tell_bot(draw) if draw.random() < 0.04 else _tell_person(draw, number)  # noqa: PLR2004
        for event in visit:
            moment += timedelta(seconds=draw.randint(4, 90), milliseconds=draw.randint(0, 999))
            event.session_id = session_id
            event.timestamp.CopyFrom(_write_time(moment))
            yield event


def _tell_person(draw: random.Random, number: int) -> Iterator[event_pb2.Event]:
    """One visit of one person: pages, sometimes a sign-up, and after that sometimes a purchase."""
    visitor = draw.randrange(_VISITORS)
    entry = draw.choices(_ENTRIES, _WEIGHTS)[0]
    pages = [draw.choice(_PAGES) for _ in range(draw.randint(1, 5))]
    does_sign_up = draw.random() < 0.18  # noqa: PLR2004
    referrer = entry.referrer
    for index, path in enumerate(pages):
        url = SITE + path + (f"?{entry.query}" if entry.query and index == 0 else "")
        yield _make_event(visitor, "$pageview", url, referrer)
        referrer = SITE + path
    if not does_sign_up:
        return
    plan, price = draw.choice(_PLANS)
    yield _make_event(visitor, "signup", f"{SITE}/signup", referrer, plan=plan)
    if draw.random() < 0.4:  # noqa: PLR2004
        seats = draw.randint(1, 8)
        facts = {"plan": plan, "seats": seats, "amount": price * seats, "currency": "EUR"}
        yield _make_event(visitor, "purchase", f"{SITE}/checkout", f"{SITE}/signup", order=f"{number:05d}", **facts)


def _tell_bot(draw: random.Random) -> Iterator[event_pb2.Event]:
    context = event_pb2.EventContext(ip="192.0.2.200", user_agent=draw.choice(_BOTS))
    for path in draw.sample(_PAGES, 2):
        yield event_pb2.Event(event="$pageview", anonymous_id=_make_id("bot"), url=SITE + path, context=context)


def _make_event(visitor: int, name: str, url: str, referrer: str, **properties: object) -> event_pb2.Event:
    # Every third visitor has an account. The addresses are of the range that is reserved for documentation.
    return event_pb2.Event(
        event=name,
        anonymous_id=_make_id(f"visitor/{visitor}"),
        user_id=f"user-{visitor:04d}" if visitor % 3 == 0 or name != "$pageview" else "",
        url=url,
        referrer=referrer,
        properties_json=msgspec.json.encode(properties).decode() if properties else "",
        context=event_pb2.EventContext(
            ip=f"198.51.100.{visitor % 250 + 1}", user_agent=_AGENTS[visitor % len(_AGENTS)]
        ),
    )


def _draw_second(draw: random.Random) -> int:
    """A second of the day, most often in the afternoon, and never so late that a visit would pass midnight."""
    return int(draw.triangular(6 * 3600, 23 * 3600, 15 * 3600))


def _make_id(name: str) -> str:
    digits = hashlib.blake2b(f"{_SEED}/{name}".encode(), digest_size=16).hexdigest()
    return f"{digits[:8]}-{digits[8:12]}-8{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _write_time(moment: datetime) -> Timestamp:
    timestamp = Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp
