"""TrackStream: store a group of a stream's events, each for itself."""

from collections.abc import Sequence

import msgspec

from millimetric_server.api.call import Call
from millimetric_server.api.messages import (
    Ack,
    DropReason,
    Event,
    EventOutcome,
    Outcome,
    TrackStreamRequest,
    TrackStreamResponse,
)
from millimetric_server.enrich.checked_event import CheckedEvent
from millimetric_server.ingest.check_event import RejectedEvent, check_event, read_ack
from millimetric_server.ingest.deps import IngestDeps
from millimetric_server.ingest.store_events import drop_opted_out, store_each

_NO_EVENT = Event()


class CheckedGroup(msgspec.Struct, frozen=True):
    """A group of a stream to carry out, with the caller's numbers."""

    events: Sequence[CheckedEvent | RejectedEvent]
    sequences: Sequence[int]
    ack: Ack


def check_track_stream(requests: Sequence[TrackStreamRequest], call: Call) -> CheckedGroup:
    """Check a group of a stream; every event has its own outcome. Raises AppError for a bad ack only."""
    return CheckedGroup(
        events=[check_event(request.event or _NO_EVENT, call.received_at, call.key.kind) for request in requests],
        sequences=[request.sequence or 0 for request in requests],
        ack=read_ack(Ack.UNSPECIFIED, call),
    )


async def track_stream(call: Call, request: CheckedGroup, deps: IngestDeps) -> list[TrackStreamResponse]:
    """Answer what became of each event, in order, with the caller's numbers."""
    if drop_opted_out(call):
        dropped = EventOutcome(Outcome.DROPPED, reason=DropReason.OPT_OUT.value)
        return [TrackStreamResponse(sequence, dropped) for sequence in request.sequences]
    outcomes = await store_each(request.events, request.ack, call, deps)
    return [TrackStreamResponse(*pair) for pair in zip(request.sequences, outcomes, strict=True)]
