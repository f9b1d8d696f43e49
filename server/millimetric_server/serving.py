"""Serves until a signal or a worker's death; then shuts both doors down in order, within a bound."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn

from millimetric_server.config import Settings
from millimetric_server.doors.deps import StatusDeps
from millimetric_server.doors.grpc.server import GrpcDoor
from millimetric_server.doors.http.app import HttpApp
from millimetric_server.doors.http.connection import (
    make_connection_class,
    read_connection_limits,
    sweep_connections,
)
from millimetric_server.enrich.geo import CountryReader
from millimetric_server.folder_watch import LOOK_EVERY_S, FolderWatch
from millimetric_server.process.last_resort import end_process_after
from millimetric_server.process.workers import WorkerDiedError

log = logging.getLogger(__name__)

_GEOIP_CHECK_S = 30.0
_GC_THRESHOLDS = 50_000, 50, 100  # calls make few cycles, and Python's own thresholds stop all of them every few calls
_LAST_WORDS_S = 2  # for the answers to calls that are given up
_DEATH_GRACE_S = 10.0  # beyond a shutdown's time


class Serving:
    """One run of the HTTP port's event loop, from which the gRPC door is ended too."""

    def __init__(
        self,
        settings: Settings,
        status: StatusDeps,
        countries: CountryReader,
        http: HttpApp,
        http_socket: socket.socket,
        grpc: GrpcDoor,
        folder_watch: FolderWatch,
    ) -> None:
        self._settings, self._status, self._countries = settings, status, countries
        self._http, self._http_socket, self._grpc = http, http_socket, grpc
        self._folder_watch = folder_watch
        self._has_handlers = False  # for signals: SIGTERM is an orderly end
        self.dead_worker = ""

    def note_death(self, worker: str) -> None:
        """Shut down in order, and within a bound, because a worker's thread has ended."""
        self.dead_worker = worker
        end_process_after(self._settings.shutdown_timeout_s + _DEATH_GRACE_S, 1)
        if self._has_handlers:
            os.kill(os.getpid(), signal.SIGTERM)

    def raise_if_dead(self) -> None:
        """Raise WorkerDiedError if a worker's death has ended the server, and not a signal."""
        if not self.dead_worker:
            return
        for worker in self._status.workers:
            if worker.reason:
                raise WorkerDiedError(f"The server ended: {worker.reason}")
        raise WorkerDiedError(
            f"The server ended because its {self.dead_worker} stopped, see the log above. "
            "Start it again: acknowledged events are durable."
        )

    def run(self) -> None:
        """Serve, and return when both doors are closed."""
        gc.collect()
        gc.freeze()  # rules, tables and modules stay as long as the process: the collector need not look at them again
        gc.set_threshold(*_GC_THRESHOLDS)
        with _event_loop_policy():
            asyncio.run(self._serve())

    async def _serve(self) -> None:
        timeout_s = self._settings.shutdown_timeout_s
        http = _QuietServer(
            uvicorn.Config(
                self._http,
                http=make_connection_class(read_connection_limits(self._settings)),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                timeout_graceful_shutdown=timeout_s + _LAST_WORDS_S,
            )
        )
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        self._has_handlers = True
        if self.dead_worker:  # already
            stop.set()
        serving = asyncio.create_task(http.serve(sockets=[self._http_socket]))
        watching = (
            sweep_connections(lambda: http.server_state.connections),
            _repeat(_GEOIP_CHECK_S, self._countries.reload_if_replaced, "the country database"),
            _repeat(LOOK_EVERY_S, self._folder_watch.look, "the server's files"),
            _repeat(LOOK_EVERY_S, self._tell_health, "the server's health"),
        )
        sweeping, *looking = (asyncio.create_task(one) for one in watching)
        await asyncio.wait((asyncio.create_task(stop.wait()), serving), return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            self.dead_worker = "HTTP door"
        self._http.health.is_ending = True
        self._grpc.health.announce_end()
        self._bound_shutdown()
        await self._drain(stop, serving)
        log.info("shutting down: finishing calls, then loading what the journal holds")
        for look in looking:
            look.cancel()
        await asyncio.to_thread(self._status.followers.close)
        http.should_exit = True
        doors = asyncio.gather(serving, asyncio.to_thread(self._grpc.close, timeout_s + _LAST_WORDS_S))
        if not (await asyncio.wait((doors,), timeout=timeout_s))[0]:
            log.warning("ending the calls that take longer")
            await asyncio.to_thread(self._give_up_calls)
        await doors
        sweeping.cancel()

    async def _drain(self, stop: asyncio.Event, serving: "asyncio.Task[None]") -> None:
        """Accept calls until balancers have noticed the shutdown, or a second signal comes."""
        drain_s = self._settings.shutdown_drain_s
        if not drain_s or serving.done() or self.dead_worker:
            return
        log.info("draining: calls are accepted for %d s more, or until the next signal", drain_s)
        stop.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), drain_s)

    def _tell_health(self) -> None:
        self._grpc.health.tell(is_ready=self._status.is_ready)

    def _give_up_calls(self) -> None:
        """Answer the calls that take too long, so that none is aborted silently."""
        self._status.loader.give_up_waiting()
        self._status.store.reads.give_up()

    def _bound_shutdown(self) -> None:
        """End this process if the shutdown hangs. Acknowledged events are in the journal."""
        settings = self._settings
        end_process_after(
            settings.shutdown_drain_s + 2 * settings.shutdown_timeout_s + _LAST_WORDS_S + _DEATH_GRACE_S, 1
        )


class _QuietServer(uvicorn.Server):
    """uvicorn without its signal handlers, since this module orders the shutdown."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _repeat(every_s: float, look: Callable[[], object], what: str) -> None:
    """Look at something again and again, in a thread, whatever happens."""
    while True:
        await asyncio.sleep(every_s)
        try:
            await asyncio.to_thread(look)
        except Exception:
            log.exception("can't check %s", what)


@contextlib.contextmanager
def _event_loop_policy() -> Iterator[None]:
    import uvloop

    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    try:
        yield
    finally:
        asyncio.set_event_loop_policy(None)
