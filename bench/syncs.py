"""What it costs that ClickHouse's copy is on the disk before the journal drops its rows: µs per event (docs/adr/0010).

Four databases of one embedded engine, each with its own way to the disk, take the same blocks in turns.
"""

import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from bench.server import temporary_data_dir
from millimetric_server.enrich.event_row import EventRow
from millimetric_server.journal.packed_rows import COLUMN_NAMES, FORMAT, pack_row
from millimetric_server.process.folders import sync_file_system
from millimetric_server.store.clickhouse import ClickHouse, Insert
from millimetric_server.store.migrations import migrate

WAYS = {
    "no sync": "what was before: a power cut loses acknowledged events",
    "tables sync": "the tables' settings: each file of each part, before the insert is confirmed",
    "file system, each block": "one syncfs a block, no settings",
    "file system, later": "one syncfs for 8 blocks, whose rows stay in the journal until then",
}
SIZES = (1, 1000, 20_000)
_BLOCKS_A_SYNC = 8
_TABLES = ("events", "daily_rollup", "hourly_rollup", "source_rollup", "sessions")
_OFF = "fsync_after_insert = 0, fsync_part_directory = 0, min_rows_to_fsync_after_merge = 0"
_NOW = 1_790_000_000_000_000
_WARM_UP = 2
_PROBES = 200


class Cost(msgspec.Struct, frozen=True):
    """Inserting blocks of a size in one way: medians, a later sync's share included."""

    way: str
    rows: int
    blocks: int
    block_ms: float
    syncs_a_block: float

    @property
    def event_us(self) -> float:
        """Microseconds per event."""
        return self.block_ms * 1000 / self.rows


class Syncs(msgspec.Struct, frozen=True):
    """All costs, and what one sync of a small file takes on this disk."""

    disk_sync_ms: float
    costs: list[Cost]


def measure(data_parent: str, blocks: int, advance: Callable[[str], None]) -> Syncs:
    """Insert so many blocks of each size in each way, in turns; fewer of the largest."""
    with temporary_data_dir(data_parent) as folder:
        disk_sync_ms = _probe_disk(folder)
        stores = {way: _open(folder, number, way) for number, way in enumerate(WAYS)}
        costs = []
        for rows in SIZES:
            advance(f"blocks of {rows}")
            costs += _measure_size(stores, folder, rows, max(blocks // 3, 8) if rows > SIZES[1] else blocks)
        for store in stores.values():
            store.close()
    return Syncs(disk_sync_ms, costs)


def _open(folder: Path, number: int, way: str) -> ClickHouse:
    store = ClickHouse(f"chdb://{folder.resolve()}/clickhouse", f"way_{number}")
    store.open()
    migrate(store)
    if way != "tables sync":
        for table in _TABLES:
            store.command(f"ALTER TABLE {table} MODIFY SETTING {_OFF}")
    return store


def _measure_size(stores: dict[str, ClickHouse], folder: Path, rows: int, blocks: int) -> list[Cost]:
    spent: dict[str, list[float]] = {way: [] for way in WAYS}
    syncs: dict[str, list[int]] = {way: [] for way in WAYS}
    later: list[float] = []
    for number in range(blocks + _WARM_UP):
        packed = _make_block(rows, number)
        for way, store in stores.items():
            before, began = _count_syncs(store), time.perf_counter()
            store.insert_block(Insert("events", COLUMN_NAMES, FORMAT, packed, f"{rows}-{number}"))
            took, extra = time.perf_counter() - began, 0
            if way == "file system, each block":
                took, extra = took + _time_sync(folder), 1
            elif way == "file system, later" and number % _BLOCKS_A_SYNC == 0:
                later.append(_time_sync(folder))
            if number >= _WARM_UP:
                spent[way].append(took)
                syncs[way].append(_count_syncs(store) - before + extra)
    shares = {"file system, later": statistics.median(later) / _BLOCKS_A_SYNC}
    return [
        Cost(
            way,
            rows,
            blocks,
            (statistics.median(spent[way]) + shares.get(way, 0)) * 1000,
            statistics.median(syncs[way]) + (1 / _BLOCKS_A_SYNC if way in shares else 0),
        )
        for way in WAYS
    ]


def _make_block(rows: int, number: int) -> bytes:
    first = number * rows
    packed = []
    for event in range(first, first + rows):
        fields: dict[str, object] = dict.fromkeys(EventRow.__struct_fields__, "")
        fields |= {
            "project_id": "prj_00000000000000aa",
            "event": "page" if event % 3 else "signup",
            "event_id": f"{rows}-{event}",
            "timestamp": _NOW + event * 1000,
            "received_at": _NOW + event * 1000,
            "anonymous_id": f"visitor-{event % 5000}",
            "session_id": f"session-{event % 7000}",
            "path": f"/page/{event % 50}",
            "properties": '{"price":12.5}',
            "source": "direct",
            "medium": "direct",
            "is_bot": False,
            "retention_days": 3650,
        }
        packed.append(pack_row(EventRow(**fields)))  # type: ignore[arg-type]
    return b"".join(packed)


def _count_syncs(store: ClickHouse) -> int:
    ((count,),) = store.query("SELECT sum(value) FROM system.events WHERE event IN ('FileSync', 'DirectorySync')")
    return int(count)


def _time_sync(folder: Path) -> float:
    began = time.perf_counter()
    sync_file_system(folder)
    return time.perf_counter() - began


def _probe_disk(folder: Path) -> float:
    """Milliseconds of one fdatasync behind a small write."""
    times = []
    with (folder / "probe").open("wb", buffering=0) as file:
        for _ in range(_PROBES):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000
