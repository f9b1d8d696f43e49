"""Takes a backup of a running server: all of it, or nothing."""

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from millimetric_server import __version__
from millimetric_server.backup.archive import (
    CONTROL,
    ENGINE,
    FORMAT,
    JOURNAL,
    SECRETS,
    ArchivedFile,
    BackupError,
    Manifest,
    copy_file,
    create_file,
    hash_file,
    write_manifest,
)
from millimetric_server.backup.moment import Moment, fix_moment, list_frozen, read_engine_folder
from millimetric_server.config import Settings
from millimetric_server.journal.port import Journal
from millimetric_server.loading.errors import EventsDelayedError
from millimetric_server.loading.loader import Loader
from millimetric_server.process.folders import sync_file_system, sync_folder
from millimetric_server.process.sqlite_snapshot import SqliteSnapshot
from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.faults import StoreUnavailableError

log = logging.getLogger(__name__)

_UNFINISHED = "UNFINISHED"
_LOADER_PATIENCE_S = 120.0
_NICENESS = 10
_MIB = 1024**2
_SPARE_BYTES = 16 * _MIB

Report = Callable[[int, int], None]  # bytes done, bytes in all; may raise to break off


@dataclass(frozen=True, slots=True)
class Source:
    """The parts of the running server that a backup is taken of."""

    settings: Settings
    journal: Journal
    loader: Loader
    store: ClickHouse


@dataclass(frozen=True, slots=True)
class Taken:
    """A finished backup, and how long the loader paused. Acknowledging never stopped."""

    manifest: Manifest
    rest_s: float


def take_backup(source: Source, target: Path, report: Report) -> Taken:
    """Take a backup into a folder that is new or empty. Raises BackupError, OSError; then there is no such folder."""
    with suppress(OSError, AttributeError):  # where threads have priorities: answers come first
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
    read_engine_folder(source.settings)
    partial = _make_partial(target, source.settings.data_path)
    try:
        moment, rest_s = _fix(source)
        try:
            manifest = _copy(source.settings, moment, partial, report)
        finally:
            moment.release()
        write_manifest(partial, manifest)
        (partial / _UNFINISHED).unlink()
        sync_file_system(partial)
        with suppress(FileNotFoundError):
            target.rmdir()
        partial.rename(target)
        sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return Taken(manifest, rest_s)


def _make_partial(target: Path, data: Path) -> Path:
    """Create the folder for the unfinished backup; the folder of an interrupted one is replaced."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackupError(f"{target} is not an empty folder: choose a new one for each backup.")
    if target.resolve().is_relative_to(data):
        raise BackupError(
            f"{target} lies in the server's data folder: choose a folder elsewhere, preferably on another disk."
        )
    partial = target.with_name(f"{target.name}.partial")
    if partial.exists():
        if any(partial.iterdir()) and not (partial / _UNFINISHED).exists():
            raise BackupError(f"{partial} exists and is not an incomplete backup: move it away.")
        shutil.rmtree(partial)
    create_file(partial / _UNFINISHED).close()
    return partial


def _fix(source: Source) -> tuple[Moment, float]:
    """Have the loader fix the moment, once it is between two blocks."""
    took_s = 0.0

    def fix() -> Moment:
        nonlocal took_s
        began_s = time.monotonic()
        try:
            return fix_moment(source.settings, source.journal, source.store)
        finally:
            took_s = time.monotonic() - began_s

    promise = source.loader.run_between_blocks(fix)
    try:
        return promise.result(_LOADER_PATIENCE_S), took_s
    except EventsDelayedError as error:
        raise BackupError(f"The server is not loading events now: {error}") from error
    except StoreUnavailableError as error:
        raise BackupError(f"The engine could not keep its parts for the backup: {error}") from error
    except FutureTimeoutError:
        # The loader may still get to it later; then its snapshots are released at once.
        promise.add_done_callback(lambda done: None if done.exception() else done.result().release())
        raise BackupError(
            "ClickHouse is not taking events now, so there is no consistent state: try again later."
        ) from None


def _copy(settings: Settings, moment: Moment, partial: Path, report: Report) -> Manifest:
    frozen = list(list_frozen(moment))
    databases: dict[str, SqliteSnapshot] = {JOURNAL: moment.journal}
    if moment.control is not None:
        databases[CONTROL] = moment.control
    total = sum(path.stat().st_size for _, path in frozen) + sum(held.bytes for held in databases.values())
    if (free := shutil.disk_usage(partial).free) < total + _SPARE_BYTES:
        raise BackupError(
            f"The backup needs {total / _MIB:,.0f} MiB, but {partial.parent} has only {free / _MIB:,.0f}."
        )
    done = 0

    def advance(size: int) -> None:
        nonlocal done
        done += size
        report(min(done, total), total)

    files: dict[str, ArchivedFile] = {}
    for name, held in databases.items():
        create_file(partial / name).close()
        held.copy_to(partial / name, advance)
        files[name] = hash_file(partial / name)
    if (secrets := settings.data_path / SECRETS).exists():
        files[SECRETS] = copy_file(secrets, partial / SECRETS, advance)
    for name, path in frozen:
        files[f"{ENGINE}/{name}"] = copy_file(path, partial / ENGINE / name, advance)
    for name, text in moment.texts.items():
        with create_file(partial / ENGINE / name) as file:
            file.write(text.encode())
        files[f"{ENGINE}/{name}"] = hash_file(partial / ENGINE / name)
    return Manifest(
        format=FORMAT,
        server_version=__version__,
        taken_at=datetime.now(UTC).isoformat(timespec="seconds"),
        journal_version=moment.journal_version,
        schema_version=moment.schema_version,
        database=settings.clickhouse_database,
        control="sqlite" if moment.control is not None else "postgresql",
        counts=moment.counts,
        links={f"{ENGINE}/{name}": target for name, target in moment.links.items()},
        files=files,
    )
