"""grpc.health.v1 on threads of its own, so that it answers however busy the door is."""

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2

from millimetric_server.api.errors import AppError, Violation, invalid_payload
from millimetric_server.doors.boundary import make_internal_error, make_request_id
from millimetric_server.doors.grpc.call import refuse
from millimetric_server.doors.grpc.pool import Admitted, CallPool

log = logging.getLogger(__name__)

SERVICE_NAME = health.SERVICE_NAME
_THREADS = 2
_CALLS_MAX = 1000  # that wait for their message; an open Watch takes no thread and is not one of them
if TYPE_CHECKING:  # the class is generic in its type stubs only
    Handler = grpc.RpcMethodHandler[Any, Any]
else:
    Handler = grpc.RpcMethodHandler


class HealthMethods:
    """Check and Watch, for anybody."""

    def __init__(self, services: tuple[str, ...]) -> None:
        self._pool = CallPool(_THREADS, _CALLS_MAX, "grpc-health")
        self._servicer = health.HealthServicer()
        self._services = "", *services
        self.tell(is_ready=True)
        check = _OpenMethod(self._servicer.Check, self._pool)
        watch = _OpenMethod(self._servicer.Watch, self._pool)
        watch.experimental_non_blocking = True  # grpcio then gives a way to send, and takes the thread back
        serialize = health_pb2.HealthCheckResponse.SerializeToString
        self.handlers: Mapping[str, Handler] = {
            f"/{SERVICE_NAME}/Check": grpc.unary_unary_rpc_method_handler(check, response_serializer=serialize),
            f"/{SERVICE_NAME}/Watch": grpc.unary_stream_rpc_method_handler(watch, response_serializer=serialize),
        }

    def tell(self, *, is_ready: bool) -> None:
        """Say SERVING or NOT_SERVING of all services from now on, unless the end was announced."""
        status = health_pb2.HealthCheckResponse
        for service in self._services:
            self._servicer.set(service, status.SERVING if is_ready else status.NOT_SERVING)

    def announce_end(self) -> None:
        """Say NOT_SERVING from now on."""
        self._servicer.enter_graceful_shutdown()

    def close(self) -> None:
        """Refuse calls that have sent no message."""
        self._pool.close()


class _OpenMethod:
    """A method of grpcio's own servicer, without a key; whatever goes wrong in it tells a caller nothing."""

    def __init__(self, behaviour: Callable[..., Any], pool: CallPool) -> None:
        self._behaviour = behaviour
        self.experimental_thread_pool = pool
        self.experimental_non_blocking = False

    def admit(self, _context: grpc.ServicerContext) -> None:
        """Let everybody in."""

    def note_refusal(self, error: AppError) -> None:
        """Count nothing: health checks are not calls of the API."""

    def __call__(self, request: Admitted, context: grpc.ServicerContext, *send: Any) -> Any:
        try:
            message = health_pb2.HealthCheckRequest.FromString(request.message)
        except DecodeError:
            refuse(context, invalid_payload((Violation("body", "must be a HealthCheckRequest"),)))
        context.disable_next_message_compression()
        try:
            return self._behaviour(message, context, *send)
        except Exception:
            request_id = make_request_id()
            log.exception("gRPC health: internal error [%s]", request_id)
            refuse(context, make_internal_error(request_id))
