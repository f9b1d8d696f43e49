"""The messages of millimetric/v1/attribution.proto. Made by `make generate`: don't edit it."""

from msgspec import UNSET, UnsetType

from millimetric_server.api.message import Message
from millimetric_server.api.messages.event import Event, StoredEvent
from millimetric_server.api.messages.ingest import DropReason


class ExplainRequest(Event):
    """An event to explain; nothing of it is stored."""

    rule_set: str | None = None


class AttributionParameter(Message):
    """An attribution parameter that was found."""

    name: str
    value: str


class PassedRule(Message):
    """A rule that did not fire."""

    rule_id: str
    reason: str


class DeviceExplanation(Message):
    """What a user agent says about a device."""

    device_type: str
    browser: str
    os: str
    looks_like_bot: bool
    is_bot: bool


class Redaction(Message):
    """A field that is not stored as sent."""

    field: str
    removed: list[str]


class AttributionExplanation(Message):
    """An attribution and how it was derived."""

    rule_set: str
    rule_id: str
    source: str
    medium: str
    campaign: str
    confidence: str
    parameters: list[AttributionParameter]
    page_host: str
    referrer_host: str
    passed_over: list[PassedRule]


class ExplainResponse(Message):
    """How an event would be stored, step by step."""

    attribution: AttributionExplanation
    device: DeviceExplanation
    country: str
    redactions: list[Redaction]
    row: StoredEvent
    dropped: DropReason | UnsetType = UNSET
    redaction_version: str = ""
