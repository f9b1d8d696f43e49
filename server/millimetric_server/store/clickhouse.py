"""One ClickHouse client for `chdb:///path` (embedded) and `http(s)://…` (a server): callers need not know which."""

import contextlib
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import IOBase
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

import clickhouse_connect
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.httpclient import HttpClient
from urllib3 import Timeout

from millimetric_server.process.folders import make_folder, sync_file_system
from millimetric_server.store.engine import require_engine
from millimetric_server.store.faults import (
    FencedError,
    InsertsLockedError,
    NoRoomError,
    Outage,
    RowsRefusedError,
    StoreUnavailableError,
    describe_fault,
    is_fenced,
    is_locked,
    name_row_fault,
)
from millimetric_server.store.fence import PLACE, Fence
from millimetric_server.store.insert import Insert
from millimetric_server.store.priority import run_behind
from millimetric_server.store.read_pool import ReadLimits, ReadPool, ReadRoom

Rows = Sequence[Sequence[Any]]
Result = TypeVar("Result")

# A server queues small inserts by default and the embedded engine does not: off, so that both behave alike.
_SETTINGS: dict[str, object] = {"async_insert": 0}
_CONNECT_TIMEOUT_S = 3  # also for the first questions on a connection: a port that only accepts is noticed by them
# A longer deletion continues in ClickHouse; the statement is sent again and waits for it.
_WRITE_TIMEOUT_S = 60
_LONG_TIMEOUT_S = 12 * 3600


_COPY_BYTES = 1024 * 1024
# Work without an end of its own for so many queries at once, each with a thread for each core.
_WAITERS, _WAIT = 6, "SELECT sleepEachRow(0.02) FROM numbers_mt(32)"


