"""The gRPC door: grpcio's threaded server (docs/adr/0002), all methods on raw bytes, health and reflection."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import grpc

from millimetric_server.api.call import Streaming
from millimetric_server.api.errors import AppError, Reason, make_ending
from millimetric_server.api.rpc import AnyRpc
from millimetric_server.doors.deps import DoorDeps
from millimetric_server.doors.grpc.call import refuse
from millimetric_server.doors.grpc.ending import CallsInWork, hang_up
from millimetric_server.doors.grpc.health import SERVICE_NAME, Handler, HealthMethods
from millimetric_server.doors.grpc.options import make_options
from millimetric_server.doors.grpc.pool import CallPool
from millimetric_server.doors.grpc.reflection import ReflectionMethods
from millimetric_server.doors.grpc.server_stream import ServerStreamMethod
from millimetric_server.doors.grpc.stream import Streams
from millimetric_server.doors.grpc.unary import UnaryMethod
from millimetric_server.doors.listening import explain_bind

log = logging.getLogger(__name__)

_PACKAGE = "/millimetric.v1."
_FLUSH_S = 0.2  # from a call's end to its last byte on the wire
_LOOK_INTERVAL_S = 0.02
CALLS_MAX = 4000
_STALLED_S = 2.0  # at the end, for callers of streams without one who take nothing
_REFUSING_THREADS = 4  # to tell others that there is no place


class GrpcDoor:
    """Listens for gRPC and carries out calls on pools of threads.

    `threads` are for unary writes in work; the other numbers are those of the places for streams, reads, exports and
    followers.
    """

    def __init__(
        self,
        rpcs: Sequence[AnyRpc],
        deps: DoorDeps,
        *,
        host: str,
        port: int,
        threads: int,
        streams_max: int,
        body_bytes_max: int,
        reads_max: int = 1,
        exports_max: int = 1,
        followers_max: int = 1,
        calls_max: int = CALLS_MAX,
        connection_age_s: int = 0,
        connection_grace_s: int = 300,
        has_reflection: bool = True,
    ) -> None:
        self._work = CallsInWork()
        self._streams = Streams(deps, self._work, streams_max, body_bytes_max)
        self._threads = threads
        self._calls = CallPool(threads, calls_max, "grpc")
        self._reads = CallPool(reads_max + _REFUSING_THREADS, calls_max, "grpc-read")
        self._exports = CallPool(exports_max + _REFUSING_THREADS, calls_max, "grpc-export")
        self._endless = CallPool(followers_max + _REFUSING_THREADS, calls_max, "grpc-follower")
        self._server_streams: list[ServerStreamMethod] = []
        services = tuple(sorted({f"millimetric.v1.{rpc.service}" for rpc in rpcs}))
        self.health = HealthMethods(services)
        methods: dict[str, Handler] = {rpc.path: self._make_handler(rpc, deps, body_bytes_max) for rpc in rpcs}
        methods |= self.health.handlers
        if has_reflection:
            methods |= ReflectionMethods((*services, SERVICE_NAME)).handlers
        # No method of ours is left to the server's own pool: a call there holds a thread until its message comes.
        self._server = grpc.server(
            ThreadPoolExecutor(1, thread_name_prefix="grpc-none"),
            handlers=[_Methods(methods, self._work)],
            options=make_options(body_bytes_max, connection_age_s, connection_grace_s),
        )
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(explain_bind("gRPC", host, port)) from error

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def lend_threads(self, waiting: int) -> None:
        """Allow for so many calls that wait for the store: they take none of the others' threads (docs/adr/0017)."""
        self._calls.set_threads(self._threads + waiting)

    def close(self, timeout_s: float) -> None:
        """Refuse new calls, finish running ones within the time; a stream ends behind what it has answered."""
        deadline = time.monotonic() + timeout_s
        pools = self._calls, self._reads, self._exports, self._endless
        self._work.end()
        self._streams.close()
        for pool in (*pools, self.health):
            pool.close()
        if not self._work.wait_for_end(min(_STALLED_S, timeout_s)):
            for method in self._server_streams:
                method.hang_up()
        if not self._work.wait_for_end(deadline - time.monotonic()):
            log.warning("gRPC: calls are still running and are aborted")
        while any(pool.is_busy for pool in pools) and time.monotonic() < deadline:
            time.sleep(_LOOK_INTERVAL_S)
        time.sleep(_FLUSH_S)  # the last answers are on their way
        hang_up(self.port)
        time.sleep(_FLUSH_S)  # until grpc-core has seen it
        self._server.stop(None).wait()

    def _make_handler(self, rpc: AnyRpc, deps: DoorDeps, body_bytes_max: int) -> Handler:
        if rpc.streaming is Streaming.BIDI:
            return grpc.stream_stream_rpc_method_handler(self._streams.make_behaviour(rpc))
        if rpc.streaming is Streaming.SERVER:
            streams = self._endless if rpc.is_endless else self._exports
            method = ServerStreamMethod(rpc, deps, streams, self._work, body_bytes_max)
            self._server_streams.append(method)
            return grpc.unary_stream_rpc_method_handler(method)
        pool = self._reads if rpc.is_read else self._calls
        return grpc.unary_unary_rpc_method_handler(UnaryMethod(rpc, deps, pool, self._work, body_bytes_max))


class _Methods(grpc.GenericRpcHandler):
    """Finds the method of a call; of our own package also those that do not exist, to say so in our words."""

    def __init__(self, methods: Mapping[str, Handler], work: CallsInWork) -> None:
        self._methods = methods
        self._work = work
        pool = ThreadPoolExecutor(_REFUSING_THREADS, thread_name_prefix="grpc-unknown")
        # As a stream of both, so that nobody waits for a message.
        self._unknown: Handler = grpc.stream_stream_rpc_method_handler(_Refusal(pool, _refuse_unknown))
        self._ending: Handler = grpc.stream_stream_rpc_method_handler(_Refusal(pool, _refuse_at_the_end))

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Look the method up."""
        path = handler_call_details.method
        if self._work.is_ending and path.startswith(_PACKAGE):
            return self._ending
        return self._methods.get(path) or (self._unknown if path.startswith(_PACKAGE) else None)


class _Refusal:
    """Answers any call, as a stream of both, with a refusal."""

    def __init__(self, pool: ThreadPoolExecutor, refuse: Callable[[grpc.ServicerContext], NoReturn]) -> None:
        self.experimental_thread_pool = pool
        self._refuse = refuse

    def __call__(self, _messages: Iterator[Any], context: grpc.ServicerContext) -> Iterator[bytes]:
        self._refuse(context)


def _refuse_unknown(context: grpc.ServicerContext) -> NoReturn:
    refuse(context, AppError(Reason.NOT_FOUND, "this server has no such method"), grpc.StatusCode.UNIMPLEMENTED)


def _refuse_at_the_end(context: grpc.ServicerContext) -> NoReturn:
    refuse(context, make_ending())
