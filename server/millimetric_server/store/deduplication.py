"""Ensures that tables remember inserted blocks, so that a block that is sent again after a crash counts once.

A plain MergeTree remembers nothing unless told to, and a replicated table forgets after an hour.
"""

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.faults import StoreUnavailableError
from millimetric_server.store.rollups import ROLLUPS
from millimetric_server.store.statements import read_statement

log = logging.getLogger(__name__)

_BLOCKS_MIN = 10_000
_SECONDS_MIN = 30 * 86_400  # a block may be in flight for as long as its server is down
_PLAIN = {"non_replicated_deduplication_window": _BLOCKS_MIN}
_REPLICATED = {
    "replicated_deduplication_window": _BLOCKS_MIN,
    "replicated_deduplication_window_seconds": _SECONDS_MIN,
}
_OURS = ("events", *(rollup.table for rollup in ROLLUPS))


class DeduplicationError(Exception):
    """A table forgets inserted blocks too soon, and that can't be changed; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table that a block reaches: `events`, or the target of a view."""

    database: str
    name: str
    engine: str
    definition: str  # the engine's, with its settings

    @property
    def wanted(self) -> Mapping[str, int]:
        """The settings that it needs at least."""
        if not self.engine.endswith("MergeTree"):
            return {}
        return _REPLICATED if self.engine.startswith(("Replicated", "Shared")) else _PLAIN

    def find_small(self, defaults: Mapping[str, int]) -> dict[str, int]:
        """The settings that are too small, with what they should be."""
        return {name: least for name, least in self.wanted.items() if self._read(name, defaults) < least}

    def _read(self, name: str, defaults: Mapping[str, int]) -> int:
        own = re.search(rf"(?<![a-z_]){name}\s*=\s*'?(\d+)", self.definition.rpartition("SETTINGS")[2])
        return int(own[1]) if own else defaults.get(name, 0)

    def describe(self) -> str:
        """Its name as SQL has it."""
        return f"`{self.database}`.`{self.name}`"


def ensure_windows(store: ClickHouse) -> None:
    """Raise the windows that are too small. Raises StoreUnavailableError, DeduplicationError.

    A view that somebody added is theirs: what can't be done for its target is only logged.
    """
    defaults = {name: int(value) for name, value in store.query(read_statement("deduplication.defaults"))}
    for table in _find_tables(store):
        is_ours = table.database == store.database and table.name in _OURS
        try:
            _ensure_window(store, table, defaults)
        except DeduplicationError as error:
            if is_ours:
                raise
            log.warning("a view's target may count events twice after a crash: %s", error)


def _ensure_window(store: ClickHouse, table: Table, defaults: Mapping[str, int]) -> None:
    if not table.wanted:
        raise DeduplicationError(
            f"the table {table.describe()} has the engine {table.engine}, which does not remember inserted blocks: "
            "make it a MergeTree"
        )
    if not (small := table.find_small(defaults)):
        return
    change = ", ".join(f"{name} = {least}" for name, least in small.items())
    statement = f"ALTER TABLE {table.describe()} MODIFY SETTING {change}"
    try:
        store.command(statement)
        (now,) = _read_table(store, table.database, table.name)
    except (StoreUnavailableError, ValueError) as error:
        if getattr(error.__cause__, "code", None) is None:
            raise
        raise DeduplicationError(_tell(table, statement, str(error))) from error
    if now.find_small(defaults):
        raise DeduplicationError(_tell(table, statement, "the setting was not kept"))
    log.warning("%s forgot inserted blocks too soon: set %s", table.describe(), change)


def _tell(table: Table, statement: str, reason: str) -> str:
    return (
        f"the table {table.describe()} forgets inserted blocks too soon, and the server can't change that ({reason}). "
        f"Have it changed: {statement}"
    )


def _find_tables(store: ClickHouse) -> Iterator[Table]:
    """Find the table of events and the targets of its views, and of the views of those."""
    waiting, found = [(store.database, "events")], set[tuple[str, str]]()
    while waiting:
        place = waiting.pop()
        if place in found:
            continue
        found.add(place)
        yield from _read_table(store, *place)
        waiting += _find_targets(store, *place)


def _read_table(store: ClickHouse, database: str, name: str) -> list[Table]:
    rows = store.query(read_statement("deduplication.table"), {"database": database, "table": name})
    return [Table(*row) for row in rows]


def _find_targets(store: ClickHouse, database: str, name: str) -> list[tuple[str, str]]:
    rows = store.query(read_statement("deduplication.targets"), {"database": database, "table": name})
    return [(target_database, target) for target_database, target in rows]
