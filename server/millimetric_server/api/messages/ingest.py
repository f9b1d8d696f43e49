"""The messages of millimetric/v1/ingest_service.proto. Made by `make generate`: don't edit it."""

from msgspec import UNSET, Raw, UnsetType, field

from millimetric_server.api.message import NO_JSON, Instant, Message, WireEnum
from millimetric_server.api.messages.event import Event, EventContext


class Ack(WireEnum):
    """When a write is acknowledged."""

    UNSPECIFIED = ""
    DURABLE = "durable"
    STORED = "stored"


class DropReason(WireEnum):
    """Why an accepted event was not stored, by policy."""

    UNSPECIFIED = ""
    OPT_OUT = "opt_out"
    OLDER_THAN_RETENTION = "older_than_retention"
    ERASED = "erased"


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
    DROPPED = "dropped"


class TrackRequest(Event):
    """An event to store. Fields 1 to 12 are those of Event, number by number."""

    ack: Ack = Ack.UNSPECIFIED


class TrackResponse(Message):
    """The ids under which the event is stored."""

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


class TrackStreamRequest(Message):
    """One event of a stream."""

    sequence: int | None = None
    event: Event | None = None


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
    dropped_count: int | UnsetType = UNSET


class TrackStreamResponse(Message):
    """What became of one event of a stream."""

    sequence: int
    outcome: EventOutcome
