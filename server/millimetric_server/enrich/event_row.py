"""The finished event: what is journaled, loaded and read back. Its order of fields is the journal's format."""

import msgspec


class EventRow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One event with all that was derived. Times are microseconds since 1970 UTC; absent texts are empty.

    Fields are only ever appended, with a default, so that a journal written by an older server can be read.
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


# The ClickHouse type of each column, in the order of the fields: with it, an insert asks the server nothing.
COLUMN_TYPES: dict[str, str] = dict.fromkeys(EventRow.__struct_fields__, "String") | {
    "project_id": "LowCardinality(String)",
    "event": "LowCardinality(String)",
    "timestamp": "DateTime64(6, 'UTC')",
    "received_at": "DateTime64(6, 'UTC')",
    "source": "LowCardinality(String)",
    "medium": "LowCardinality(String)",
    "source_confidence": "LowCardinality(String)",
    "source_rule_id": "LowCardinality(String)",
    "rule_set": "LowCardinality(String)",
    "country": "LowCardinality(String)",
    "device_type": "LowCardinality(String)",
    "browser": "LowCardinality(String)",
    "os": "LowCardinality(String)",
    "is_bot": "Bool",
    "retention_days": "UInt16",
}
