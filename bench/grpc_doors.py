"""Our handlers behind grpcio's threaded server or behind grpc.aio: `python -m bench.grpc_doors sync|aio DATA_DIR`.

Prints the port and a secret key, ends when its stdin closes. Everything behind the door is the server's own.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable

import grpc
import uvloop

from bench.server import make_settings
from millimetric_server.api.call import Call, Streaming
from millimetric_server.api.errors import AppError
from millimetric_server.api.rpc import AnyRpc
from millimetric_server.app import Parts, Server
from millimetric_server.control.records import Environment, KeyKind
from millimetric_server.control.store import open_control_store
from millimetric_server.doors.boundary import make_request_id, run, wait_async
from millimetric_server.doors.codecs.proto import decode_proto, encode_proto
from millimetric_server.doors.deps import DoorDeps
from millimetric_server.doors.grpc.server import GrpcDoor
from millimetric_server.server_secrets import load_secrets

_BODY_BYTES_MAX = 16 * 1024 * 1024


class AioMethods(grpc.GenericRpcHandler):
    """What doors/grpc/server.py does for threads, for an event loop."""

    def __init__(self, parts: Parts) -> None:
        self._methods: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            rpc.path: grpc.unary_unary_rpc_method_handler(_make_behaviour(rpc, parts.doors))
            for rpc in parts.rpcs
            if rpc.streaming is Streaming.NONE
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[bytes, bytes] | None":
        """Look the method up."""
        return self._methods.get(handler_call_details.method)


def _make_behaviour(
    rpc: AnyRpc, deps: DoorDeps
) -> Callable[[bytes, "grpc.aio.ServicerContext[bytes, bytes]"], Awaitable[bytes]]:
    async def answer(body: bytes, context: "grpc.aio.ServicerContext[bytes, bytes]") -> bytes:
        call = Call(
            rpc=rpc,
            door="grpc",
            headers={name: value for name, value in context.invocation_metadata() or () if isinstance(value, str)},
            peer=context.peer().removeprefix("ipv4:").rpartition(":")[0],
            received_at=deps.read_clock_us(),
            request_id=make_request_id(),
        )
        answer = await wait_async(run(call, rpc, lambda: decode_proto(rpc.request, body), encode_proto, deps), call)
        if isinstance(answer, AppError):
            await context.abort(answer.failure.code, answer.message)
        return answer

    return answer


async def _serve_aio(parts: Parts, tell: Callable[[int], None]) -> None:
    server = grpc.aio.server(options=(("grpc.max_receive_message_length", _BODY_BYTES_MAX),))
    server.add_generic_rpc_handlers((AioMethods(parts),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    tell(port)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(5)


def _serve_sync(parts: Parts, threads: int, tell: Callable[[int], None]) -> None:
    door = GrpcDoor(
        parts.rpcs,
        parts.doors,
        host="127.0.0.1",
        port=0,
        threads=threads,
        streams_max=1,
        body_bytes_max=_BODY_BYTES_MAX,
    )
    door.start()
    tell(door.port)
    sys.stdin.read()
    door.close(5)


def main(kind: str, data_dir: str) -> None:
    """Serve until stdin closes."""
    settings = make_settings(data_dir)
    parts = Server(settings).parts
    status = parts.status
    control = open_control_store(settings.resolved_database_url)
    project = control.create_project("bench")
    key = control.create_key(
        KeyKind.SECRET, Environment.LIVE, load_secrets(settings).key_pepper, project=project.project_id
    )
    control.close()
    status.directory.start()
    status.journal.start()
    status.loader.start()

    def tell(port: int) -> None:
        print(port, key.text, flush=True)

    if kind == "aio":
        uvloop.run(_serve_aio(parts, tell))
    else:
        _serve_sync(parts, settings.grpc_threads, tell)
    status.loader.close(20)
    status.journal.close()
    status.directory.close()
    status.store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
