"""Checks an event: returns it checked, or everything that is wrong with it."""

import functools
from operator import attrgetter
from typing import Any

import msgspec

from millimetric_server.api.call import Call
from millimetric_server.api.errors import Violation, invalid_payload
from millimetric_server.api.json_faults import INTEGER_MAX, LEVELS_MAX, FaultError, find_in_properties
from millimetric_server.api.limits import CHARS_MAX, FUTURE_MAX_US, OLDEST_US, PROPERTIES_BYTES_MAX
from millimetric_server.api.messages import Ack, Event, EventContext
from millimetric_server.api.undecodable import UndecodableEvent
from millimetric_server.control.records import KeyKind
from millimetric_server.enrich.checked_event import CheckedEvent
from millimetric_server.enrich.client_ip import read_ip
from millimetric_server.enrich.url_parts import parse_url

_TEXT_LIMITS = tuple(CHARS_MAX.items())
_read_texts = attrgetter(*CHARS_MAX)  # in the order of CheckedEvent's texts
ACK_HEADER = "millimetric-ack"
_NO_CONTEXT = EventContext()

EMPTY = "{}"

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
# A run of 16 digits may be an integer beyond 2^53. All digits made 0, a plain search finds it six times as fast.
_TO_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_LONG_NUMBER = b"0" * 16
_SPACE = b" \t\r\n"
_ESCAPED_BYTES = 6  # of `\u0061`, which is one byte when it is compact


class RejectedEvent(msgspec.Struct, frozen=True):
    """An event that can't be stored: everything that is wrong with it. The event_id is as it was sent, or empty."""

    event_id: str
    violations: tuple[Violation, ...]


class CheckedWrite(msgspec.Struct, frozen=True):
    """A single event to store."""

    event: CheckedEvent
    ack: Ack


def check_event(event: Event, received_at: int, kind: KeyKind) -> CheckedEvent | RejectedEvent:
    """Check one event, received at that time (microseconds) with that kind of key, against all rules."""
    if isinstance(event, UndecodableEvent):
        return RejectedEvent(event.event_id or "", event.violations)
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
        problems.append(Violation("timestamp", "must be between 2000-01-01 and 24 hours from now"))
    properties = _check_properties(event, problems)
    # From other keys it is ignored: only a backend may speak for someone else.
    context = (event.context if kind is KeyKind.SECRET else None) or _NO_CONTEXT
    ip = read_ip(context.ip) if context.ip else ""
    if context.ip and not ip:
        problems.append(Violation("context.ip", "must be an IP address, with or without a port"))
    if problems:
        return RejectedEvent(event_id, tuple(problems))
    timestamp = None if event.timestamp is None else int(event.timestamp)  # msgpack knows no subclass of int
    return CheckedEvent(
        event=name,
        event_id=event_id,
        timestamp=timestamp,
        anonymous_id=anonymous_id,
        user_id=user_id,
        session_id=session_id,
        url=url,
        path=path,
        referrer=referrer,
        properties=properties,
        ip=ip,
        user_agent=context.user_agent or "",
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
    except FaultError as fault:
        problems.append(Violation(fault.place_in(field), str(fault)))
    except ValueError as error:
        problems.append(Violation(field, str(error)))
    return EMPTY


def _explain_text(text: str, chars_max: int) -> str:
    if "\0" in text:
        return "must not contain a NUL character"
    return f"must have at most {chars_max} characters, not {len(text)}"


def read_ack(ack: Ack, call: Call) -> Ack:
    """What the acknowledgement waits for: by the request, else by the header. Raises AppError invalid_payload."""
    text = call.headers.get(ACK_HEADER)
    if text is None or ack is not Ack.UNSPECIFIED:
        return ack
    try:
        return Ack(text.strip())
    except ValueError:
        raise invalid_payload((Violation(ACK_HEADER, "must be `stored` or `durable`"),)) from None


def read_properties(text: bytes | str) -> str:
    """Return a JSON object as compact text, the same value as was sent; absent or null is `{}`.

    Raises ValueError with a sentence for the caller, FaultError where one value inside is to blame.
    """
    if not text or text in (b"null", "null"):
        return EMPTY
    if _is_surely_too_long(text):  # before it is built, which takes 30 times as much
        raise ValueError(f"must be at most {PROPERTIES_BYTES_MAX} bytes as compact JSON")
    try:
        value = _decode(text)
        compact = _encode(value)
    except (msgspec.DecodeError, UnicodeError, ValueError, OverflowError, RecursionError) as error:
        raise _find_fault(text) or ValueError(_explain_object(error)) from None
    if len(compact) > PROPERTIES_BYTES_MAX:
        raise ValueError(f"must be at most {PROPERTIES_BYTES_MAX} bytes as compact JSON, not {len(compact)}")
    may_be_bad = compact.count(b"{") + compact.count(b"[") > LEVELS_MAX or _LONG_NUMBER in compact.translate(_TO_ZEROS)
    if may_be_bad and not _is_kept(value, LEVELS_MAX) and (fault := _find_fault(text)) is not None:
        raise fault
    return compact.decode()


def _is_kept(value: Any, levels: int) -> bool:
    """Tell whether a value comes back as it was sent: it has few levels, and no integer that is too large."""
    if isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return levels > 0 and all(_is_kept(item, levels - 1) for item in items)
    return not isinstance(value, int) or abs(value) <= INTEGER_MAX


def _find_fault(text: bytes | str) -> FaultError | None:
    return find_in_properties(text if isinstance(text, str) else text.decode(errors="replace"))


def _is_surely_too_long(text: bytes | str) -> bool:
    """Tell whether even the shortest compact form is too long."""
    if len(text) <= PROPERTIES_BYTES_MAX * _ESCAPED_BYTES:
        return False
    content = text if isinstance(text, bytes) else text.encode()
    return len(content.translate(None, _SPACE)) > PROPERTIES_BYTES_MAX * _ESCAPED_BYTES


def _explain_object(error: Exception) -> str:
    if isinstance(error, msgspec.ValidationError):
        return "must be a JSON object"
    return "must be a JSON object; NaN and Infinity are not JSON"
