"""Explain: what would become of an event, and why. Stores nothing."""

from dataclasses import replace

import msgspec

from millimetric_server.api.call import Call
from millimetric_server.api.errors import Violation, invalid_payload
from millimetric_server.api.messages import (
    AttributionExplanation,
    AttributionParameter,
    DeviceExplanation,
    DropReason,
    ExplainRequest,
    ExplainResponse,
    Instant,
    PassedRule,
    Redaction,
    StoredEvent,
)
from millimetric_server.enrich.attribution import RULE_SETS, Explanation
from millimetric_server.enrich.checked_event import CheckedEvent
from millimetric_server.enrich.event_row import EventRow
from millimetric_server.enrich.explain import ExplainedEvent, explain_event
from millimetric_server.enrich.redaction import REDACTION_VERSION
from millimetric_server.ingest.check_event import RejectedEvent, check_event
from millimetric_server.ingest.deps import IngestDeps
from millimetric_server.ingest.store_events import find_erased, is_too_old, read_context


class CheckedExplain(msgspec.Struct, frozen=True):
    """An Explain to carry out; an empty `rule_set` is the project's."""

    event: CheckedEvent
    rule_set: str


def check_explain(request: ExplainRequest, call: Call) -> CheckedExplain:
    """Check an Explain. Raises AppError invalid_payload."""
    checked = check_event(request, call.received_at, call.key.kind)
    problems = list(checked.violations) if isinstance(checked, RejectedEvent) else []
    if request.rule_set and request.rule_set not in RULE_SETS:
        problems.append(Violation("rule_set", f"must be one of {', '.join(RULE_SETS)}"))
    if problems or isinstance(checked, RejectedEvent):
        raise invalid_payload(problems)
    return CheckedExplain(checked, request.rule_set or "")


async def explain(call: Call, request: CheckedExplain, deps: IngestDeps) -> ExplainResponse:
    """Answer every step of the event's enrichment and the row that Track would store with this key."""
    context = read_context(call, deps)
    if request.rule_set:
        context = replace(context, rule_set=request.rule_set)
    explained = explain_event(request.event, context)
    response = _describe(explained)
    if is_too_old(request.event, call):
        response.dropped = DropReason.OLDER_THAN_RETENTION
    elif find_erased([explained.row], deps):
        response.dropped = DropReason.ERASED
    return response


def _describe(explained: ExplainedEvent) -> ExplainResponse:
    row, device = explained.row, explained.device
    return ExplainResponse(
        attribution=_describe_attribution(explained.attribution),
        device=DeviceExplanation(device.device_type, device.browser, device.os, device.is_bot, row.is_bot),
        country=row.country,
        redactions=[Redaction(field, list(parts)) for field, parts in explained.removed.items()],
        row=_describe_row(row),
        redaction_version=REDACTION_VERSION,
    )


def _describe_attribution(found: Explanation) -> AttributionExplanation:
    attribution = found.attribution
    return AttributionExplanation(
        rule_set=found.rule_set,
        rule_id=attribution.rule_id,
        source=attribution.source,
        medium=attribution.medium,
        campaign=attribution.campaign,
        confidence=attribution.confidence,
        parameters=[AttributionParameter(name, value) for name, value in found.parameters.items()],
        page_host=found.page_host,
        referrer_host=found.referrer_host,
        passed_over=[PassedRule(rule_id, reason) for rule_id, reason in found.passed_over],
    )


def _describe_row(row: EventRow) -> StoredEvent:
    stored = StoredEvent(*(getattr(row, name) for name in StoredEvent.__struct_fields__))
    stored.timestamp, stored.received_at = Instant(row.timestamp), Instant(row.received_at)
    return stored
