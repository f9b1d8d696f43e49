"""Explains what the pipeline makes of an event: the same steps, with their reasons."""

import re

import msgspec

from millimetric_server.enrich.attribution import Explanation, explain
from millimetric_server.enrich.checked_event import CheckedEvent
from millimetric_server.enrich.event_row import EventRow
from millimetric_server.enrich.pipeline import STEPS, EnrichmentContext, EventBuilder, read_columns
from millimetric_server.enrich.redaction import REDACTED
from millimetric_server.enrich.user_agent import Device

_PATH_PARAMETER = re.compile(r";([^;/=]+)=([^;/]+)")
_SEGMENT = re.compile(r"[^/\\]+")


class ExplainedEvent(msgspec.Struct, frozen=True):
    """The row, and what led to it. `removed` tells by field what redaction took out, see find_removed."""

    row: EventRow
    attribution: Explanation
    device: Device
    removed: dict[str, tuple[str, ...]]


def explain_event(sent: CheckedEvent, context: EnrichmentContext) -> ExplainedEvent:
    """Run all steps for an event that is not stored. Never raises for any checked event."""
    builder = EventBuilder(sent, context)
    referrer = builder.referrer  # the steps redact it
    for step in STEPS:
        step(builder, context)
    removed = {
        "url": find_removed(sent.url, builder.url),
        "path": find_removed(sent.path, builder.path) if sent.path else (),
        "referrer": find_removed(referrer, builder.referrer),
    }
    return ExplainedEvent(
        row=EventRow(*read_columns(builder)),
        attribution=explain(sent.url, referrer, context.rule_set, context.own_hosts, context.ignored_hosts),
        device=builder.device,
        removed={field: parts for field, parts in removed.items() if parts},
    )


def find_removed(sent: str, stored: str) -> tuple[str, ...]:
    """Name what redaction took out of an address: `userinfo`, `fragment`, `parameter NAME`, `path segment`.

    Nothing of its values. `all` if nothing is stored, `spelling` if only blanks, control characters or an overlong end
    went.
    """
    if sent == stored:
        return ()
    if not stored:
        return ("all",)
    sent, mark, _ = sent.partition("#")
    sent_place, _, sent_query = sent.partition("?")
    place, _, query = stored.partition("?")
    changed = [
        *_find_changed(_PATH_PARAMETER.findall(sent_place), _PATH_PARAMETER.findall(place)),
        *_find_changed(_split_pairs(sent_query), _split_pairs(query)),
    ]
    segments = zip(_SEGMENT.findall(sent_place), _SEGMENT.findall(place), strict=False)
    gone = [before for before, after in segments if before != after == REDACTED]
    lost = sent_place.count("@") - place.count("@") - sum(segment.count("@") for segment in gone)
    parts = ["userinfo"] if lost > 0 else []
    parts += ["path segment"] if gone else []
    parts += ["fragment"] if mark else []
    parts += [f"parameter {name}" for name in dict.fromkeys(changed)]
    return tuple(parts) or ("spelling",)


def _split_pairs(query: str) -> list[tuple[str, str]]:
    return [(name, value) for name, _, value in (pair.partition("=") for pair in query.strip().split("&"))]


def _find_changed(sent: list[tuple[str, str]], stored: list[tuple[str, str]]) -> list[str]:
    """Redaction keeps the parameters in their places, so they can be compared one by one; returns names as stored."""
    return [after[0] for before, after in zip(sent, stored, strict=False) if before != after]
