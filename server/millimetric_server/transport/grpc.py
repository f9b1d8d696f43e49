"""The gRPC door: grpcio's threaded server (docs/adr/0002), all methods on raw bytes, health and reflection."""

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from millimetric_server.call import Deps, Rpc, Shape
from millimetric_server.errors import AppError, Reason
from millimetric_server.transport.boundary import make_internal_error, make_request_id, run, wait_blocking
from millimetric_server.transport.codec_proto import encode_proto
from millimetric_server.transport.grpc_call import decode_body, make_call, refuse
from millimetric_server.transport.grpc_export import Exports
from millimetric_server.transport.grpc_stream import Streams

log = logging.getLogger(__name__)

_PACKAGE = "/millimetric.v1."
# grpcio refuses what is larger with words of its own; up to this factor we refuse it with ours.
_OVERSIZE_FACTOR = 8
if TYPE_CHECKING:  # the class is generic in its type stubs only
    Handler = grpc.RpcMethodHandler[Any, Any]
else:
    Handler = grpc.RpcMethodHandler
Behaviour = Callable[[bytes, grpc.ServicerContext], bytes]


class GrpcDoor:
    """Listens for gRPC and carries out calls on a pool of threads."""

    def __init__(
        self,
        handlers: tuple[Rpc, ...],
        deps: Deps,
        *,
        host: str,
        port: int,
        threads: int,
        streams_max: int,
        body_bytes_max: int,
    ) -> None:
        self._streams = Streams(deps, streams_max, body_bytes_max)
        self._server = grpc.server(
            ThreadPoolExecutor(threads, thread_name_prefix="grpc"),
            interceptors=[FaultInterceptor()],
            options=(
                ("grpc.max_receive_message_length", body_bytes_max * _OVERSIZE_FACTOR),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),
            ),
        )
        self._health = health.HealthServicer()
        services = sorted({f"millimetric.v1.{rpc.service}" for rpc in handlers})
        self._server.add_generic_rpc_handlers((_Methods(handlers, deps, self._streams, body_bytes_max),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((*services, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        for service in ("", *services):
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise OSError(
                f"can't listen for gRPC on {address}: is the port taken? Choose another --grpc-port"
            ) from error

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def announce_end(self) -> None:
        """Tell health checks that this server is going."""
        self._health.enter_graceful_shutdown()

    def close(self, timeout_s: float) -> None:
        """Refuse new calls, finish running ones within the time; a stream ends behind what it has answered."""
        stopped = self._server.stop(timeout_s)
        self._streams.close()
        stopped.wait()


class FaultInterceptor(grpc.ServerInterceptor):
    """Hides the text of any exception, also of health and reflection: grpcio would send it to the caller."""

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Handler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler | None:
        """Wrap what answers a unary call; streams of reflection and health carry no text of ours."""
        handler = continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler
        behaviour = handler.unary_unary

        def guarded(request: Any, context: grpc.ServicerContext) -> Any:
            try:
                return behaviour(request, context)
            except Exception:
                if context.code() is not None:  # type: ignore[attr-defined]  # an abort, not a fault
                    raise
                request_id = make_request_id()
                log.exception("gRPC %s: a fault [%s]", handler_call_details.method, request_id)
                refuse(context, make_internal_error(request_id))

        return grpc.unary_unary_rpc_method_handler(guarded, handler.request_deserializer, handler.response_serializer)


class _Methods(grpc.GenericRpcHandler):
    """Finds the method of a call; of our own package also those that do not exist, to say so in our words."""

    def __init__(self, handlers: tuple[Rpc, ...], deps: Deps, streams: Streams, body_bytes_max: int) -> None:
        exports = Exports(deps, body_bytes_max)
        self._methods: dict[str, Handler] = {
            rpc.path: _make_handler(rpc, deps, streams, exports, body_bytes_max) for rpc in handlers
        }
        self._unknown: Handler = grpc.unary_unary_rpc_method_handler(_answer_unknown)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Look the method up."""
        path = handler_call_details.method
        return self._methods.get(path) or (self._unknown if path.startswith(_PACKAGE) else None)


def _make_handler(rpc: Rpc, deps: Deps, streams: Streams, exports: Exports, body_bytes_max: int) -> Handler:
    if rpc.shape is Shape.BOTH:
        return grpc.stream_stream_rpc_method_handler(streams.make_behaviour(rpc))
    if rpc.shape is Shape.RESPONSES:
        return grpc.unary_stream_rpc_method_handler(exports.make_behaviour(rpc))
    return grpc.unary_unary_rpc_method_handler(_make_behaviour(rpc, deps, body_bytes_max))


def _make_behaviour(rpc: Rpc, deps: Deps, body_bytes_max: int) -> Behaviour:
    def answer(body: bytes, context: grpc.ServicerContext) -> bytes:
        call = make_call(rpc, context, deps, lambda: decode_body(rpc, body, body_bytes_max))
        if rpc.is_read and not context.add_callback(call.cancellation.cancel):  # it is called at the end in any case
            call.cancellation.cancel()
        reply = wait_blocking(run(call, deps, encode_proto))
        if reply.error is not None:
            refuse(context, reply.error)
        return reply.body

    return answer


def _answer_unknown(_body: bytes, context: grpc.ServicerContext) -> bytes:
    refuse(context, AppError(Reason.NOT_FOUND, "this server has no such method"))
