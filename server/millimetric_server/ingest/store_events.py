"""What Track, Batch, Identify and TrackStream share: the request's facts, the append, the wait for the store."""

import contextlib
import functools
import hashlib
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime

import msgspec
from msgspec import UNSET

from millimetric_server.api.call import Call
from millimetric_server.api.errors import Reason
from millimetric_server.api.messages import Ack, DropReason, EventOutcome, FieldError, Outcome
from millimetric_server.api.pending import Pending
from millimetric_server.control.origins import read_hosts
from millimetric_server.control.records import KeyKind
from millimetric_server.enrich.checked_event import CheckedEvent
from millimetric_server.enrich.client_ip import client_ip
from millimetric_server.enrich.event_row import EventRow
from millimetric_server.enrich.pipeline import EnrichmentContext, enrich
from millimetric_server.enrich.privacy import is_opted_out
from millimetric_server.enrich.user_agent import NO_HINTS, ClientHints
from millimetric_server.ingest.check_event import CheckedWrite, RejectedEvent
from millimetric_server.ingest.deps import IngestDeps
from millimetric_server.journal.entries import Appended, FirstAnswer, NewEvent
from millimetric_server.loading.errors import EventsRefusedError

MICROSECONDS_A_DAY = 86_400_000_000
_NOBODY: AbstractSet[int] = frozenset()

# An event's row, and None, or what became of it instead: it is a duplicate of another, or was dropped.
StoredEvent = tuple[EventRow, FirstAnswer | DropReason | None]
_encode = msgspec.msgpack.Encoder().encode


def drop_opted_out(call: Call) -> bool:
    """Tell whether a browser's visitor has opted out; if so, the call's events are dropped."""
    get = call.headers.get
    has_opted_out = call.key.kind is KeyKind.PUBLIC and is_opted_out(
        get("sec-gpc", ""), get("dnt", ""), get("millimetric-ignore-opt-out", "")
    )
    if has_opted_out:
        call.owed.drop(call.owed.unsettled, DropReason.OPT_OUT.value)
    return has_opted_out


async def store_events(events: Sequence[CheckedEvent], ack: Ack, call: Call, deps: IngestDeps) -> list[StoredEvent]:
    """Enrich and append the events; returns once they are durable, or stored when that was asked for.

    Late replays of forgotten people are left out. Raises NotAppendedError, or AppError overloaded when too many calls
    of the project wait for the store: nothing was stored. While it waits for the store, it raises EventsDelayedError
    and EventsRefusedError.
    """
    is_awaited = ack is Ack.STORED
    with deps.loader.waiters.hold(call.project.project_id) if is_awaited else contextlib.nullcontext():
        context = read_context(call, deps)
        rows = [enrich(event, context) for event in events]
        erased = _NOBODY
        if call.project.project_id in deps.journal.erasures.projects:
            erased = find_erased(rows, deps)
            call.owed.drop(len(erased), DropReason.ERASED.value)
        new = [
            NewEvent(row, _digest(event) if event.event_id else b"", context.is_public_key)
            for number, (row, event) in enumerate(zip(rows, events, strict=True))
            if number not in erased
        ]
        if not new:
            return [(row, DropReason.ERASED) for row in rows]
        appending = deps.journal.append(new)
        # What follows is for the row's sake, not for the caller's: so it happens even if the caller is gone by then.
        if call.project.project_id in deps.followers.followed:
            appending.add_done_callback(functools.partial(deps.followers.tell, [event.row for event in new]))
        appended = await Pending(appending)
        call.owed.settle(len(new))
        if is_awaited:
            await _await_stored([event.row for event in new], appended, call, deps)
    firsts = iter(appended.firsts)
    return [(row, DropReason.ERASED if number in erased else next(firsts)) for number, row in enumerate(rows)]


def find_erased(rows: Sequence[EventRow], deps: IngestDeps) -> AbstractSet[int]:
    """Find, by number, late replays of forgotten people."""
    covers = deps.journal.erasures.covers
    return {number for number, row in enumerate(rows) if covers(msgspec.structs.astuple(row))}


