"""Follows a project through every door, each message in one shape."""

import base64
import contextlib
import json
import socket
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
import httpx
from google.protobuf import json_format

from integration.connect_calls import envelope
from integration.reads import bearer
from millimetric.v1 import query_service_pb2, query_service_pb2_grpc
from support.server_process import ServerProcess

TIMEOUT_S = 120
_TAIL = "/millimetric.v1.QueryService/Tail"


@dataclass(frozen=True)
class Told:
    """A message: the row's event_id and all of the row (nothing for a sign of life), and what was missed before it."""

    event_id: str
    missed: int
    row: Mapping[str, Any]


Messages = Iterator[Told]
Follow = Callable[..., contextlib.AbstractContextManager[Messages]]


class SseClient:
    """A client of server-sent events over a socket of its own, which reads when it is asked to."""

    def __init__(self, server: ServerProcess, key: str, query: str = "", *, buffer_bytes: int = 0) -> None:
        self._socket = socket.socket()
        if buffer_bytes:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        self._socket.settimeout(TIMEOUT_S)
        self._socket.connect(("127.0.0.1", server.http_port))
        head = (
            f"GET /v1/tail?{query} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\naccept-encoding: gzip\r\n\r\n"
        )
        self._socket.sendall(head.encode())
        self._file = self._socket.makefile("rb")
        self.status = int(self._file.readline().split()[1])
        lines = iter(lambda: self._file.readline().decode().strip(), "")
        self.headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
        self._text = b""

    def read_block(self) -> str:
        """The lines up to the next empty one; empty at the stream's end. Raises ConnectionError if it breaks off."""
        while b"\n\n" not in self._text:
            size = self._file.readline()
            if not size:
                raise ConnectionError("the stream has no end")
            chunk = self._file.read(int(size, 16))
            self._file.readline()
            if not chunk:
                return ""
            self._text += chunk
        block, _, self._text = self._text.partition(b"\n\n")
        return block.decode()

    def read_messages(self) -> Messages:
        """The events, and what was missed before them."""
        while block := self.read_block():
            fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
            if fields.get("event") == "missed":
                yield Told("", json.loads(fields["data"])["missed"], {})
            elif "data" in fields:
                row = json.loads(fields["data"])
                yield Told(row["event_id"], 0, row)

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@contextlib.contextmanager
def follow_rest(server: ServerProcess, key: str, request: Mapping[str, Any], query: str = "") -> Iterator[Messages]:
    """Follow by server-sent events; a tree of filters is JSON there."""
    texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in request.items()}
    with contextlib.closing(SseClient(server, key, query or str(httpx.QueryParams(texts)))) as client:
        assert client.status == 200
        assert client.read_block() == "retry: 3000"
        yield client.read_messages()


@contextlib.contextmanager
def follow_grpc(server: ServerProcess, key: str, request: Mapping[str, Any]) -> Iterator[Messages]:
    """Follow over gRPC; the stream has begun when its first metadata is there."""
    with grpc.insecure_channel(server.grpc_address, (("grpc.use_local_subchannel_pool", 1),)) as channel:
        message = json_format.ParseDict(request, query_service_pb2.TailRequest())
        call = query_service_pb2_grpc.QueryServiceStub(channel).Tail(
            message, metadata=(("authorization", f"Bearer {key}"),), timeout=TIMEOUT_S
        )
        list(call.initial_metadata())
        yield map(_read_proto, call)
        call.cancel()


def _read_proto(message: Any) -> Told:
    row = json_format.MessageToDict(message.row, preserving_proto_field_name=True)
    return Told(message.row.event_id, message.missed, row)


@contextlib.contextmanager
def _post(
    server: ServerProcess, key: str, request: Mapping[str, Any], kind: str
) -> Iterator[Iterator[tuple[int, bytes]]]:
    """Post a stream's only message; yields the envelopes as they come."""
    is_json, is_text = kind.endswith("json"), "text" in kind
    message = json_format.ParseDict(request, query_service_pb2.TailRequest())
    body = envelope(json.dumps(request).encode() if is_json else message.SerializeToString())
    headers = bearer(key) | {"content-type": kind}
    with httpx.stream(
        "POST",
        f"{server.base_url}{_TAIL}",
        content=base64.b64encode(body) if is_text else body,
        headers=headers,
        timeout=TIMEOUT_S,
    ) as answer:
        assert answer.status_code == 200
        yield _read_envelopes(answer, is_text=is_text)


def _read_envelopes(answer: httpx.Response, *, is_text: bool) -> Iterator[tuple[int, bytes]]:
    text, data = b"", b""
    for part in answer.iter_raw():
        text += part
        if is_text:
            whole, text = text[: len(text) // 4 * 4], text[len(text) // 4 * 4 :]
            data += b"".join(base64.b64decode(whole[at : at + 4]) for at in range(0, len(whole), 4))
        else:
            data, text = data + text, b""
        while len(data) >= 5 and len(data) >= 5 + (size := struct.unpack_from(">BI", data)[1]):
            yield data[0], data[5 : 5 + size]
            data = data[5 + size :]


def _follow_http(kind: str) -> Follow:
    @contextlib.contextmanager
    def follow(server: ServerProcess, key: str, request: Mapping[str, Any]) -> Iterator[Messages]:
        with _post(server, key, request, kind) as envelopes:
            yield _read_http(envelopes, is_json=kind.endswith("json"))

    return follow


def _read_http(envelopes: Iterator[tuple[int, bytes]], *, is_json: bool) -> Messages:
    for flags, data in envelopes:
        if flags:
            return
        message = query_service_pb2.TailResponse()
        if is_json:
            json_format.Parse(data, message)
        else:
            message.ParseFromString(data)
        yield _read_proto(message)


DOORS: Mapping[str, Follow] = {
    "rest": follow_rest,
    "grpc": follow_grpc,
    "connect_json": _follow_http("application/connect+json"),
    "connect_proto": _follow_http("application/connect+proto"),
    "grpc_web": _follow_http("application/grpc-web+proto"),
    "grpc_web_text": _follow_http("application/grpc-web-text+proto"),
}
