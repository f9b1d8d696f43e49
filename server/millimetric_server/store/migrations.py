"""Brings the schema forward: each file of schema/ runs once, in order; there is no way back."""

import hashlib
import logging
from dataclasses import dataclass
from importlib import resources

from millimetric_server.store.clickhouse import ClickHouse

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

    A file whose run was cut short runs again from its first statement: each is made repeatable, and a file that fills
    a table makes the table anew before.
    """
    store.command(_LEDGER)
    applied: dict[int, str] = dict(map(tuple, store.query("SELECT version, digest FROM schema_migrations")))
    migrations = read_migrations()
    newest = migrations[-1].version
    if applied and max(applied) > newest:
        raise SchemaError(
            f"the database has schema version {max(applied)}, this server knows {newest}: run a newer millimetric"
        )
    for migration in migrations:
        if (digest := applied.get(migration.version)) is None:
            _apply(store, migration)
        elif digest != migration.digest:
            raise SchemaError(f"{migration.name} has changed since it was applied; add a new file instead")
    store.is_current = True
    return len(migrations) - len(applied)


def _apply(store: ClickHouse, migration: Migration) -> None:
    for statement in migration.statements:
        store.command_at_length(statement)
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
