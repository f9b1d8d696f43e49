"""Reflection, as v1 and v1alpha: the same messages under two names. On a few threads of its own, and not for long."""

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from millimetric.v1 import error_reason_pb2
from millimetric_server.api.errors import AppError, Reason
from millimetric_server.doors.boundary import make_internal_error, make_request_id
from millimetric_server.doors.grpc.call import refuse

log = logging.getLogger(__name__)

SERVICE_NAMES = ("grpc.reflection.v1.ServerReflection", reflection.SERVICE_NAME)
# Described because callers meet them, though no method names them: the words and the details of errors.
_MET_IN_ERRORS = (error_reason_pb2.DESCRIPTOR, error_details_pb2.DESCRIPTOR)
STREAMS_MAX = 8
STREAM_TIMEOUT_S = 60.0
_REFUSING_THREADS = 2
_RETRY_AFTER_S = 5.0


class ReflectionMethods:
    """ServerReflectionInfo of both versions, for anybody."""

    def __init__(self, services: Sequence[str]) -> None:
        self._servicer = reflection.ReflectionServicer((*services, *SERVICE_NAMES), pool=_Symbols())
        self._places = threading.Semaphore(STREAMS_MAX)
        self._answer.__func__.experimental_thread_pool = ThreadPoolExecutor(  # type: ignore[attr-defined]
            STREAMS_MAX + _REFUSING_THREADS, thread_name_prefix="grpc-reflection"
        )
        handler = grpc.stream_stream_rpc_method_handler(
            self._answer,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        self.handlers: Mapping[str, Any] = {f"/{name}/ServerReflectionInfo": handler for name in SERVICE_NAMES}

    def _answer(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        if not self._places.acquire(blocking=False):
            message = f"{STREAMS_MAX} reflection streams are open already: try again later"
            refuse(context, AppError(Reason.OVERLOADED, message, retry_after_s=_RETRY_AFTER_S))
        timer = threading.Timer(STREAM_TIMEOUT_S, context.cancel)
        timer.daemon = True
        timer.start()
        try:
            yield from self._servicer.ServerReflectionInfo(requests, context)
        except grpc.RpcError:
            raise  # the caller is gone
        except Exception:
            request_id = make_request_id()
            log.exception("gRPC reflection: internal error [%s]", request_id)
            refuse(context, make_internal_error(request_id))
        finally:
            timer.cancel()
            self._places.release()


class _Symbols:
    """All descriptors, as the servicer asks for them: also the v1 service's own, and methods by their names."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()
        self._own_pool = descriptor_pool.DescriptorPool()
        self._own_pool.AddSerializedFile(_describe_v1())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileByName(self, name: str) -> FileDescriptor:  # noqa: N802 - names of descriptor pools
        """Find a file. Raises KeyError."""
        with contextlib.suppress(KeyError):
            return self._pool.FindFileByName(name)
        return self._own_pool.FindFileByName(name)

    def FindFileContainingSymbol(self, name: str) -> FileDescriptor:  # noqa: N802
        """Find the file of any named thing. Raises KeyError."""
        for pool in (self._pool, self._own_pool):
            with contextlib.suppress(KeyError):
                return pool.FindFileContainingSymbol(name)
            with contextlib.suppress(KeyError):  # upb's look-up above knows no methods (bojand/ghz#419)
                found: FileDescriptor = pool.FindMethodByName(name).containing_service.file
                return found
        raise KeyError(name)


def _describe_v1() -> bytes:
    """The descriptor of grpc.reflection.v1, which differs from v1alpha in the package alone."""
    described = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(described)
    described.name, described.package = "grpc/reflection/v1/reflection.proto", "grpc.reflection.v1"
    fields = [field for message in described.message_type for field in message.field]
    for field in (field for field in fields if field.HasField("type_name")):
        field.type_name = field.type_name.replace("v1alpha", "v1")
    for method in described.service[0].method:
        method.input_type = method.input_type.replace("v1alpha", "v1")
        method.output_type = method.output_type.replace("v1alpha", "v1")
    serialized: bytes = described.SerializeToString()
    return serialized
