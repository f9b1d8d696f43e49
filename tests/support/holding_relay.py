"""A TCP relay in front of a real server that holds back requests with a word in them, until the test lets them go."""

import contextlib
import socket
import threading
from typing import Self

_PIECE = 65_536


class HoldingRelay:
    """Relays a loopback port. `hold` takes effect for what is sent from then on."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self._changed = threading.Condition()
        self._words: set[bytes] = set()
        self._is_closing = False
        self.held = 0  # requests that are held back now

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        self._listener.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def hold(self, word: str) -> None:
        """Hold back every request that has this word in it."""
        with self._changed:
            self._words.add(word.encode())

    def release(self) -> None:
        """Let everything go, now and later."""
        with self._changed:
            self._words.clear()
            self._changed.notify_all()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                threading.Thread(target=self._pass_requests, args=(client, server), daemon=True).start()
                threading.Thread(target=_pass_answers, args=(server, client), daemon=True).start()

    def _pass_requests(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := client.recv(_PIECE):
                self._wait_while_held(piece)
                server.sendall(piece)
        _end(server)

    def _wait_while_held(self, piece: bytes) -> None:
        def is_free() -> bool:
            return self._is_closing or not any(word in piece for word in self._words)

        with self._changed:
            if not is_free():
                self.held += 1
                self._changed.wait_for(is_free)
                self.held -= 1


def _pass_answers(server: socket.socket, client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := server.recv(_PIECE):
            client.sendall(piece)
    _end(client)


def _end(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
