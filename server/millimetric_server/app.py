"""The composition root: builds every part, starts them in order, and stops them in the opposite one."""

import contextlib
import logging
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from millimetric_server.api.rpc import AnyRpc
from millimetric_server.backup.admin_door import AdminDoor
from millimetric_server.backup.moment import clear_leftovers
from millimetric_server.backup.restore import refuse_half_restored
from millimetric_server.backup.take import Source
from millimetric_server.config import DEFAULT_METRICS_ADDRESS, REFUSED, Settings, parse_rate_limits
from millimetric_server.control.directory import Directory
from millimetric_server.control.store import open_control_store
from millimetric_server.doors.boundary import flush_log
from millimetric_server.doors.deps import DoorDeps, StatusDeps
from millimetric_server.doors.grpc.server import GrpcDoor
from millimetric_server.doors.http.app import HttpApp
from millimetric_server.doors.listening import explain_bind
from millimetric_server.doors.metrics import ServerCollector
from millimetric_server.doors.metrics_door import MetricsDoor
from millimetric_server.enrich.client_ip import TrustedProxies
from millimetric_server.enrich.geo import CountryReader
from millimetric_server.folder_watch import FolderWatch, list_watched
from millimetric_server.following.followers import FOLLOWERS, Followers
from millimetric_server.guards.deps import GuardDeps
from millimetric_server.ingest.deps import IngestDeps
from millimetric_server.journal.sqlite.journal import SqliteJournal
from millimetric_server.loading.loader import WAITERS, Loader
from millimetric_server.privacy.deps import PrivacyDeps
from millimetric_server.process.folder_lock import lock_server_folders
from millimetric_server.process.last_resort import end_process_after
from millimetric_server.reads.deps import ReadDeps
from millimetric_server.reads.time_zones import read_zones
from millimetric_server.rpcs import make_rpcs
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


@dataclass(frozen=True, slots=True)
class Parts:
    """What a server is made of: the API, what its doors work with, and what is looked at and ended with it."""

    rpcs: tuple[AnyRpc, ...]
    doors: DoorDeps
    status: StatusDeps
    countries: CountryReader


class Server:
    """A running server: two listening ports over one core."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._closing = contextlib.ExitStack()
        try:
            self.parts = self._build()
            self._open_doors(self.parts)
        except BaseException:
            self._closing.close()
            raise

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT, then shut down in order: announce, refuse, finish, flush, load, close.

        Raises WorkerDiedError, after the same shutdown, when a thread that the server can't do without has ended.
        """
        parts, settings = self.parts, self._settings
        status, journal, loader, store = parts.status, parts.status.journal, parts.status.loader, parts.status.store
        serving = Serving(
            settings, status, parts.countries, self._http, self._http_socket, self._grpc, self._folder_watch
        )
        for worker in status.workers:
            worker.on_death = serving.note_death
        with self._closing:
            self._closing.callback(flush_log)
            status.directory.start()
            self._closing.callback(status.directory.close)
            journal.start()
            self._closing.callback(journal.close)
            loader.start()
            self._closing.callback(loader.close, settings.shutdown_timeout_s)
            admin = AdminDoor(Source(settings, journal, loader, store))
            admin.start()
            self._closing.callback(admin.close)
            collector = ServerCollector(status)
            collector.register()
            self._closing.callback(collector.unregister)
            self._grpc.start()
            where = f"gRPC on {settings.host}:{self.grpc_port}, HTTP on {settings.host}:{self.http_port}"
            if self._metrics is not None:
                self._metrics.start()
                where += f", metrics on {self._metrics.host}:{self._metrics.port}"
            log.info("%s", where)
            serving.run()
        if store.reads.is_busy:  # with a ClickHouse server that does not answer; Python would wait for it
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

    def _build(self) -> Parts:
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
        directory, limiter = Directory(control), Limiter(limits)
        proxies = TrustedProxies(settings.read_trusted_proxies(), settings.client_ip_header.strip().lower())
        streams = Places("streams", settings.grpc_streams_max, share)
        followers = Followers(Places(FOLLOWERS, settings.followers_max, share))
        rpcs = make_rpcs(
            IngestDeps(journal, loader, countries.country, secrets.ip_salt, secrets.identity_key, proxies, followers),
            PrivacyDeps(journal.erasures, loader.notify),
            ReadDeps(store, secrets.key_pepper, followers),
        )
        doors = DoorDeps(
            guards=GuardDeps(directory, limiter, secrets.key_pepper),
            ledger=journal,
            trusted_proxies=proxies,
            read_clock_us=lambda: time.time_ns() // 1000,
            streams=streams,
            bodies=bodies,
            refusals=Refusals(limits.get(REFUSED)),
        )
        return Parts(rpcs, doors, StatusDeps(directory, journal, loader, store, streams, followers), countries)

    def _open_doors(self, parts: Parts) -> None:
        settings, store = self._settings, parts.status.store
        limit = settings.body_bytes_max
        self._http = HttpApp(parts.rpcs, parts.doors, parts.status, limit, settings.metrics_token)
        self._http_socket = _listen(settings.host, settings.http_port)
        self._closing.callback(self._http_socket.close)
        self._metrics = _open_metrics(settings)
        if self._metrics is not None:
            self._closing.callback(self._metrics.close)
        self._grpc = GrpcDoor(
            parts.rpcs,
            parts.doors,
            host=settings.host,
            port=settings.grpc_port,
            threads=settings.grpc_threads,
            streams_max=parts.doors.streams.total,
            body_bytes_max=limit,
            reads_max=store.reads.reads.total,
            exports_max=store.reads.exports.total,
            followers_max=parts.status.followers.places.total,
            calls_max=settings.grpc_calls_max,
            connection_age_s=settings.grpc_connection_age_s,
            connection_grace_s=settings.grpc_connection_grace_s,
            has_reflection=settings.grpc_reflection == "on",
        )
        parts.status.loader.waiters.on_change = self._grpc.lend_threads


def find_geoip_db(settings: Settings) -> Path | None:
    """The configured country database, or the one that set-up put into the data folder."""
    if settings.geoip_db:
        return Path(settings.geoip_db).expanduser().resolve()
    fetched = settings.data_path / "geoip.mmdb"
    return fetched if fetched.exists() else None


def _open_metrics(settings: Settings) -> MetricsDoor | None:
    """Bind the address for metrics. If the default one is in use, the server runs without."""
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
