"""Ends the gRPC door without aborting a call silently.

grpc-core's own shutdown cancels calls that it has accepted and no handler has taken yet, and clients do not retry
CANCELLED. So running calls finish first, new ones are refused for a moment, and then the connections are closed in the
kernel: calls in transit fail as UNAVAILABLE.
"""

import contextlib
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

from millimetric_server.api.errors import make_ending

_OPEN_FILES = Path("/dev/fd")
_FAMILIES = (socket.AF_INET, socket.AF_INET6)


class CallsInWork:
    """The door's calls that are carried out now. Any thread may call any method."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._count = 0
        self.is_ending = False

    @contextlib.contextmanager
    def one(self) -> Iterator[None]:
        """Carry out a call inside the `with` block. Raises AppError overloaded once the door is ending."""
        with self._changed:
            if self.is_ending:
                raise make_ending()
            self._count += 1
        try:
            yield
        finally:
            with self._changed:
                self._count -= 1
                if self.is_ending:
                    self._changed.notify_all()

    def end(self) -> None:
        """Refuse new calls from now on."""
        with self._changed:
            self.is_ending = True

    def wait_for_end(self, timeout_s: float) -> bool:
        """Wait until no call is in work; False if that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._count, timeout_s)


def hang_up(port: int) -> None:
    """Close a port of this process and its connections, in the kernel: grpc-core sees that they are gone."""
    ends = [found for path in _OPEN_FILES.iterdir() if (found := _find_end(int(path.name), port)) is not None]
    for is_listening in (True, False):  # first what would take new connections
        for end in ends:
            with contextlib.suppress(OSError):
                if _listens(end) is is_listening:
                    end.shutdown(socket.SHUT_RDWR)
    for end in ends:
        end.close()


def _find_end(file: int, port: int) -> socket.socket | None:
    """A socket of that port, if the file is one."""
    try:
        if not stat.S_ISSOCK(os.fstat(file).st_mode):
            return None
        end = socket.socket(fileno=os.dup(file))
    except OSError:  # closed meanwhile
        return None
    with contextlib.suppress(OSError):
        if end.family in _FAMILIES and end.getsockname()[1] == port:
            return end
    end.close()
    return None


def _listens(end: socket.socket) -> bool:
    return bool(end.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
