"""What requests may hold: sizes that doors, checks and reads agree on."""

from millimetric_server.api.errors import AppError, Violation, invalid_payload

BATCH_EVENTS_MAX = 1000
OLDEST_US = 946_684_800_000_000  # 2000-01-01
FUTURE_MAX_US = 24 * 3600 * 1_000_000
CHARS_MAX = {
    "event": 128,
    "event_id": 128,
    "anonymous_id": 128,
    "user_id": 256,
    "session_id": 128,
    "url": 2048,
    "path": 2048,
    "referrer": 2048,
}


def make_too_many(field: str) -> AppError:
    """Make the error for a list that is too long. Doors raise it before they build the items.

    So the ledger does not know these events: they were never received, as those of a body that is too large.
    """
    what = f"1 to {BATCH_EVENTS_MAX} events, not more" if field == "events" else f"at most {BATCH_EVENTS_MAX}"
    return invalid_payload((Violation(field, f"must hold {what}"),))
