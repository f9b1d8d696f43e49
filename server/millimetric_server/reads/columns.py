"""The columns of stored events as reads know them: what StoredEvent and StatsRow say, as SQL."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import fields

from millimetric_server.api.errors import AppError, Reason
from millimetric_server.api.messages import Instant, StatsRow, StoredEvent

# What may be filtered, by its ClickHouse type. Properties are asked for one by one.
_TYPES: Mapping[Any, str] = {str: "String", Instant: "DateTime", bool: "Bool"}
COLUMNS: Mapping[str, str] = {
    field.name: _TYPES[field.type] for field in fields(StoredEvent) if field.name != "properties"
}
TEXTS = tuple(field.name for field in fields(StoredEvent) if field.type is str)
# Group columns that events have, as callers name them, and as the tables do.
GROUP_COLUMNS: Mapping[str, str] = {"event_name": "event"} | {
    field.name: field.name for field in fields(StatsRow) if field.name in COLUMNS
}
ALIASES = {"event": "event_name"}  # a column by its other name
# A StoredEvent's fields in their order, with times as microseconds.
SELECTED = ", ".join(
    f"toUnixTimestamp64Micro({field.name})" if field.type is Instant else field.name for field in fields(StoredEvent)
)


def check_group_columns(columns: Sequence[str]) -> tuple[str, ...]:
    """Return group columns by their names in answers. Raises AppError invalid_group_by for one that is none."""
    named = tuple(ALIASES.get(column, column) for column in columns)
    unknown = [column for column in named if column not in GROUP_COLUMNS]
    if unknown:
        raise AppError(
            Reason.INVALID_GROUP_BY, f"`{unknown[0][:64]}` is not a group column", allowed=tuple(GROUP_COLUMNS)
        )
    return named
