"""The finished event, as it is journaled, loaded and read back. The order of its fields is the journal's format."""

import msgspec


class EventRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One event with all that was derived. Times are microseconds since 1970 UTC; absent texts are empty.

    Fields are only ever appended, so that a journal written by an older server can be read.
    """

    project_id: str
    event: str
    event_id: str
    timestamp: int
    received_at: int
    anonymous_id: str
    user_id: str
    session_id: str
    url: str
    path: str
    referrer: str
    properties: str
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
    retention_days: int
