"""Fixes one moment of a running server; copying comes afterwards.

While the loader pauses between two blocks, journal and control database are kept as snapshots and the engine's parts as
hard links. The server keeps acknowledging.
"""

import contextlib
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sqlalchemy import make_url

from millimetric_server.backup.archive import BackupError, Counts
from millimetric_server.config import Settings
from millimetric_server.journal.port import Journal
from millimetric_server.journal.sqlite.snapshot import JournalSnapshot
from millimetric_server.process.sqlite_snapshot import SqliteSnapshot
from millimetric_server.store.clickhouse import ClickHouse

_FROZEN = "millimetric_backup_"  # FREEZE escapes nothing of it


@dataclass(slots=True)
class Moment:
    """The snapshots of one moment, until they are released."""

    journal: JournalSnapshot
    control: SqliteSnapshot | None
    counts: Counts
    journal_version: int
    schema_version: int
    frozen: Path  # the engine's parts as of the moment, below it by their paths in the engine's folder
    texts: dict[str, str] = field(default_factory=dict)  # small files of the engine
    links: dict[str, str] = field(default_factory=dict)

    def release(self) -> None:
        """Release everything."""
        self.journal.release()
        if self.control is not None:
            self.control.release()
        shutil.rmtree(self.frozen, ignore_errors=True)


def read_engine_folder(settings: Settings) -> Path:
    """The embedded engine's folder. Raises BackupError for a ClickHouse server, whose files are out of reach."""
    url = urlsplit(settings.resolved_clickhouse_url)
    if url.scheme != "chdb":
        raise BackupError(
            "This server keeps its events in a ClickHouse server, whose files it can't copy. Stop millimetric, back up "
            "ClickHouse with its own BACKUP, copy the data folder, and start again (docs/operations.md, Backup)."
        )
    return Path(url.path)


def find_control_file(settings: Settings) -> Path | None:
    """The control database's file; None where it is PostgreSQL."""
    url = make_url(settings.resolved_database_url)
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def fix_moment(settings: Settings, journal: Journal, store: ClickHouse) -> Moment:
    """Fix the present moment. Only for the loader's thread, between two blocks. Raises BackupError."""
    engine = read_engine_folder(settings)
    journal.flush_notes()
    with contextlib.ExitStack() as undo:
        held = JournalSnapshot(settings.data_path / "journal.db")
        undo.callback(held.release)
        if held.is_in_flight:
            raise BackupError("A block of events was sent to ClickHouse and is not confirmed yet: try again later.")
        control_file = find_control_file(settings)
        control = None if control_file is None else SqliteSnapshot(control_file)
        if control is not None:
            undo.callback(control.release)
        name = _FROZEN + uuid.uuid4().hex
        frozen = engine / "shadow" / name
        undo.callback(shutil.rmtree, frozen, ignore_errors=True)
        for (table,) in store.query(
            "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
        ):
            store.command(f"ALTER TABLE `{table}` FREEZE WITH NAME '{name}'")
        balances = held.load_balances()
        moment = Moment(
            held,
            control,
            Counts(
                received=sum(one.received for one in balances),
                stored=sum(one.stored for one in balances),
                waiting=sum(one.journaled for one in balances),
                projects=len(balances),
            ),
            journal_version=held.version,
            schema_version=store.query("SELECT max(version) FROM schema_migrations")[0][0],
            frozen=frozen,
        )
        _read_definitions(engine, settings.clickhouse_database, store, moment)
        undo.pop_all()
    return moment


def clear_leftovers(settings: Settings) -> None:
    """Remove the hard links of a backup that a crash interrupted: they hold the disk space of merged parts."""
    url = urlsplit(settings.resolved_clickhouse_url)
    if url.scheme == "chdb":
        for folder in (Path(url.path) / "shadow").glob(f"{_FROZEN}*"):
            shutil.rmtree(folder, ignore_errors=True)


def list_frozen(moment: Moment) -> Iterator[tuple[str, Path]]:
    """The files of the engine's parts, by their paths in the engine's folder."""
    for path in sorted(moment.frozen.rglob("*")):
        if path.is_file():
            yield str(path.relative_to(moment.frozen)), path


def _read_definitions(engine: Path, database: str, store: ClickHouse, moment: Moment) -> None:
    """Read how the database and its tables are made: small files beside the parts, which FREEZE leaves out."""
    ((metadata,),) = store.query("SELECT metadata_path FROM system.databases WHERE name = currentDatabase()")
    folder = engine / metadata
    if not folder.is_dir():
        raise BackupError("The embedded engine keeps its tables in a location that this version does not know.")
    name = _find_name(engine / "metadata", database)
    moment.texts[f"metadata/{name}.sql"] = (engine / "metadata" / f"{name}.sql").read_text()
    moment.links[f"metadata/{name}"] = str(Path("..") / folder.relative_to(engine))
    for file in sorted(folder.glob("*.sql")):
        moment.texts[str(file.relative_to(engine))] = file.read_text()
    for (paths,) in store.query(
        "SELECT data_paths FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'"
    ):
        (table,) = map(Path, paths)
        version = table / "format_version.txt"
        moment.texts[str(version.relative_to(engine))] = version.read_text()


def _find_name(metadata: Path, database: str) -> str:
    """The database's name as its files have it, where all but letters, digits and underscores is escaped."""
    for file in metadata.glob("*.sql"):
        if unquote(file.stem) == database:
            return file.stem
    raise BackupError(f"The embedded engine has no database {database}.")
