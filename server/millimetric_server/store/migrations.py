"""Migrates the schema: each file of schema/ runs once, in order; there are no downgrades."""

import contextlib
import hashlib
import logging
from dataclasses import dataclass
from importlib import resources

from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.insert_lock import InsertLock, hold_schema_lock

log = logging.getLogger(__name__)

_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations
(version UInt32, name String, digest String, applied_at DateTime DEFAULT now())
ENGINE = MergeTree ORDER BY version
SETTINGS fsync_after_insert = 1, fsync_part_directory = 1, min_rows_to_fsync_after_merge = 1
"""


class SchemaError(Exception):
    """The database's schema and this server's do not fit; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of schema/: its number, its name and its statements."""

    version: int
    name: str
    statements: tuple[str, ...]

    @property
    def digest(self) -> str:
        """A hash of what it does, to notice a file that was edited after it ran."""
        return hashlib.sha256("\n".join(self.statements).encode()).hexdigest()[:16]


def read_migrations() -> tuple[Migration, ...]:
    """Read schema/*.sql in the order of their numbers; a file's statements end with `;` at the end of a line."""
    files = sorted(
        (file for file in resources.files(__package__).joinpath("schema").iterdir() if file.name.endswith(".sql")),
        key=lambda file: file.name,
    )
    return tuple(_read_migration(file.name, file.read_text()) for file in files)


def migrate(store: ClickHouse) -> int:
    """Apply what is missing and return how many files ran. Raises SchemaError, StoreUnavailableError.

    An interrupted file runs again from its first statement: each statement is repeatable, and a file that fills a
    table recreates the table first.
    """
    store.command(_LEDGER)
    if missing := _find_missing(store):
        with contextlib.nullcontext() if store.is_embedded else hold_schema_lock(store) as lock:
            missing = _find_missing(store)  # another server may have been at it
            for migration in missing:
                _apply(store, migration, lock)
    store.is_current = True
    return len(missing)


def _find_missing(store: ClickHouse) -> list[Migration]:
    applied: dict[int, str] = dict(map(tuple, store.query("SELECT version, digest FROM schema_migrations")))
    migrations = read_migrations()
    newest = migrations[-1].version
    if applied and max(applied) > newest:
        raise SchemaError(
            f"the database has schema version {max(applied)}, this server knows {newest}: run a newer millimetric"
        )
    for migration in migrations:
        if applied.get(migration.version, migration.digest) != migration.digest:
            raise SchemaError(f"{migration.name} has changed since it was applied; add a new file instead")
    return [migration for migration in migrations if migration.version not in applied]


def _apply(store: ClickHouse, migration: Migration, lock: InsertLock | None = None) -> None:
    for statement in migration.statements:
        if lock is None:
            store.command_at_length(statement)
        else:
            lock.check()
            store.command_at_length(statement, log_comment=lock.mark)
    store.sync()  # not noted as done before it is on the disk
    store.command(
        "INSERT INTO schema_migrations (version, name, digest) "
        "VALUES ({version:UInt32}, {name:String}, {digest:String})",
        {"version": migration.version, "name": migration.name, "digest": migration.digest},
    )
    log.info("schema: applied %s", migration.name)


def _read_migration(file_name: str, text: str) -> Migration:
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    statements = tuple(part.strip() for part in "\n".join(lines).split(";\n") if part.strip())
    repeatable = (_make_repeatable(statement.removesuffix(";")) for statement in statements)
    return Migration(int(file_name.split("_", 1)[0]), file_name, tuple(repeatable))


def _make_repeatable(statement: str) -> str:
    for create in ("CREATE TABLE ", "CREATE MATERIALIZED VIEW "):
        if statement.startswith(create):
            return f"{create}IF NOT EXISTS {statement.removeprefix(create)}"
    return statement
