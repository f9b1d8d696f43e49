"""The composition root: builds every part, starts them in order, and stops them in the opposite one."""

import contextlib
import logging
import socket
import time
from pathlib import Path

from millimetric_server.api.call import Deps
from millimetric_server.backup.admin_door import AdminDoor
from millimetric_server.backup.moment import clear_leftovers
from millimetric_server.backup.restore import refuse_half_restored
from millimetric_server.backup.take import Source
from millimetric_server.config import DEFAULT_METRICS_ADDRESS, REFUSED, Settings, parse_rate_limits
from millimetric_server.control.directory import Directory
from millimetric_server.control.store import open_control_store
from millimetric_server.doors.boundary import flush_log
from millimetric_server.doors.grpc.server import GrpcDoor
from millimetric_server.doors.http.app import HttpApp
from millimetric_server.doors.listening import explain_bind
from millimetric_server.doors.metrics import ServerCollector
from millimetric_server.doors.metrics_door import MetricsDoor
from millimetric_server.enrich.geo import CountryReader
from millimetric_server.folder_watch import FolderWatch, list_watched
from millimetric_server.journal.sqlite.journal import SqliteJournal
from millimetric_server.loading.loader import WAITERS, Loader
from millimetric_server.process.folder_lock import lock_server_folders
from millimetric_server.process.last_resort import end_process_after
from millimetric_server.reads.time_zones import read_zones
from millimetric_server.rpcs import HANDLERS
from millimetric_server.server_secrets import load_secrets
from millimetric_server.serving import Serving
from millimetric_server.shares.body_room import BodyRoom
from millimetric_server.shares.limiter import Limiter
from millimetric_server.shares.places import Places
from millimetric_server.shares.refusals import Refusals
from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.inspection import Inspection
from millimetric_server.store.read_pool import ReadLimits, ReadRoom
from millimetric_server.store.statements import read_all_statements

log = logging.getLogger(__name__)

_HANGING_S = 1.0  # for threads that ask a ClickHouse server and get no answer


