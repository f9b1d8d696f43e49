"""What Track, Batch and Identify share: the facts of the request, the append, the wait for the store."""

import functools
import hashlib
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any

import msgspec

from millimetric_server.call import Call, Deps
from millimetric_server.control.origins import read_hosts
from millimetric_server.control.records import KeyKind
from millimetric_server.enrich.checked_event import CheckedEvent
from millimetric_server.enrich.event_row import EventRow
from millimetric_server.enrich.pipeline import Surroundings, enrich
from millimetric_server.enrich.privacy import client_ip, is_opted_out
from millimetric_server.enrich.user_agent import NO_HINTS, ClientHints
from millimetric_server.journal.journal import Appended
from millimetric_server.journal.seen import NewEvent
from millimetric_server.messages import Ack

_encode = msgspec.msgpack.Encoder().encode


def has_opted_out(call: Call) -> bool:
    """Tell whether a browser's visitor asks not to be counted."""
    get = call.headers.get
    return call.key.kind is KeyKind.PUBLIC and is_opted_out(
        get("sec-gpc", ""), get("dnt", ""), get("millimetric-ignore-opt-out", "")
    )


def store_events(
    events: Sequence[CheckedEvent], ack: Ack, call: Call, deps: Deps
) -> Generator["Future[Any]", Any, tuple[list[EventRow], Appended]]:
    """Enrich and append the events; returns once they are durable, or stored when that was asked for."""
    around = read_surroundings(call, deps)
    rows = [enrich(event, around) for event in events]
    new = [NewEvent(row, _digest(event) if event.event_id else b"") for row, event in zip(rows, events, strict=True)]
    appended: Appended = yield deps.journal.append(new)
    if ack is Ack.STORED:
        yield deps.loader.wait_loaded(appended.seq)
    return rows, appended


def read_surroundings(call: Call, deps: Deps) -> Surroundings:
    """Gather what the call's events are enriched with."""
    get, project = call.headers.get, call.project
    return Surroundings(
        project_id=project.project_id,
        rule_set=project.rule_set,
        retention_days=project.retention_days,
        own_hosts=read_hosts(project.origins),
        is_public_key=call.key.kind is KeyKind.PUBLIC,
        is_secret_key=call.key.kind is KeyKind.SECRET,
        received_at=call.received_at,
        day=_read_day(call.received_at // 86_400_000_000),
        ip=client_ip(call.peer, get("x-forwarded-for", ""), deps.trusted_proxies),
        user_agent=get("user-agent", ""),
        hints=_read_hints(call) if "sec-ch-ua" in call.headers else NO_HINTS,
        referrer=get("referer", ""),
        ip_salt=deps.secrets.ip_salt,
        identity_key=deps.secrets.identity_key,
        find_country=deps.countries.country,
    )


def _read_hints(call: Call) -> ClientHints:
    names = (
        "sec-ch-ua",
        "sec-ch-ua-mobile",
        "sec-ch-ua-platform",
        "sec-ch-ua-platform-version",
        "sec-ch-ua-model",
    )
    return ClientHints(*(call.headers.get(name, "") for name in names))


@functools.lru_cache(8)
def _read_day(days: int) -> str:
    return datetime.fromtimestamp(days * 86_400, UTC).date().isoformat()


def _digest(event: CheckedEvent) -> bytes:
    """A hash of what was sent, to tell a repeated event from another one under the same id."""
    return hashlib.blake2b(_encode(event), digest_size=8).digest()
