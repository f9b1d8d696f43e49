"""An event as it is sent (proto/millimetric/v1/event.proto) and as it is read back."""

from msgspec import Raw

from millimetric_server.api.errors import Violation
from millimetric_server.api.messages.base import Instant, Message

NO_JSON = Raw(b"")


class EventContext(Message):
    """What a backend knows of the visitor on whose behalf it speaks."""

    ip: str | None = None
    user_agent: str | None = None


class Event(Message):
    """An event as a caller sends it, not yet validated."""

    event: str | None = None
    event_id: str | None = None
    timestamp: Instant | None = None
    anonymous_id: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    url: str | None = None
    path: str | None = None
    referrer: str | None = None
    properties: Raw = NO_JSON
    properties_json: str | None = None
    context: EventContext | None = None


class UndecodableEvent(Event):
    """Stands in a batch for an event whose JSON has the wrong types, so that the others can still be judged."""

    violations: tuple[Violation, ...] = ()


class StoredEvent(Message):
    """An event as it is read back; `properties` is the text of a JSON object."""

    event: str
    event_id: str
    timestamp: Instant
    anonymous_id: str
    user_id: str
    session_id: str
    url: str
    path: str
    referrer: str
    properties: str
    received_at: Instant
    source: str
    medium: str
    campaign: str
    source_confidence: str
    source_rule_id: str
    rule_set: str
    country: str
    device_type: str
    browser: str
    os: str
    is_bot: bool
    ip_hash: str
