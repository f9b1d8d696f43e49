"""The messages of millimetric/v1/event.proto. Made by `make generate`: don't edit it."""

from msgspec import Raw

from millimetric_server.api.message import NO_JSON, Instant, Message


class EventContext(Message):
    """What a backend knows about the visitor for whom it sends the event."""

    ip: str | None = None
    user_agent: str | None = None


class StoredEvent(Message):
    """An event as it is stored and read back: what was sent, and what the server derived."""

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


class Event(Message):
    """An event as a caller sends it."""

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
