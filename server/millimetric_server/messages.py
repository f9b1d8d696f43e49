"""The API's messages as the core sees them: the same names as in proto/, free of any wire format.

Transports turn protobuf and JSON into these and back; tests/repo holds them against the protos field by field.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Self

import msgspec
from msgspec import UNSET, Raw, UnsetType, field

from millimetric_server.errors import Violation

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
NO_JSON = Raw(b"")


class Instant(int):
    """A time as microseconds since 1970-01-01 UTC."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read RFC 3339 or ISO 8601; no zone means UTC. Raises ValueError with a sentence for the caller."""
        try:
            moment = datetime.fromisoformat(text.upper())
        except ValueError:
            raise ValueError("must be a time such as 2026-01-31T12:00:00Z (RFC 3339)") from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return cls((moment - EPOCH) // _MICROSECOND)

    def to_text(self) -> str:
        """Write RFC 3339 in UTC, with as many digits of a second as are needed (0, 3 or 6)."""
        moment = EPOCH + timedelta(microseconds=self)
        precision = "seconds" if self % 1_000_000 == 0 else "milliseconds" if self % 1000 == 0 else "microseconds"
        return moment.replace(tzinfo=None).isoformat(timespec=precision) + "Z"


class WireEnum(StrEnum):
    """An enum of the protos by its short name; the full name, in any case, is understood too."""

    @classmethod
    def _missing_(cls, value: object) -> "WireEnum | None":
        if not isinstance(value, str):
            return None
        word = value.lower()
        for member in cls:
            if word in (member.value, f"{cls.prefix()}{member.value}".lower()):
                return member
        return cls._member_map_.get("UNSPECIFIED") if word == f"{cls.prefix()}unspecified" else None  # type: ignore[return-value]

    @classmethod
    def prefix(cls) -> str:
        """What the protos put before each name, in lower case: `batch_mode_` for BatchMode."""
        words = "".join(f"_{c.lower()}" if c.isupper() else c for c in cls.__name__)
        return words.lstrip("_") + "_"


class Ack(WireEnum):
    """When a write is answered."""

    UNSPECIFIED = ""
    DURABLE = "durable"
    STORED = "stored"


class DropReason(WireEnum):
    """Why an accepted event was deliberately not stored."""

    UNSPECIFIED = ""
    OPT_OUT = "opt_out"


class BatchMode(WireEnum):
    """How a batch treats an event that does not validate."""

    UNSPECIFIED = ""
    ALL_OR_NOTHING = "all_or_nothing"
    PER_EVENT = "per_event"


class Outcome(WireEnum):
    """What became of one event."""

    UNSPECIFIED = ""
    STORED = "stored"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


class ErasureState(WireEnum):
    """How far an erasure is."""

    UNSPECIFIED = ""
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"


class FilterOp(WireEnum):
    """How a filter compares."""

    UNSPECIFIED = ""
    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GE = "ge"
    LT = "lt"
    LE = "le"
    IN = "in"
    CONTAINS = "contains"
    EXISTS = "exists"


class Metric(WireEnum):
    """What Stats measures."""

    UNSPECIFIED = ""
    COUNT = "count"
    UNIQUES = "uniques"


class Interval(WireEnum):
    """How long a bucket is."""

    UNSPECIFIED = ""
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Breakdown(WireEnum):
    """How Sources divides."""

    UNSPECIFIED = ""
    SOURCE_MEDIUM = "source_medium"
    SOURCE = "source"


class Message(msgspec.Struct, gc=False):
    """The base of all messages. An absent string is empty; what must not be shown when absent is UNSET."""


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


class TrackRequest(Event):
    """An event to store."""

    ack: Ack = Ack.UNSPECIFIED


class TrackResponse(Message):
    """The ids under which the event is stored, or why it was dropped."""

    ok: bool
    event_id: str | UnsetType = UNSET
    anonymous_id: str | UnsetType = UNSET
    session_id: str | UnsetType = UNSET
    duplicate: bool | UnsetType = UNSET
    dropped: DropReason | UnsetType = UNSET


class BatchRequest(Message):
    """Events to store together."""

    events: list[Event] = field(default_factory=list)
    mode: BatchMode = BatchMode.UNSPECIFIED
    ack: Ack = Ack.UNSPECIFIED


class FieldError(Message):
    """What is wrong with one field."""

    field: str
    message: str


class EventOutcome(Message):
    """What became of one event of a batch."""

    outcome: Outcome
    event_id: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    field_errors: list[FieldError] | UnsetType = UNSET


class BatchResponse(Message):
    """What became of the batch."""

    ok: bool
    count: int | UnsetType = UNSET
    duplicates: int | UnsetType = UNSET
    outcomes: list[EventOutcome] | UnsetType = UNSET
    dropped: DropReason | UnsetType = UNSET


class IdentifyRequest(Message):
    """A device and the person who uses it."""

    anonymous_id: str | None = None
    user_id: str | None = None
    traits: Raw = NO_JSON
    traits_json: str | None = None
    event_id: str | None = None
    timestamp: Instant | None = None
    context: EventContext | None = None
    ack: Ack = Ack.UNSPECIFIED


class IdentifyResponse(Message):
    """The answer to Identify."""

    ok: bool
    dropped: DropReason | UnsetType = UNSET


class ForgetRequest(Message):
    """Whom to forget: exactly one of the two."""

    user_id: str | None = None
    anonymous_id: str | None = None


class ForgetResponse(Message):
    """The receipt."""

    ok: bool
    queued: bool
    erasure_id: str


class GetErasureRequest(Message):
    """Which erasure."""

    erasure_id: str | None = None


class GetErasureResponse(Message):
    """An erasure and what it removed."""

    erasure_id: str
    state: ErasureState
    requested_at: Instant
    completed_at: Instant | UnsetType
    rows_removed: Mapping[str, int]
    residual: int


class Filter(Message):
    """A condition on a column or a property."""

    column: str = ""
    op: FilterOp = FilterOp.UNSPECIFIED
    values: list[str] = field(default_factory=list)


class QueryRequest(Message):
    """Which events to read."""

    project: str | None = None
    from_: Instant | None = field(default=None, name="from")
    to: Instant | None = None
    event: str | None = None
    source: str | None = None
    medium: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    filter: list[Filter] = field(default_factory=list)
    limit: int | None = None
    page_token: str | None = None


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


class QueryResponse(Message):
    """A page of events."""

    rows: list[StoredEvent]
    next_page_token: str | UnsetType = UNSET


class StatsRequest(Message):
    """What to count."""

    project: str | None = None
    from_: Instant | None = field(default=None, name="from")
    to: Instant | None = None
    metric: Metric = Metric.UNSPECIFIED
    event: str | None = None
    filter: list[Filter] = field(default_factory=list)
    group_by: list[str] = field(default_factory=list)
    interval: Interval = Interval.UNSPECIFIED
    timezone: str | None = None
    limit: int | None = None
    include_bots: bool = False


class StatsRow(Message):
    """One figure. Of the group columns only those that were asked for are set."""

    event_name: str | UnsetType = UNSET
    source: str | UnsetType = UNSET
    medium: str | UnsetType = UNSET
    campaign: str | UnsetType = UNSET
    country: str | UnsetType = UNSET
    device_type: str | UnsetType = UNSET
    browser: str | UnsetType = UNSET
    os: str | UnsetType = UNSET
    path: str | UnsetType = UNSET
    bucket: str | UnsetType = UNSET
    value: int = 0


class StatsResponse(Message):
    """Figures, largest first, or by bucket when there is an interval."""

    rows: list[StatsRow]


class SourcesRequest(Message):
    """Which visits."""

    project: str | None = None
    from_: Instant | None = field(default=None, name="from")
    to: Instant | None = None
    breakdown: Breakdown = Breakdown.UNSPECIFIED
    limit: int | None = None
    include_bots: bool = False


class SourcesRow(Message):
    """One source of visits."""

    source: str
    medium: str | UnsetType
    events: int
    uniques: int
    paid_share: float


class SourcesResponse(Message):
    """Sources, most events first."""

    rows: list[SourcesRow]


class ExplainRequest(Event):
    """An event to explain."""

    rule_set: str | None = None


class AttributionParameter(Message):
    """A parameter of attribution that was found."""

    name: str
    value: str


class PassedRule(Message):
    """A rule that did not fire, and why."""

    rule_id: str
    reason: str


class AttributionExplanation(Message):
    """An attribution with everything that led to it."""

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


class DeviceExplanation(Message):
    """What is read off a user agent."""

    device_type: str
    browser: str
    os: str
    looks_like_bot: bool
    is_bot: bool


class Redaction(Message):
    """A field that is not stored as it was sent."""

    field: str
    removed: list[str]


class ExplainResponse(Message):
    """What would become of an event, step by step."""

    attribution: AttributionExplanation
    device: DeviceExplanation
    country: str
    redactions: list[Redaction]
    row: StoredEvent


def decode_custom(kind: type, value: Any) -> Any:
    """Give msgspec the one type it does not know: an Instant from text. Raises ValueError with a sentence."""
    if kind is Instant and isinstance(value, str):
        return Instant.parse(value)
    raise ValueError("must be a time such as 2026-01-31T12:00:00Z (RFC 3339)")


def encode_custom(value: Any) -> Any:
    """Tell msgspec how the one type it does not know is written."""
    if isinstance(value, Instant):
        return value.to_text()
    raise TypeError(f"cannot encode {type(value).__name__}")
