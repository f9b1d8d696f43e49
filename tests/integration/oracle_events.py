"""Histories of events for the oracle: late, repeated, tied, without fields, around the odd days of calendars."""

import string
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from hypothesis import strategies as st

from integration.oracle_calendar import to_us
from integration.stores import make_row
from millimetric_server.enrich.event_row import EventRow

EVENTS = ("signup", "signup", "purchase", "purchase", "$identify", "Öffnen")
VISITORS = ("ann", "ann", "ann", "bob", "bob", "d-4", "Ünal", "it's")
SOURCES = ("", "direct", "google", "Google", "fácebook", "internal", "internal", "internal")
MEDIUMS = ("", "paid", "paid", "organic", "direct")
OTHERS = {
    "user_id": ("", "u1", "u2"),
    "path": ("", "/", "/pricing", "/é?"),
    "url": ("", "https://a.test/pricing?q=1", "https://b.a.test/?utm_content=x%20y+z&utm_term=%C3%BC&utm_content=no"),
    "referrer": ("", "https://b.test/"),
    "campaign": ("", "spring", "Ümlaut, 'quoted'"),
    "source_confidence": ("high", "low"),
    "country": ("", "DE", "AT"),
    "device_type": ("", "mobile", "desktop"),
    "browser": ("", "Firefox", "Chrome"),
    "os": ("", "Linux"),
    "ip_hash": ("", "ab"),
}
# Changes of clocks, and ends of months, weeks and years.
ANCHORS = {
    "2026-03-29T01:00:00+00:00": "Europe/Berlin",
    "2026-10-25T01:00:00+00:00": "Europe/Berlin",
    "2026-03-08T07:00:00+00:00": "America/New_York",
    "2026-11-01T06:00:00+00:00": "America/New_York",
    "2026-05-31T18:30:00+00:00": "Asia/Kolkata",
    "2026-04-04T15:00:00+00:00": "Australia/Lord_Howe",
    "2026-10-03T15:30:00+00:00": "Australia/Lord_Howe",
    "2011-12-30T10:00:00+00:00": "Pacific/Apia",  # a day that never was
    "2026-09-06T04:00:00+00:00": "America/Santiago",  # forward at midnight
    "2026-11-01T05:00:00+00:00": "America/Havana",  # two midnights
    "2026-01-01T00:00:00+00:00": "UTC",
    "2026-06-01T00:00:00+00:00": "UTC",  # a Monday
    "2024-02-29T00:00:00+00:00": "Asia/Kathmandu",
}
SECOND, MINUTE, HOUR, DAY = 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000
# When the first block is received, in 2090: ids are known again for a week after that, by the clock of this machine.
RECEIVED_US = 3_800_000_000_000_000
_RETENTION_DAYS = 25_000  # longer than any test, and still a date that ClickHouse has
_NEAR = (
    *(0, 0, 0, 0, 0, HOUR, -HOUR, HOUR, 30 * MINUTE, -30 * MINUTE),  # many at once
    *(1, -1, SECOND, -SECOND, 2 * HOUR, DAY, -DAY, 7 * DAY, -7 * DAY),
)
_HALF_HOUR_S = 1800

# Keys and values of properties meet each other and the filters' values, so few of each.
KEYS = ("plan", "n", "a", "ключ", "it's", 'q"', "a.b", " ", "0", "\\")
TEXTS = (
    "",
    "pro",
    "Pro",
    "10",
    "9",
    "1.0",
    "1e1",
    "null",
    "true",
    "{}",
    "ß",
    'say "hi"',
    "it's",
    "%_",
    "-",
    "\\n",
    "\u0661",
)
NUMBERS = (0, 1, 9, 10, -1, 1.0, 0.5, 9.5, -2.25, 1e20, 1e-7, 123456789012, 2**53, 0.1)
_leaves = st.one_of(
    st.none(), st.booleans(), st.sampled_from(NUMBERS), st.sampled_from(TEXTS), st.just({}), st.just([])
)
_values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=2),
    max_leaves=4,
)
_properties = st.dictionaries(st.sampled_from(KEYS), _values, max_size=4)


@dataclass(frozen=True)
class History:
    """Blocks of rows in the order in which they are sent, of projects that are named by a digit."""

    timezone: str
    anchor_us: int
    blocks: tuple[tuple[EventRow, ...], ...]

    @property
    def rows(self) -> list[EventRow]:
        """The rows that count: of a repeated id the first."""
        kept: dict[tuple[str, str], EventRow] = {}
        for block in self.blocks:
            for row in block:
                kept.setdefault((row.project_id, row.event_id), row)
        return list(kept.values())


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Make one history near one odd moment of the calendar."""
    anchor, timezone = draw(st.sampled_from(sorted(ANCHORS.items())))
    anchor_us = to_us(datetime.fromisoformat(anchor))
    blocks = []
    for number in range(draw(st.integers(1, 3))):
        least = draw(st.sampled_from((14, 14, 8, 0)))
        row = _rows(anchor_us, RECEIVED_US + number * HOUR)
        blocks.append(draw(st.lists(row, min_size=least, max_size=least + 6)))
    return History(timezone, anchor_us, tuple(tuple(block) for block in blocks))


@st.composite
def times(draw: st.DrawFn, anchor_us: int) -> int:
    """Pick a time near the anchor: edges of hours and days, and anything between."""
    time = anchor_us + draw(st.sampled_from(_NEAR))
    if draw(st.integers(0, 2)) == 0:
        time += draw(st.sampled_from((SECOND, 20 * MINUTE, HOUR, HOUR, DAY, 12 * DAY))) * draw(st.integers(-3, 3))
    if draw(st.integers(0, 7)) == 0:
        time += draw(st.integers(-2 * HOUR, 2 * HOUR))
    return time


@st.composite
def _rows(draw: st.DrawFn, anchor_us: int, received_at: int) -> EventRow:
    time = draw(times(anchor_us))
    visitor = draw(st.sampled_from(VISITORS))
    values: dict[str, Any] = {name: draw(st.sampled_from(choice)) for name, choice in OTHERS.items()}
    return make_row(
        project_id=draw(st.sampled_from("001")),
        event_id=draw(st.sampled_from(("", "Z", "é", "~"))) + draw(st.sampled_from(string.ascii_letters + "ß中")),
        event=draw(st.sampled_from(EVENTS)),
        timestamp=time,
        received_at=received_at,
        anonymous_id=visitor,
        session_id=draw(_session_ids(anchor_us, visitor, time)),
        source=draw(st.sampled_from(SOURCES)),
        medium=draw(st.sampled_from(MEDIUMS)),
        is_bot=draw(st.integers(0, 5)) == 0,
        properties=msgspec.json.encode(draw(_properties)).decode(),
        retention_days=_RETENTION_DAYS,
        **values,
    )


@st.composite
def _session_ids(draw: st.DrawFn, anchor_us: int, visitor: str, time: int) -> str:
    """The server's own id, one that was kept beyond its half hour, or a caller's."""
    kind = draw(st.integers(0, 5))
    if kind < 2:
        return f"{visitor}-{time // SECOND // _HALF_HOUR_S}"
    if kind == 2:
        return f"{visitor}-{draw(times(anchor_us)) // SECOND // _HALF_HOUR_S}"
    return draw(
        st.sampled_from(("visit", "visit", "visit", "cart-1000000", "cart-0525888", "x-2278943", "x-9999999999"))
    )
