"""Batch: store up to a thousand events, all or nothing or each for itself."""

from collections.abc import Iterator

from msgspec import UNSET

from millimetric_server.call import Call, Deps, Steps
from millimetric_server.errors import Reason, Violation
from millimetric_server.handlers.ingest import has_opted_out, store_events
from millimetric_server.messages import BatchResponse, DropReason, EventOutcome, FieldError, Outcome
from millimetric_server.validate.events import CheckedBatch


def batch(call: Call, deps: Deps) -> Steps:
    """Answer how many events are durable and how many of them were so before; outcomes if asked for."""
    if has_opted_out(call):
        return BatchResponse(ok=True, dropped=DropReason.OPT_OUT)
    request: CheckedBatch = call.request
    good = [event for event in request.events if not isinstance(event, tuple)]
    outcomes: Iterator[EventOutcome] = iter(())
    duplicates = 0
    if good:
        rows, appended = yield from store_events(good, request.ack, call, deps)
        duplicates = sum(first is not None for first in appended.firsts)
        if request.is_per_event:
            outcomes = (
                EventOutcome(Outcome.STORED if first is None else Outcome.DUPLICATE, row.event_id)
                for row, first in zip(rows, appended.firsts, strict=True)
            )
    response = BatchResponse(ok=True, count=len(good), duplicates=duplicates)
    if request.is_per_event:
        response.outcomes = [
            _reject(event, sent_id) if isinstance(event, tuple) else next(outcomes)
            for event, sent_id in zip(request.events, request.sent_ids, strict=True)
        ]
    return response


def _reject(violations: tuple[Violation, ...], sent_id: str) -> EventOutcome:
    errors = [FieldError(violation.field, violation.message) for violation in violations]
    return EventOutcome(Outcome.REJECTED, sent_id or UNSET, reason=Reason.INVALID_PAYLOAD.value, field_errors=errors)
