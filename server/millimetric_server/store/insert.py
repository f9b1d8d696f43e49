"""A block of rows to insert into ClickHouse, and the settings of the insert."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from millimetric_server.store.fence import Fence
from millimetric_server.store.insert_lock import NO_LOCK

# Rows that are sent together become one block, whatever their size: a token stands for a block.
_ONE_BLOCK = {"min_insert_block_size_rows": 1_048_449, "min_insert_block_size_bytes": 0, "max_insert_threads": 1}


@dataclass(frozen=True, slots=True)
class Insert:
    """Packed rows in one of ClickHouse's input formats, and the token that makes a second insert of them harmless."""

    table: str
    column_names: Sequence[str]
    format_name: str
    rows: bytes
    deduplication_token: str

    @property
    def settings(self) -> Mapping[str, object]:
        """ClickHouse's settings for it."""
        return {
            "insert_deduplicate": 1,
            "insert_deduplication_token": self.deduplication_token,
            "deduplicate_blocks_in_dependent_materialized_views": 1,
            "max_partitions_per_insert_block": 0,
        }

    def describe(self, fence: Fence | None) -> "InsertArguments":
        """The arguments of the client's `raw_insert`.

        Behind a fence the rows pass through a SELECT that checks it, and that nobody keeps inserts out.
        """
        if fence is None:
            return InsertArguments(self.table, self.column_names, self.rows, dict(self.settings), self.format_name)
        columns = ", ".join(self.column_names)
        statement = (
            f"INSERT INTO {self.table} ({columns}) SELECT {columns} "
            f"FROM input('{fence.describe_columns(self.column_names)}') WHERE {fence.condition} AND {NO_LOCK} "
            f"FORMAT {self.format_name}\n"
        )
        settings = {**self.settings, **_ONE_BLOCK}
        return InsertArguments("", None, statement.encode() + self.rows, settings, self.format_name)


class InsertArguments(NamedTuple):
    """What the client sends: no table and no columns where the block begins with its statement."""

    table: str
    column_names: Sequence[str] | None
    insert_block: bytes
    settings: dict[str, object]
    format_name: str