async def _await_stored(rows: Sequence[EventRow], appended: Appended, call: Call, deps: IngestDeps) -> None:
    await Pending(deps.loader.wait_loaded(appended.entries))
    repeated = {
        (row.event_id, first.received_at) for row, first in zip(rows, appended.firsts, strict=True) if first is not None
    }
    if repeated and await Pending(deps.journal.find_dead_letters(call.project.project_id, repeated)):
        raise EventsRefusedError


async def store_one(
    request: CheckedWrite, call: Call, deps: IngestDeps
) -> tuple[EventRow, FirstAnswer | None] | DropReason:
    """Store the call's only event; returns its row and what a duplicate is answered, or why it was dropped."""
    if drop_opted_out(call):
        return DropReason.OPT_OUT
    if is_too_old(request.event, call):
        call.owed.drop(1, DropReason.OLDER_THAN_RETENTION.value)
        return DropReason.OLDER_THAN_RETENTION
    ((row, found),) = await store_events([request.event], request.ack, call, deps)
    return found if isinstance(found, DropReason) else (row, found)


async def store_each(
    events: Sequence[CheckedEvent | RejectedEvent], ack: Ack, call: Call, deps: IngestDeps
) -> list[EventOutcome]:
    """Store the events that are good; returns the outcome of each, in order."""
    good: list[CheckedEvent] = []
    refused: list[EventOutcome | None] = []
    rejected = 0
    for event in events:
        if isinstance(event, RejectedEvent):
            refused.append(_reject(event))
            rejected += 1
        elif is_too_old(event, call):
            refused.append(_drop(event.event_id, DropReason.OLDER_THAN_RETENTION))
        else:
            good.append(event)
            refused.append(None)
    call.owed.reject(rejected, Reason.INVALID_PAYLOAD.value)
    call.owed.drop(len(events) - len(good) - rejected, DropReason.OLDER_THAN_RETENTION.value)
    stored = iter(await store_events(good, ack, call, deps) if good else ())
    sent = iter(good)
    return [one or _tell(next(sent), *next(stored)) for one in refused]


def is_too_old(event: CheckedEvent, call: Call) -> bool:
    """Tell whether the retention of the call's project has passed since the event."""
    oldest = call.received_at - call.project.retention_days * MICROSECONDS_A_DAY
    return event.timestamp is not None and event.timestamp < oldest


def _reject(event: RejectedEvent) -> EventOutcome:
    errors = [FieldError(violation.field, violation.message) for violation in event.violations]
    reason = Reason.INVALID_PAYLOAD.value
    return EventOutcome(Outcome.REJECTED, event.event_id or UNSET, reason=reason, field_errors=errors)


def _drop(event_id: str, reason: DropReason) -> EventOutcome:
    return EventOutcome(Outcome.DROPPED, event_id or UNSET, reason=reason.value)


def _tell(event: CheckedEvent, row: EventRow, found: FirstAnswer | DropReason | None) -> EventOutcome:
    if isinstance(found, DropReason):
        return _drop(event.event_id, found)
    return EventOutcome(Outcome.STORED if found is None else Outcome.DUPLICATE, row.event_id)


def read_context(call: Call, deps: IngestDeps) -> EnrichmentContext:
    """Gather what the call's events are enriched with."""
    get, project = call.headers.get, call.project
    return EnrichmentContext(
        project_id=project.project_id,
        rule_set=project.rule_set,
        retention_days=project.retention_days,
        own_hosts=read_hosts(project.origins),
        ignored_hosts=project.ignored_referrers,
        kept_parameters=project.kept_parameters,
        is_public_key=call.key.kind is KeyKind.PUBLIC,
        is_secret_key=call.key.kind is KeyKind.SECRET,
        received_at=call.received_at,
        day=_read_day(call.received_at // MICROSECONDS_A_DAY),
        ip=client_ip(call.peer, call.headers, deps.trusted_proxies),
        user_agent=get("user-agent", ""),
        hints=_read_hints(call) if "sec-ch-ua" in call.headers else NO_HINTS,
        ip_salt=deps.ip_salt,
        identity_key=deps.identity_key,
        find_country=deps.find_country,
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
    """A hash of what was sent, which distinguishes a repeated event from a different one with the same id."""
    return hashlib.blake2b(_encode(event), digest_size=8).digest()