class ClickHouse:
    """A pool of client handles, one a thread, onto one database. Safe to share between threads."""

    def __init__(
        self,
        url: str,
        database: str,
        *,
        write_timeout_s: int = _WRITE_TIMEOUT_S,
        read_limits: ReadLimits | None = None,
        read_room: ReadRoom | None = None,
    ) -> None:
        self.url = url
        self.database = database
        self.is_embedded = urlsplit(url).scheme == "chdb"
        self.fence: Fence | None = None  # this server's claim, once made; the embedded engine needs none
        self.is_current = False  # whether the schema is this version's; callers' reads wait for that
        self._write_timeout_s = write_timeout_s
        self._local = threading.local()
        self._clients: list[Client] = []
        self._clients_lock = threading.Lock()
        limits = read_limits or ReadLimits()
        self.outage = Outage(limits.timeout_s)
        self.reads = ReadPool(self, limits, read_room or ReadRoom())

    def open(self) -> None:
        """Connect and make the database. Raises StoreUnavailableError, EngineMissingError.

        The embedded engine silently reads a `config.xml` of the working directory when it is first imported and
        opened, so both happen inside an empty folder. Call this before other threads start.
        """
        if self.is_embedded:
            require_engine()
            self._prepare_folders(Path(urlsplit(self.url).path))
            with _empty_working_directory():
                run_behind(self._open)
        else:
            self._open()

    def _open(self) -> None:
        try:
            client = self._connect(database=None)
            client.command(f"CREATE DATABASE IF NOT EXISTS {_quote(self.database)}")
            client.close()
            self._client()
            if self.is_embedded:
                self._begin_threads()
        except Exception as error:
            raise StoreUnavailableError(describe_fault(error)) from error

    def _begin_threads(self) -> None:
        """Have the engine make its threads now, by this thread, whose priority they take over and keep."""

        def wait() -> None:
            with contextlib.suppress(ClickHouseError, OSError, RuntimeError):  # it is no more than a preparation
                client = self._connect(self.database)
                client.query(_WAIT, settings={"max_threads": os.cpu_count() or 1, "max_block_size": 1})
                client.close()

        waiters = [threading.Thread(target=wait, name="store-begin") for _ in range(_WAITERS)]
        for waiter in waiters:
            waiter.start()
        for waiter in waiters:
            waiter.join()

    @staticmethod
    def _prepare_folders(engine: Path) -> None:
        """Make the engine's folder, and one beside it for temporary files, emptied of what a crash left.

        The client library passes blocks of rows to the engine in files, which must not stay in a folder for all.
        """
        make_folder(engine)
        temporary = engine.with_name(f"{engine.name}.tmp")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(mode=0o700)
        tempfile.tempdir = str(temporary)

    def close(self) -> None:
        """Finish running reads, then close every handle: the engine aborts the process if one is still busy."""
        self.reads.close()
        with self._clients_lock:
            for client in self._clients:
                with contextlib.suppress(ClickHouseError):
                    client.close()
            self._clients.clear()

    def command(self, statement: str, parameters: Mapping[str, object] | None = None, **settings: object) -> None:
        """Run a statement that has no result; one with %FENCE% only while this server may write.

        Raises StoreUnavailableError, FencedError.
        """
        statement = statement.replace(PLACE, "1" if self.fence is None else self.fence.condition)
        settings = self._mark() | settings
        self._call(lambda client: client.command(statement, parameters=dict(parameters or {}), settings=settings))

    def command_at_length(self, statement: str, **settings: object) -> None:
        """Run a statement that may take hours, such as one that fills a table. Raises StoreUnavailableError."""

        def run(client: Client) -> None:
            assert isinstance(client, HttpClient)  # noqa: S101 - a server's
            usual = client.timeout
            client.timeout = Timeout(connect=_CONNECT_TIMEOUT_S, read=_LONG_TIMEOUT_S)
            try:
                client.command(statement, settings=_SETTINGS | settings)
            finally:
                client.timeout = usual

        if self.is_embedded:
            self.command(statement, None, **settings)
        else:
            self._call(run)

    def query(self, statement: str, parameters: Mapping[str, object] | None = None, **settings: object) -> Rows:
        """Run a query in this thread and return its rows. Raises StoreUnavailableError."""
        result = self._call(
            lambda client: client.query(statement, parameters=dict(parameters or {}), settings=settings)
        )
        rows: Rows = result.result_rows
        return rows

    def read_bytes(self, statement: str, parameters: Mapping[str, object], format_name: str) -> bytes:
        """Run a query in this thread and return its answer in one of ClickHouse's formats.

        Raises StoreUnavailableError.
        """
        # A server would otherwise begin to send, and tell a later failure as text behind the rows.
        settings = {"wait_end_of_query": 1}
        return self._call(
            lambda client: client.raw_query(statement, parameters=dict(parameters), settings=settings, fmt=format_name)
        )

    def copy_stream(self, statement: str, parameters: Mapping[str, object], format_name: str, file: IO[bytes]) -> None:
        """Run a query of a server in this thread and write its answer to a file as it comes.

        Raises StoreUnavailableError, NoRoomError.
        """

        def copy(client: Client) -> None:
            answer = client.raw_stream(statement, parameters=dict(parameters), fmt=format_name)
            assert isinstance(answer, IOBase)  # noqa: S101 - of a server's client
            with contextlib.closing(answer):
                while piece := answer.read(_COPY_BYTES):
                    try:
                        file.write(piece)
                    except OSError as error:
                        raise NoRoomError(str(error)) from error

        self._call(copy)

    def insert(self, table: str, columns: Mapping[str, str], values: Sequence[Sequence[object]]) -> None:
        """Insert the values of these columns (name: type). Raises StoreUnavailableError."""
        self._call(
            lambda client: client.insert(
                table,
                values,
                column_names=list(columns),
                column_type_names=list(columns.values()),
                column_oriented=True,
                settings=_SETTINGS,
            )
        )

    def insert_block(self, block: Insert) -> None:
        """Insert packed rows; the same token again inserts nothing, here and in the views.

        Raises StoreUnavailableError when it is not known whether they are in, RowsRefusedError when none is,
        FencedError when none is because another process has claimed what this one loads, InsertsLockedError when none
        is because another server keeps inserts out.
        """
        arguments = block.describe(self.fence)
        settings = self._mark() | arguments.settings

        def insert(client: Client) -> None:
            try:
                client.raw_insert(
                    arguments.table, arguments.column_names, arguments.insert_block, settings, arguments.format_name
                )
            except ClickHouseError as error:
                if (reason := name_row_fault(error)) is not None:
                    raise RowsRefusedError(reason, str(error)) from None
                raise

        self._call(insert)

    def sync(self) -> None:
        """Bring what ClickHouse syncs by no setting to the disk: made, altered and dropped tables, projections.

        That of an embedded engine only; a server's disk is out of reach. Raises StoreUnavailableError.
        """
        if self.is_embedded:
            try:
                sync_file_system(Path(urlsplit(self.url).path))
            except OSError as error:
                raise StoreUnavailableError(f"the engine's disk can't be synced: {error.strerror}") from error

    def is_reachable(self) -> bool:
        """Tell whether a trivial query is answered."""
        try:
            return bool(self.query("SELECT 1"))
        except StoreUnavailableError:
            return False

    def _mark(self) -> dict[str, object]:
        """The settings of every statement that writes; a later run finds the statements of this one by its mark."""
        return _SETTINGS if self.fence is None else {**_SETTINGS, "log_comment": self.fence.mark}

    def _call(self, action: Callable[[Client], Result]) -> Result:
        try:
            result = action(self._client())
        except BaseException as error:
            self._replace_client()
            if not isinstance(error, ClickHouseError | OSError | RuntimeError):
                raise
            if is_fenced(error):
                raise FencedError from None
            self.outage.note(has_answered=self.is_embedded or getattr(error, "code", None) is not None)
            if is_locked(error):
                raise InsertsLockedError from error
            raise StoreUnavailableError(describe_fault(error)) from error
        self.outage.note(has_answered=True)
        return result

    def _client(self) -> Client:
        client: Client | None = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = self._connect(self.database)
            with self._clients_lock:
                self._clients.append(client)
        return client

    def _replace_client(self) -> None:
        """Take a new handle of the embedded engine after a failure.

        A query that fails while it writes its answer, such as one that is killed, leaves what it wrote to the next
        query of its handle, which may be another project's. The new one is opened first: without any the engine would
        close.
        """
        old = getattr(self._local, "client", None)
        if old is None or not self.is_embedded:
            return
        self._local.client = None
        with contextlib.suppress(ClickHouseError, OSError, RuntimeError):  # then the next query opens it
            self._client()
            with self._clients_lock:
                self._clients.remove(old)
            old.close()

    def set_timeout(self, seconds: float) -> None:
        """Set how long this thread's connection waits for an answer of a server. Before its first query."""
        self._local.timeout_s = seconds

    def _connect(self, database: str | None) -> Client:
        if self.is_embedded:
            return clickhouse_connect.get_client(dsn=self.url, database=database)
        client = clickhouse_connect.get_client(
            dsn=self.url,
            database=database,
            connect_timeout=_CONNECT_TIMEOUT_S,
            send_receive_timeout=_CONNECT_TIMEOUT_S,
            autogenerate_session_id=False,
            query_retries=0,
        )
        assert isinstance(client, HttpClient)  # noqa: S101 - that is what a URL of a server gives
        client.timeout = Timeout(
            connect=_CONNECT_TIMEOUT_S, read=getattr(self._local, "timeout_s", self._write_timeout_s)
        )
        return client


def _quote(identifier: str) -> str:
    return "`" + identifier.replace("\\", "\\\\").replace("`", "\\`") + "`"


@contextlib.contextmanager
def _empty_working_directory() -> Iterator[None]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before)