class Server:
    """A running Millimetric: two listening ports over one core."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._closing = contextlib.ExitStack()
        try:
            self.deps = self._build()
            self._open_doors()
        except BaseException:
            self._closing.close()
            raise

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then shut down in order: announce, refuse, finish, flush, load, close.

        Raises WorkerDiedError, after the same shutdown, when a thread that the server can't do without has ended.
        """
        deps, settings = self.deps, self._settings
        serving = Serving(settings, deps, self._http, self._http_socket, self._grpc, self._folder_watch)
        for worker in deps.workers:
            worker.on_death = serving.note_death
        with self._closing:
            self._closing.callback(flush_log)
            deps.directory.start()
            self._closing.callback(deps.directory.close)
            deps.journal.start()
            self._closing.callback(deps.journal.close)
            deps.loader.start()
            self._closing.callback(deps.loader.close, settings.shutdown_timeout_s)
            admin = AdminDoor(Source(settings, deps.journal, deps.loader, deps.store))
            admin.start()
            self._closing.callback(admin.close)
            collector = ServerCollector(deps)
            collector.register()
            self._closing.callback(collector.unregister)
            self._grpc.start()
            where = f"gRPC on {settings.host}:{self.grpc_port}, HTTP on {settings.host}:{self.http_port}"
            if self._metrics is not None:
                self._metrics.start()
                where += f", metrics on {self._metrics.host}:{self._metrics.port}"
            log.info("%s", where)
            serving.run()
        if deps.store.reads.is_busy:  # with a ClickHouse server that does not answer; Python would wait for it
            end_process_after(_HANGING_S, 1 if serving.dead_worker else 0)
        serving.raise_if_dead()

    @property
    def grpc_port(self) -> int:
        """The port that the gRPC door listens on."""
        return self._grpc.port

    @property
    def http_port(self) -> int:
        """The port that the HTTP door listens on."""
        port: int = self._http_socket.getsockname()[1]
        return port

    def _build(self) -> Deps:
        settings = self._settings
        # Before anything is opened or written, and released when all is closed.
        self._closing.enter_context(lock_server_folders(settings, "serve"))
        refuse_half_restored(settings)
        clear_leftovers(settings)
        data, share = settings.data_path, settings.project_share_percent
        read_zones()
        read_all_statements()
        control = open_control_store(settings.resolved_database_url)
        self._closing.callback(control.close)
        secrets = load_secrets(settings, control.has_keys)
        store = ClickHouse(
            settings.resolved_clickhouse_url,
            settings.clickhouse_database,
            read_limits=ReadLimits(settings.read_seconds_max, settings.read_memory_bytes_max, settings.read_rows_max),
            read_room=ReadRoom(settings.reads_max, settings.reads_running_max, settings.exports_max, share),
        )
        self._closing.callback(store.close)
        journal = SqliteJournal(
            data / "journal.db",
            bytes_max=settings.journal_max_bytes,
            free_bytes_min=settings.journal_free_bytes_min,
            idempotency_window_days=settings.idempotency_window_days,
        )
        inspection = Inspection(store, data, lambda: [one.project_id for one in journal.load_balances()])
        loader = Loader(
            journal,
            store,
            flush_interval_ms=settings.flush_interval_ms,
            block_rows_max=settings.block_rows_max,
            waiters=Places(WAITERS, settings.stored_waiters_max, share),
            inspection=inspection,
        )
        if store.is_embedded:  # before there are threads; a server is the loader's business, and may be away
            loader.prepare()
        countries = CountryReader(find_geoip_db(settings))
        self._closing.callback(countries.close)
        limits = parse_rate_limits(settings.rate_limits)
        bodies = BodyRoom(settings.bodies_bytes_max, settings.body_bytes_max)
        self._closing.callback(bodies.close)
        self._folder_watch = FolderWatch(list_watched(settings), journal)
        return Deps(
            directory=Directory(control),
            secrets=secrets,
            limiter=Limiter(limits),
            refusals=Refusals(limits.get(REFUSED)),
            journal=journal,
            erasures=journal.erasures,
            loader=loader,
            store=store,
            countries=countries,
            trusted_proxies=settings.read_trusted_proxies(),
            read_clock_us=lambda: time.time_ns() // 1000,
            streams=Places("streams", settings.grpc_streams_max, share),
            bodies=bodies,
        )

    def _open_doors(self) -> None:
        settings = self._settings
        limit = settings.body_bytes_max
        self._http = HttpApp(HANDLERS, self.deps, limit, settings.metrics_token)
        self._http_socket = _listen(settings.host, settings.http_port)
        self._closing.callback(self._http_socket.close)
        self._metrics = _open_metrics(settings)
        if self._metrics is not None:
            self._closing.callback(self._metrics.close)
        self._grpc = GrpcDoor(
            HANDLERS,
            self.deps,
            host=settings.host,
            port=settings.grpc_port,
            threads=settings.grpc_threads,
            streams_max=self.deps.streams.total,
            body_bytes_max=limit,
            reads_max=self.deps.store.reads.reads.total,
            exports_max=self.deps.store.reads.exports.total,
            calls_max=settings.grpc_calls_max,
            connection_age_s=settings.grpc_connection_age_s,
            connection_grace_s=settings.grpc_connection_grace_s,
            has_reflection=settings.grpc_reflection == "on",
        )
        self.deps.loader.waiters.on_change = self._grpc.lend_threads


def find_geoip_db(settings: Settings) -> Path | None:
    """The configured country database, or the one that set-up put into the data folder."""
    if settings.geoip_db:
        return Path(settings.geoip_db).expanduser().resolve()
    fetched = settings.data_path / "geoip.mmdb"
    return fetched if fetched.exists() else None


def _open_metrics(settings: Settings) -> MetricsDoor | None:
    """Bind the address for metrics. The default one may be taken, by another server here: that is no reason to end."""
    if (address := settings.read_metrics_address()) is None:
        return None
    try:
        return MetricsDoor(*address)
    except OSError as error:
        if settings.metrics_address != DEFAULT_METRICS_ADDRESS:
            raise OSError(f"{error}. Choose another --metrics-address") from error
        log.warning("%s. This server runs without /metrics: give it a --metrics-address of its own", error)
        return None


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise OSError(explain_bind("HTTP", host, port, error)) from error
    listener.listen(2048)
    return listener
