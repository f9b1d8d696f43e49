"""A durable event as followers see it: what several of them need of it is made once."""

from functools import cached_property
from operator import attrgetter
from typing import Any

import msgspec

from millimetric_server.api.messages import Instant, StoredEvent
from millimetric_server.enrich.event_row import EventRow

_TIMES = ("timestamp", "received_at")
_ROW_BYTES = 1000  # beside its longest texts
_read_columns = attrgetter(*StoredEvent.__struct_fields__)


class FollowedRow:
    """A row, and what is made of it when a follower first asks."""

    def __init__(self, row: EventRow) -> None:
        self.row = row

    @cached_property
    def properties(self) -> Any:
        """The properties as a value, for filters."""
        return msgspec.json.decode(self.row.properties)

    @cached_property
    def event(self) -> StoredEvent:
        """The row as Query would answer it."""
        event = StoredEvent(*_read_columns(self.row))
        for name in _TIMES:
            setattr(event, name, Instant(getattr(event, name)))
        return event

    @property
    def size(self) -> int:
        """About how many bytes of memory it takes."""
        return _ROW_BYTES + len(self.row.properties) + len(self.row.url) + len(self.row.referrer)
