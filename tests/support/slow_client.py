"""An HTTP client that decides itself when it sends what: half a request, a body that never ends, two at once."""

import select
import socket
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

TIMEOUT_S = 30.0


@dataclass(frozen=True)
class RawAnswer:
    """A response as it came."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class SlowClient:
    """A connection to a server on this machine. Close it, or use it as a context manager."""

    port: int
    _socket: socket.socket = field(init=False)
    _rest: bytes = b""

    def __post_init__(self) -> None:
        self._socket = socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Send these bytes and nothing else."""
        self._socket.sendall(data)

    def send_head(self, verb: str, path: str, headers: dict[str, str]) -> None:
        """Send a request's head. What body it announces is for `send`."""
        lines = [f"{verb} {path} HTTP/1.1", "host: localhost", *(f"{name}: {text}" for name, text in headers.items())]
        self.send("\r\n".join([*lines, "", ""]).encode())

    def read_answer(self) -> RawAnswer:
        """Read a response that tells its length."""
        while b"\r\n\r\n" not in self._rest:
            self._receive()
        head, _, self._rest = self._rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", 0))
        while len(self._rest) < size:
            self._receive()
        body, self._rest = self._rest[:size], self._rest[size:]
        return RawAnswer(int(first.split()[1]), headers, body)

    def is_answered(self) -> bool:
        """Tell whether the server has sent something, or closed the connection."""
        return bool(self._rest or select.select([self._socket], [], [], 0)[0])

    def is_closed_by_server(self) -> bool:
        """Wait for the server to close the connection; False if it sends something, TimeoutError if it does not."""
        try:
            return self._rest == b"" and self._socket.recv(1) == b""
        except (ConnectionResetError, BrokenPipeError):
            return True

    def wait_for_silence(self, seconds: float) -> None:
        """Wait for so long; TimeoutError where the server says nothing and does not close, as is hoped."""
        self._socket.settimeout(seconds)
        try:
            self._receive()
        finally:
            self._socket.settimeout(TIMEOUT_S)

    def _receive(self) -> None:
        data = self._socket.recv(65536)
        if not data:
            raise ConnectionError("the server has closed the connection")
        self._rest += data
