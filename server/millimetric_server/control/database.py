"""The control database: opening it by URL, and transactions that behave alike on SQLite and PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    QueuePool,
    create_engine,
    event,
    insert,
    make_url,
    select,
    text,
    update,
)
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from tenacity import Retrying, retry_if_exception_message, stop_after_delay, wait_fixed

from millimetric_server.control.errors import ControlError, ControlUnavailableError
from millimetric_server.control.queries import insert_account
from millimetric_server.control.records import DEFAULT_ACCOUNT
from millimetric_server.control.schema import migrate
from millimetric_server.control.tables import control_revision
from millimetric_server.process.folders import make_folder

_SQLITE_BUSY_TIMEOUT_MS = 10_000
_SQLITE_BEGIN = "millimetric_sqlite_begin"
# SQLite's own timeout does not hold for a change of the journal's mode. Processes that start on a new file ask for it
# while one of them makes the tables.
_TRY_WHILE_LOCKED = Retrying(
    retry=retry_if_exception_message(match="database is locked"),
    stop=stop_after_delay(_SQLITE_BUSY_TIMEOUT_MS / 1000),
    wait=wait_fixed(0.02),
    reraise=True,
)

# A silent network must become an error within seconds, or the directory would not know that it is stale.
_POSTGRES_DEFAULTS = {
    "application_name": "millimetric",
    "connect_timeout": "5",
    "keepalives_idle": "10",
    "tcp_user_timeout": "10000",
}
_POSTGRES_CREATION_LOCK = 0x6D_6D_63_70  # "mmcp"; any number does that all our processes share

# Readers see one moment through all their statements.
_READ_OPTIONS: dict[str, dict[str, object]] = {
    "sqlite": {_SQLITE_BEGIN: "BEGIN DEFERRED"},
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
}
# Writers wait for each other at their first statement and then see all that went before. SQLite takes its
# lock at BEGIN: a transaction that reads first and writes later may fail at once, whatever the timeout.
_WRITE_OPTIONS: dict[str, dict[str, object]] = {
    "sqlite": {_SQLITE_BEGIN: "BEGIN IMMEDIATE"},
    "postgresql": {"isolation_level": "READ COMMITTED"},
}


def open_engine(url: str) -> Engine:
    """Make an engine for `sqlite:///path`, `sqlite://` (in memory) or `postgresql://…`.

    The folder of a SQLite file is made. Nothing connects yet.

    Raises:
        ControlError: the URL is not one of these, or the driver is not installed.
        ControlUnavailableError: the folder cannot be made.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # ValueError: a port that is not a number
        raise ControlError("The database URL cannot be read: write sqlite:///path or postgresql://…") from None
    match parsed.get_backend_name():
        case "sqlite":
            return _open_sqlite(parsed)
        case "postgresql" | "postgres":
            return _open_postgres(parsed)
        case other:
            raise ControlError(f"{other} is not supported: write sqlite:///path or postgresql://…")


def _open_sqlite(url: URL) -> Engine:
    options: dict[str, object] = {}
    if url.database in (None, "", ":memory:"):
        # Memory belongs to a connection: all threads take turns on a single one.
        options = {"pool_size": 1, "max_overflow": 0, "connect_args": {"check_same_thread": False}}
    else:
        folder = Path(str(url.database)).parent
        try:
            make_folder(folder)
        except OSError as error:
            raise ControlUnavailableError(f"The folder {folder} cannot be created: {error.strerror}.") from error
    engine = create_engine(url, poolclass=QueuePool, hide_parameters=True, **options)

    @event.listens_for(engine, "connect")
    def prepare_connection(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # or sqlite3 would begin transactions by its own rules
        connection.execute(f"PRAGMA busy_timeout = {_SQLITE_BUSY_TIMEOUT_MS}")
        _TRY_WHILE_LOCKED(connection.execute, "PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(_SQLITE_BEGIN, "BEGIN DEFERRED"))

    return engine


def _open_postgres(url: URL) -> Engine:
    url = url.set(drivername="postgresql+psycopg")
    missing = {name: value for name, value in _POSTGRES_DEFAULTS.items() if name not in url.query}
    try:
        return create_engine(url.update_query_dict(missing), pool_size=2, pool_pre_ping=True, hide_parameters=True)
    except ImportError as error:
        raise ControlError("PostgreSQL needs its driver: pip install 'millimetric-server[postgres]'") from error


class Database:
    """Transactions on the control database. Every fault of the database is a ControlUnavailableError."""

    def __init__(self, engine: Engine) -> None:
        """Take an engine that `open_engine` made."""
        self._engine = engine
        self._reader = engine.execution_options(**_READ_OPTIONS[engine.dialect.name])
        self._writer = engine.execution_options(**_WRITE_OPTIONS[engine.dialect.name])

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Begin a transaction in which all statements see the same moment."""
        with _faults_translated(), self._reader.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Begin a transaction that names a new revision; one at a time, among all processes.

        Since it waits for the writers before it, what it reads stays true until it commits.
        """
        with _faults_translated(), self._writer.begin() as connection:
            changed = connection.execute(
                update(control_revision).values(number=control_revision.c.number + 1, change_id=uuid4().hex)
            )
            if changed.rowcount != 1:
                raise ControlUnavailableError("The control database has lost its revision row.")
            yield connection

    def create_tables(self) -> None:
        """Bring the schema forward and make the default account where it is missing; any number of processes at once.

        Raises:
            ControlError: a newer version has made the database.
        """
        with _faults_translated(), self._writer.begin() as connection:
            # On SQLite, beginning to write is the lock; PostgreSQL has nothing to lock yet.
            if connection.dialect.name == "postgresql":
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_POSTGRES_CREATION_LOCK})"))
            migrate(connection)
            if connection.execute(select(control_revision.c.number)).first() is None:
                connection.execute(insert(control_revision).values(id=1, number=1, change_id=uuid4().hex))
                insert_account(connection, DEFAULT_ACCOUNT)

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()


@contextmanager
def _faults_translated() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        # The driver's own words, without the statement: what an operator needs, on one line.
        cause = " ".join(str(getattr(error, "orig", None) or error).split())
        raise ControlUnavailableError(f"The control database failed: {cause}") from error
