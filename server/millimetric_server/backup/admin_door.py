"""The server's end of the admin socket."""

import contextlib
import logging
import socket
import threading
import time
from pathlib import Path

import msgspec

from millimetric_server.backup.admin_socket import Answer, Request, reach_socket, send_line
from millimetric_server.backup.archive import BackupError
from millimetric_server.backup.take import Source, take_backup

log = logging.getLogger(__name__)

_REQUEST_TIMEOUT_S = 10.0
_REQUEST_BYTES_MAX = 64 * 1024
_REPORT_EVERY_S = 0.2
_CLOSE_TIMEOUT_S = 10.0


class _EndingError(Exception):
    """The server is shutting down, and aborts the backup."""


class AdminDoor:
    """Listens in the data folder. One request is carried out at a time; others are refused."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._busy = threading.Lock()
        self._is_closing = False
        self._socket: socket.socket | None = None
        self._path = source.settings.data_path / "admin.sock"

    def start(self) -> None:
        """Begin to listen. If the data folder's file system has no sockets, log that backups need a stopped server."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._path.unlink(missing_ok=True)  # of a run that was killed: the folder's lock is ours
            with reach_socket(self._path.parent) as path:
                listener.bind(path)
            self._path.chmod(0o600)
            listener.listen(8)
        except OSError as error:
            listener.close()
            log.warning(
                "no admin socket in %s (%s): to take a backup, stop the server",
                self._path.parent,
                error.strerror or error,
            )
            return
        self._socket = listener
        threading.Thread(target=self._accept, args=(listener,), name="admin", daemon=True).start()

    def close(self) -> None:
        """Stop listening and abort a running backup."""
        self._is_closing = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
            self._path.unlink(missing_ok=True)
        if self._busy.acquire(timeout=_CLOSE_TIMEOUT_S):
            self._busy.release()

    def _accept(self, listener: socket.socket) -> None:
        while not self._is_closing:
            try:
                connection, _ = listener.accept()
            except OSError:
                if self._is_closing:
                    return
                time.sleep(1)  # out of descriptors, for a moment
                continue
            threading.Thread(target=self._answer, args=(connection,), name="admin-call", daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        connection.settimeout(_REQUEST_TIMEOUT_S)
        # The other end may disconnect at any time; then nobody wants the backup any more.
        with contextlib.suppress(OSError, msgspec.DecodeError), connection, connection.makefile("rb") as file:
            request = msgspec.json.decode(file.readline(_REQUEST_BYTES_MAX), type=Request)
            if not self._busy.acquire(blocking=False):
                send_line(connection, Answer(error="Another backup is running: wait until it has finished."))
                return
            try:
                send_line(connection, self._back_up(Path(request.backup), connection))
            finally:
                self._busy.release()

    def _back_up(self, target: Path, connection: socket.socket) -> Answer:
        reported_at_s = 0.0

        def report(done: int, total: int) -> None:
            nonlocal reported_at_s
            if self._is_closing:
                raise _EndingError
            if (now_s := time.monotonic()) - reported_at_s > _REPORT_EVERY_S:
                reported_at_s = now_s
                send_line(connection, Answer(done_bytes=done, total_bytes=total))

        if not target.is_absolute():
            return Answer(error="Give the folder as an absolute path.")
        log.info("backup: begun")
        try:
            taken = take_backup(self._source, target, report)
        except BackupError as error:
            log.warning("backup: failed: %s", error)
            return Answer(error=str(error))
        except _EndingError:
            return Answer(error="The server is shutting down: no backup was made.")
        except (ConnectionError, TimeoutError):
            log.warning("backup: cancelled, because its caller disconnected")
            raise
        except OSError as error:
            log.warning("backup: failed: %s", error)
            told = f"{error.strerror or error}" + (f": {error.filename}" if error.filename else "")
            return Answer(error=f"The backup can't be written: {told}. No backup was made.")
        except Exception:
            log.exception("backup: internal error")
            return Answer(error="An internal error ended the backup: none was made. See the server's log.")
        manifest = taken.manifest
        log.info(
            "backup: done, %d files, %d bytes; the loader paused for %.0f ms",
            len(manifest.files),
            manifest.bytes,
            taken.rest_s * 1000,
        )
        return Answer(manifest=manifest, rest_ms=taken.rest_s * 1000)
