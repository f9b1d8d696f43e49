"""What events must look like: from messages as they were sent to checked ones, or every violation by name."""

import functools
from collections.abc import Sequence
from operator import attrgetter

import msgspec

from millimetric_server.api.call import Call
from millimetric_server.api.errors import Violation, invalid_payload
from millimetric_server.api.limits import BATCH_EVENTS_MAX, CHARS_MAX, FUTURE_MAX_US, OLDEST_US, make_too_many
from millimetric_server.api.messages import (
    Ack,
    BatchMode,
    BatchRequest,
    Event,
    EventContext,
    IdentifyRequest,
    Message,
    TrackRequest,
    TrackStreamRequest,
)
from millimetric_server.api.undecodable import UndecodableEvent
from millimetric_server.enrich.checked_event import CheckedEvent
from millimetric_server.enrich.url_parts import parse_url
from millimetric_server.ingest.check_properties import EMPTY, read_properties

_TEXT_LIMITS = tuple(CHARS_MAX.items())
_read_texts = attrgetter(*CHARS_MAX)  # in the order of CheckedEvent's texts
ACK_HEADER = "millimetric-ack"
IDENTIFY_EVENT = "$identify"
_NO_CONTEXT = EventContext()
_NO_EVENT = Event()


class StreamGroup(Message):
    """Messages of a stream that are carried out together."""

    requests: list[TrackStreamRequest]


class CheckedTrack(msgspec.Struct, frozen=True):
    """A Track or Identify to carry out."""

    event: CheckedEvent
    ack: Ack


class CheckedBatch(msgspec.Struct, frozen=True):
    """A Batch or a group of a stream to carry out.

    A rejected event is its violations, and stands only where each event has its own outcome.
    """

    events: Sequence[CheckedEvent | tuple[Violation, ...]]
    sent_ids: Sequence[str]  # the event_id that came with each, or empty
    is_per_event: bool
    ack: Ack
    sequences: Sequence[int] = ()  # of a stream: the caller's numbers


def validate_track(request: TrackRequest, call: Call) -> CheckedTrack:
    """Check a Track. Raises AppError invalid_payload."""
    call.uncounted_events = 1
    checked = check_event(request, call.received_at)
    if isinstance(checked, tuple):
        raise invalid_payload(checked)
    return CheckedTrack(checked, _read_ack(request.ack, call))


def validate_batch(request: BatchRequest, call: Call) -> CheckedBatch:
    """Check a Batch. Raises AppError invalid_payload that names every bad index."""
    if len(request.events) > BATCH_EVENTS_MAX:
        raise make_too_many("events")
    call.uncounted_events = len(request.events)
    if not request.events:
        raise invalid_payload((Violation("events", f"must hold 1 to {BATCH_EVENTS_MAX} events, not 0"),))
    events = [check_event(event, call.received_at) for event in request.events]
    is_per_event = request.mode is BatchMode.PER_EVENT
    if not is_per_event:
        problems = [
            Violation(f"events[{index}].{problem.field}", problem.message)
            for index, checked in enumerate(events)
            if isinstance(checked, tuple)
            for problem in checked
        ]
        if problems:
            raise invalid_payload(problems)
    sent_ids = [event.event_id or "" for event in request.events]
    return CheckedBatch(events, sent_ids, is_per_event, _read_ack(request.ack, call))


def validate_track_stream(group: StreamGroup, call: Call) -> CheckedBatch:
    """Check a group of a stream; every event has its own outcome. Raises AppError for a bad ack only."""
    call.uncounted_events = len(group.requests)
    sent = [request.event or _NO_EVENT for request in group.requests]
    events = [check_event(event, call.received_at) for event in sent]
    sequences = tuple(request.sequence or 0 for request in group.requests)
    ack = _read_ack(Ack.UNSPECIFIED, call)
    return CheckedBatch(
        events, [event.event_id or "" for event in sent], is_per_event=True, ack=ack, sequences=sequences
    )


def validate_identify(request: IdentifyRequest, call: Call) -> CheckedTrack:
    """Check an Identify and make it the event that it is stored as. Raises AppError invalid_payload."""
    call.uncounted_events = 1
    problems = [Violation(name, "is required") for name in ("anonymous_id", "user_id") if not getattr(request, name)]
    event = Event(
        event=IDENTIFY_EVENT,
        event_id=request.event_id,
        timestamp=request.timestamp,
        anonymous_id=request.anonymous_id,
        user_id=request.user_id,
        properties=request.traits,
        properties_json=request.traits_json,
        context=request.context,
    )
    checked = check_event(event, call.received_at)
    if isinstance(checked, tuple):
        problems += [Violation(problem.field.replace("properties", "traits"), problem.message) for problem in checked]
    if problems or isinstance(checked, tuple):
        raise invalid_payload(problems)
    return CheckedTrack(checked, _read_ack(request.ack, call))


def check_event(event: Event, received_at: int) -> CheckedEvent | tuple[Violation, ...]:
    """Check one event against all rules; return it, or everything that is wrong with it."""
    if isinstance(event, UndecodableEvent):
        return event.violations
    problems: list[Violation] = []
    texts = [text or "" for text in _read_texts(event)]
    name, event_id, anonymous_id, user_id, session_id, url, path, referrer = texts
    if not name:
        problems.append(Violation("event", "is required"))
    for text, (field, chars_max) in zip(texts, _TEXT_LIMITS, strict=True):
        if len(text) > chars_max or "\0" in text:
            problems.append(Violation(field, _explain_text(text, chars_max)))
    if url and "url" not in [problem.field for problem in problems] and not _is_url(url):
        problems.append(Violation("url", "must be an absolute URL, such as https://example.com/pricing"))
    if event.timestamp is not None and not OLDEST_US <= event.timestamp <= received_at + FUTURE_MAX_US:
        problems.append(Violation("timestamp", "must lie between 2000-01-01 and 24 hours from now"))
    properties = _check_properties(event, problems)
    if problems:
        return tuple(problems)
    context = event.context or _NO_CONTEXT
    timestamp = None if event.timestamp is None else int(event.timestamp)  # msgpack knows no subclass of int
    return CheckedEvent(
        name,
        event_id,
        timestamp,
        anonymous_id,
        user_id,
        session_id,
        url,
        path,
        referrer,
        properties,
        context.ip or "",
        context.user_agent or "",
    )


@functools.lru_cache(8192)
def _is_url(text: str) -> bool:
    return parse_url(text) is not None


def _check_properties(event: Event, problems: list[Violation]) -> str:
    raw = bytes(event.properties)
    has_object = raw not in (b"", b"null")
    field = "properties_json" if event.properties_json else "properties"
    try:
        if has_object and event.properties_json:
            raise ValueError("can't be sent together with properties: send one of the two")  # noqa: TRY301
        return read_properties(event.properties_json or raw)
    except ValueError as error:
        problems.append(Violation(field, str(error)))
        return EMPTY


def _explain_text(text: str, chars_max: int) -> str:
    if "\0" in text:
        return "must not hold a NUL character"
    return f"must have at most {chars_max} characters, not {len(text)}"


def _read_ack(ack: Ack, call: Call) -> Ack:
    text = call.headers.get(ACK_HEADER)
    if text is None or ack is not Ack.UNSPECIFIED:
        return ack
    try:
        return Ack(text.strip())
    except ValueError:
        raise invalid_payload((Violation(ACK_HEADER, "must be `stored` or `durable`"),)) from None
