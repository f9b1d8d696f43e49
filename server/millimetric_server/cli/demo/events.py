"""Invents a small shop's visitors: the same day always gives the same events."""

import hashlib
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp

from millimetric.v1 import event_pb2

SITE = "https://shop.example"
DAYS = 30
_SEED = "millimetric demo 2"
_WEEKDAYS = (1.1, 1.15, 1.1, 1.05, 1.0, 0.8, 0.8)
_PAGES = ("/", "/collections/kitchen", "/collections/desk", "/blog/glaze", "/blog/workshop", "/delivery", "/about")
_PRODUCTS = (("mug", 14.5), ("teapot", 39.0), ("tray", 24.0), ("notebook", 9.9), ("lamp", 79.0))
_CURRENCY = "EUR"
# Those who come back first came so many days ago, so often: a week ago more often than just before or after.
_DAYS_AGO = {1: 10, 2: 7, 3: 5, 4: 4, 6: 4, 7: 8, 8: 4, 10: 3, 14: 4, 17: 2, 21: 3, 24: 1, 28: 2}

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


class Entry(NamedTuple):
    """How a visit begins: how often a first and a later one do, with which query string, from where."""

    weight: int
    weight_later: int
    query: str
    referrer: str


# Facebook stands here twice, since a click in a friend's post and a click on an ad are not the same.
_ENTRIES = (
    Entry(22, 16, "", "https://www.google.com/"),
    Entry(14, 8, "utm_source=google&utm_medium=cpc&utm_campaign=brand&gclid=Cj0KCQiAdemo", "https://www.google.com/"),
    Entry(9, 4, "fbclid=IwAR0demo", "https://l.facebook.com/"),
    Entry(5, 2, "", "https://m.facebook.com/"),
    Entry(14, 4, "utm_source=facebook&utm_medium=cpc&utm_campaign=spring&fbclid=IwAR1demo", "https://l.facebook.com/"),
    Entry(4, 24, "utm_source=newsletter&utm_medium=email&utm_campaign=weekly", ""),
    Entry(8, 4, "", "https://chatgpt.com/"),
    Entry(6, 2, "", "https://news.ycombinator.com/"),
    Entry(18, 36, "", ""),
)
_WEIGHTS = [entry.weight for entry in _ENTRIES]
_WEIGHTS_LATER = [entry.weight_later for entry in _ENTRIES]


class Step(NamedTuple):
    """What somebody does on a page."""

    name: str
    path: str
    properties: dict[str, object]


@dataclass(frozen=True, slots=True)
class Visitor:
    """The visitor who first came on this day with the visit of this number."""

    day: date
    number: int

    @property
    def anonymous_id(self) -> str:
        """The id of the browser."""
        return _make_id(f"visitor/{self.day}/{self.number}")

    @property
    def user_id(self) -> str:
        """The id of the account that the first visit makes; empty for those who make none."""
        return f"user-{self.day:%Y%m%d}-{self.number}" if self._draw(5) < 2 else ""  # noqa: PLR2004

    @property
    def context(self) -> event_pb2.EventContext:
        """Address and agent. The addresses are of the range that is reserved for documentation."""
        return event_pb2.EventContext(ip=f"198.51.100.{self._draw(250) + 1}", user_agent=_AGENTS[self._draw(6)])

    def _draw(self, count: int) -> int:
        return int(hashlib.blake2b(f"{_SEED}/{count}/{self.day}/{self.number}".encode()).hexdigest(), 16) % count


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
        visit = _tell_bot(draw) if draw.random() < 0.04 else _tell_person(draw, day, number)  # noqa: PLR2004
        for event in visit:
            moment += timedelta(seconds=draw.randint(4, 90), milliseconds=draw.randint(0, 999))
            event.session_id = session_id
            event.timestamp.CopyFrom(_write_time(moment))
            yield event


def _tell_person(draw: random.Random, day: date, number: int) -> Iterator[event_pb2.Event]:
    """One visit of one person. Visits of even number are first ones; the others come back."""
    is_first = number % 2 == 0
    visitor = Visitor(day, number) if is_first else _draw_earlier(draw, day, number)
    entry = draw.choices(_ENTRIES, _WEIGHTS if is_first else _WEIGHTS_LATER)[0]
    context, user_id = visitor.context, visitor.user_id
    query, referrer = entry.query, entry.referrer
    is_known = not is_first
    for step in _walk(draw, does_sign_up=is_first and bool(user_id), is_customer=bool(user_id)):
        is_known = is_known or step.name == "signup"
        yield event_pb2.Event(
            event=step.name,
            anonymous_id=visitor.anonymous_id,
            user_id=user_id if is_known else "",
            url=SITE + step.path + (f"?{query}" if query else ""),
            referrer=referrer,
            properties_json=msgspec.json.encode(step.properties).decode() if step.properties else "",
            context=context,
        )
        query, referrer = "", SITE + step.path


def _draw_earlier(draw: random.Random, day: date, number: int) -> Visitor:
    days_ago = draw.choices(list(_DAYS_AGO), list(_DAYS_AGO.values()))[0]
    return Visitor(day - timedelta(days=days_ago), 2 * draw.randrange(number // 2 + 1))


def _walk(draw: random.Random, *, does_sign_up: bool, is_customer: bool) -> Iterator[Step]:
    """The steps of one visit: pages, sometimes an account, products, and of some a cart and an order."""
    for path in draw.choices(_PAGES, k=draw.randint(1, 3)):
        yield Step("$pageview", path, {})
    if does_sign_up:
        yield Step("signup", "/account/new", {"newsletter": draw.random() < 0.5})  # noqa: PLR2004
    if draw.random() < (0.8 if is_customer else 0.5):
        yield from _shop(draw, 0.8 if is_customer else 0.5)


def _shop(draw: random.Random, zeal: float) -> Iterator[Step]:
    viewed = draw.sample(_PRODUCTS, draw.randint(1, 3))
    for product, price in viewed:
        yield Step("product_view", f"/products/{product}", {"product": product, "price": price})
    if draw.random() > zeal * 0.7:
        return
    (product, price), quantity = viewed[-1], draw.choice((1, 1, 1, 2, 4))
    line = {"product": product, "price": price, "quantity": quantity}
    yield Step("add_to_cart", f"/products/{product}", {**line, "currency": _CURRENCY})
    if draw.random() > zeal:
        return
    order = {"value": round(price * quantity, 2), "currency": _CURRENCY, "items": quantity}
    yield Step("checkout", "/checkout", {**order})
    if draw.random() < zeal:
        yield Step("purchase", "/thanks", {"order": f"{draw.randrange(10**6):06d}", **order})


def _tell_bot(draw: random.Random) -> Iterator[event_pb2.Event]:
    context = event_pb2.EventContext(ip="192.0.2.200", user_agent=draw.choice(_BOTS))
    for path in draw.sample(_PAGES, 2):
        yield event_pb2.Event(event="$pageview", anonymous_id=_make_id("bot"), url=SITE + path, context=context)


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
