"""The socket in the data folder through which commands on this machine ask the running server for backups.

One JSON object per line: a request, then progress, then the result. Only the server's user can open the socket, as only
that user can read the data.
"""

import contextlib
import os
import socket
from collections.abc import Generator, Iterator
from pathlib import Path

import msgspec

from millimetric_server.backup.archive import BackupError, Manifest

_NAME = "admin.sock"
_PATH_BYTES_MAX = 100  # a socket's path has 107 bytes on Linux and 103 on macOS


class Request(msgspec.Struct, frozen=True):
    """A request for a backup into this folder, an absolute path."""

    backup: str


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """Progress, and at the end the manifest or the error."""

    done_bytes: int = 0
    total_bytes: int = 0
    manifest: Manifest | None = None
    rest_ms: float = 0.0  # how long the loader paused
    error: str = ""


def send_line(connection: socket.socket, message: Request | Answer) -> None:
    """Send a message. Raises OSError when the other end is gone."""
    connection.sendall(msgspec.json.encode(message) + b"\n")


@contextlib.contextmanager
def reach_socket(data: Path) -> Iterator[str]:
    """A path of the socket that is short enough, while this lasts."""
    path = data / _NAME
    if len(os.fsencode(path)) <= _PATH_BYTES_MAX:
        yield str(path)
        return
    descriptor = os.open(data, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{_NAME}"
    finally:
        os.close(descriptor)


def ask_backup(data: Path, target: Path) -> Generator[Answer]:
    """Ask the server of this data folder for a backup; yields its answers, the last has the manifest.

    Raises BackupError.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            with reach_socket(data) as path:
                connection.connect(path)
        except OSError as error:
            raise BackupError(
                f"No server is running on {data}, and only a running server takes backups: start it with "
                "`millimetric serve`. While it is stopped, a plain copy of the folder is also a complete backup."
            ) from error
        with contextlib.suppress(OSError, msgspec.DecodeError), connection.makefile("rb") as file:  # it may be killed
            send_line(connection, Request(str(target)))
            for line in file:
                answer = msgspec.json.decode(line, type=Answer)
                if answer.error:
                    raise BackupError(answer.error)
                yield answer
                if answer.manifest is not None:
                    return
    raise BackupError("The server ended before the backup was complete: none was made. See its log.")
