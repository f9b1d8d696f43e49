"""What reads know of a stored event's columns: which of them can be filtered and grouped by."""

from collections.abc import Mapping, Sequence

from millimetric_server.api.errors import AppError, Reason

# What may be filtered, by its ClickHouse type.
COLUMNS: Mapping[str, str] = dict.fromkeys(
    (
        "event",
        "event_id",
        "anonymous_id",
        "user_id",
        "session_id",
        "url",
        "path",
        "referrer",
        "source",
        "medium",
        "campaign",
        "source_confidence",
        "source_rule_id",
        "rule_set",
        "country",
        "device_type",
        "browser",
        "os",
        "ip_hash",
    ),
    "String",
) | {"timestamp": "DateTime", "received_at": "DateTime", "is_bot": "Bool"}
# Group columns as callers name them, and as the tables do.
GROUP_COLUMNS = {
    "event_name": "event",
    "source": "source",
    "medium": "medium",
    "campaign": "campaign",
    "country": "country",
    "device_type": "device_type",
    "browser": "browser",
    "os": "os",
    "path": "path",
}


def check_group_columns(columns: Sequence[str]) -> None:
    """Raises AppError invalid_group_by for a column that can't be grouped by."""
    unknown = [column for column in columns if column not in GROUP_COLUMNS]
    if unknown:
        raise AppError(
            Reason.INVALID_GROUP_BY, f"`{unknown[0][:64]}` can't be grouped by", allowed=tuple(GROUP_COLUMNS)
        )
