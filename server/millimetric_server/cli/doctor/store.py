"""Check of what the running server last found in ClickHouse: broken parts, and roll-ups that differ from events."""

import time
from datetime import UTC, datetime

from millimetric_server.cli.doctor.findings import Finding, fail, ok, warn
from millimetric_server.config import Settings
from millimetric_server.store.findings import FILE_NAME, Findings, read_findings

_NAME = "stored events"
_AGE_MAX_S = 2 * 24 * 3600
_DAYS_SHOWN = 5
_LOST_ADVICE = 'Restore them: docs/operations.md, "Stored events are damaged". The roll-ups were left as they are.'
_REBUILT_ADVICE = "They are rebuilt from the events. Check the disk, then delete the parts."


def check_store(settings: Settings) -> Finding:
    """Are the stored events undamaged, and do roll-ups agree with them."""
    if not (settings.data_path / FILE_NAME).exists():
        return ok(_NAME, "the server inspects them when it runs")
    found = read_findings(settings.data_path)
    if found is None:
        return warn(_NAME, f"{FILE_NAME} can't be read", "Delete it: the running server writes it again.")
    if found.has_lost_events:
        return fail(_NAME, "; ".join((*_tell_parts(found), *_tell_lost(found))), _LOST_ADVICE)
    if found.fault:
        return warn(_NAME, f"could not be inspected: {found.fault}", "See the server's log for `inspection:`.")
    return _judge_whole(found)


def _judge_whole(found: Findings) -> Finding:
    told = f"undamaged at {datetime.fromtimestamp(found.checked_at, UTC):%Y-%m-%d %H:%M} UTC"
    if rebuilt := sum(found.rebuilt.values()):
        told += f", after {rebuilt:,} days and sessions were rebuilt from their events"
    if parts := _tell_parts(found):
        return warn(_NAME, "; ".join((told, *parts)), _REBUILT_ADVICE)
    if time.time() - found.checked_at > _AGE_MAX_S:
        return warn(_NAME, told, "Start the server: it inspects them at start and daily.")
    return ok(_NAME, told)


def _tell_parts(found: Findings) -> list[str]:
    return [f"{len(names)} broken parts of {table}" for table, names in found.broken_parts.items()]


def _tell_lost(found: Findings) -> list[str]:
    days = [
        f"{day.project_id} has {day.events:,} events on {day.day}, but roll-ups count {max(day.rollups.values()):,}"
        for day in found.lost_days[:_DAYS_SHOWN]
    ]
    more = [f"{left} more days differ"] if (left := len(found.lost_days) - _DAYS_SHOWN) > 0 else []
    sessions = [f"{sum(found.lost_sessions.values()):,} sessions differ"] if found.lost_sessions else []
    return [*days, *more, *sessions]
