"""A realistic stream of events: weighted pages, referrers, agents and visitors, the same for the same seed."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from millimetric.v1 import ingest_service_pb2

ID_PLACEHOLDER = b"00000000"  # replaced by a number that no request repeats
_EVENTS_A_VISITOR = 6
_VISITORS_AT_A_TIME = 100
_AGENTS = tuple(Path(__file__).with_name("agents.txt").read_text("utf-8").splitlines())
_PAGES = ("/", "/pricing", "/docs/quickstart", "/docs/api/track", "/blog/2026/autumn-release", "/signup", "/login")
_EVENTS = ("$pageview", "button_clicked", "form_submitted", "checkout_started", "signup", "search")
_REFERRERS = (
    "",
    "https://www.google.com/",
    "https://www.bing.com/search?q=event+analytics",
    "https://duckduckgo.com/",
    "https://news.ycombinator.com/item?id=4000000",
    "https://www.reddit.com/r/analytics/comments/1abcde/which_one/",
    "https://t.co/AbCdEfGhIj",
    "https://www.facebook.com/",
    "https://chatgpt.com/",
    "https://partner.example.net/reviews/analytics?page=2",
    "android-app://com.google.android.gm/",
)
_CAMPAIGNS = (
    "",
    "?utm_source=newsletter&utm_medium=email&utm_campaign=november",
    "?utm_source=google&utm_medium=cpc&utm_campaign=brand&gclid=EAIaIQobChMI0example",
    "?utm_source=facebook&utm_medium=paid_social&utm_campaign=retargeting_2026&fbclid=IwAR0example",
    "?utm_source=linkedin&utm_medium=social",
    "?ref=footer&email=visitor%40example.com",
)
# Ranges that are reserved for documentation (RFC 5737, RFC 3849).
_NETWORKS = ("192.0.2.{}", "198.51.100.{}", "203.0.113.{}", "2001:db8::{:x}")


def weigh(count: int) -> list[float]:
    """Weights by rank, as in real traffic: a few are seen often and most seldom."""
    return [1 / (rank + 1) for rank in range(count)]


def read_agents() -> Sequence[str]:
    """Agents by weight: of fake-useragent where it is installed, else a list of our own."""
    try:
        from fake_useragent import UserAgent  # type: ignore[import-not-found]
    except ImportError:
        return _AGENTS
    generator = UserAgent()
    return sorted({generator.random for _ in range(2000)})


class EventStream:
    """Makes events. `distinct` gives every event an agent, address, url and referrer that no other has."""

    def __init__(self, seed: int = 1, *, distinct: bool = False, agents: Sequence[str] = _AGENTS) -> None:
        self._random = random.Random(seed)
        self._distinct = distinct
        self._agents = agents
        self._agent_weights = weigh(len(agents))
        self._made = 0

    def make(self) -> dict[str, Any]:
        """The next event, with the names of the REST API."""
        pick, number = self._random, self._made
        self._made += 1
        agent = pick.choices(self._agents, self._agent_weights)[0]
        ip = pick.choice(_NETWORKS).format(pick.randrange(256))
        page, referrer = pick.choices(_PAGES, weigh(len(_PAGES)))[0], pick.choice(_REFERRERS)
        campaign = pick.choices(_CAMPAIGNS, (10, 2, 2, 2, 1, 1))[0]
        if self._distinct:
            agent = f"{agent} Build/{number}"
            ip = f"2001:db8::{number >> 16:x}:{number & 0xFFFF:x}"
            page = f"{page}?page={number}" if not campaign else page
            campaign = f"{campaign}&n={number}" if campaign else ""
            referrer = f"https://site{number}.example.org/{number}"
        event: dict[str, Any] = {
            "event": pick.choices(_EVENTS, weigh(len(_EVENTS)))[0],
            "anonymous_id": self._pick_visitor(number),
            "url": f"https://www.example.com{page}{campaign}",
            "properties": self._make_properties(),
            "context": {"ip": ip, "user_agent": agent},
        }
        if referrer:
            event["referrer"] = referrer
        if pick.random() < 0.3:
            event["user_id"] = f"user_{pick.randrange(50_000)}"
        return event

    def take(self, count: int) -> list[dict[str, Any]]:
        """The next events."""
        return [self.make() for _ in range(count)]

    def _pick_visitor(self, number: int) -> str:
        """A new visitor for each sixth event; the others come from the visitors of the last minutes."""
        newest = number // _EVENTS_A_VISITOR
        visitor = number if self._distinct else max(newest - self._random.randrange(_VISITORS_AT_A_TIME), 0)
        return f"{visitor:08x}-0000-4000-8000-00000000beef"

    def _make_properties(self) -> dict[str, Any]:
        pick = self._random
        return {
            "plan": pick.choice(("free", "team", "business")),
            "value": round(pick.uniform(1, 900), 2),
            "currency": "EUR",
            "items": pick.randrange(9),
            "is_trial": pick.random() < 0.5,
            "experiment": f"variant-{pick.randrange(4)}",
            "title": "Event analytics with typed APIs",
            "locale": pick.choice(("en-GB", "de-DE", "pt-BR")),
            "screen": {"width": 1920, "height": 1080, "dpr": 2},
        }


def to_json(event: dict[str, Any]) -> bytes:
    """A Track body for REST."""
    return msgspec.json.encode(event)


def to_json_batch(events: Sequence[dict[str, Any]]) -> bytes:
    """A Batch body for REST."""
    return msgspec.json.encode({"events": events})


def to_proto(event: dict[str, Any]) -> bytes:
    """A Track message, its properties as JSON text, as our clients send them."""
    return ingest_service_pb2.TrackRequest(**_to_fields(event)).SerializeToString()


def to_proto_batch(events: Sequence[dict[str, Any]]) -> bytes:
    """A Batch message."""
    message = ingest_service_pb2.BatchRequest()
    for event in events:
        message.events.add(**_to_fields(event))
    return message.SerializeToString()


def with_ids(events: Sequence[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """The events with ids that hold the placeholder, for bodies whose ids `number_bodies` makes unique."""
    mark = ID_PLACEHOLDER.decode()
    return [{**event, "event_id": f"{name}-{mark}-{index:03d}"} for index, event in enumerate(events)]


def number_bodies(bodies: Sequence[bytes]) -> Iterator[bytes]:
    """Repeat the bodies for ever; the placeholder in each becomes the number of the request."""
    number = 0
    while True:
        for body in bodies:
            number += 1
            yield body.replace(ID_PLACEHOLDER, b"%08d" % number) if ID_PLACEHOLDER in body else body


def _to_fields(event: dict[str, Any]) -> dict[str, Any]:
    fields = {**event, "properties_json": msgspec.json.encode(event["properties"]).decode()}
    del fields["properties"]
    return fields
