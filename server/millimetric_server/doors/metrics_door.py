"""/metrics on an address of its own, in threads of its own: it also answers while the doors are busy.

It takes no key and shows project ids and volumes, so its address is one that only your monitoring reaches.
"""

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

_PATH = "/metrics"
_IDLE_TIMEOUT_S = 10.0
_CONNECTIONS_MAX = 16


class MetricsDoor:
    """Listens for Prometheus."""

    def __init__(self, host: str, port: int) -> None:
        """Bind the address. Raises OSError, with a sentence."""
        self.host = f"[{host}]" if ":" in host else host
        try:
            self._server = (_ServerV6 if ":" in host else _Server)((host, port), _Handler)
        except OSError as error:
            raise OSError(
                f"can't listen for metrics on {self.host}:{port}: {error.strerror or error}. "
                "Stop the other program, or choose another MILLIMETRIC_METRICS_ADDRESS"
            ) from error
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop answering and free the port."""
        if self._thread.ident is not None:
            self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    timeout = _IDLE_TIMEOUT_S
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if urlsplit(self.path).path == _PATH:
            self._answer(200, generate_latest(), CONTENT_TYPE_LATEST)
        else:
            self._answer(404, b"only /metrics is here\n", "text/plain; charset=utf-8")

    do_HEAD = do_GET  # noqa: N815 - the library's name

    def version_string(self) -> str:
        return "millimetric"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's signature
        """Log nothing: a line would contain the caller's address."""

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a kept connection would hold the end up

    def __init__(self, *values: Any) -> None:
        self._places = threading.BoundedSemaphore(_CONNECTIONS_MAX)
        super().__init__(*values)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing when a caller disconnects; the library would print its address."""


class _ServerV6(_Server):
    address_family = socket.AF_INET6
