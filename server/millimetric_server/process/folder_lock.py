"""Keeps other processes off a running server's folders, with a lock that ends with its process, however that ends.

The lock is flock(2) on a file, not the file: one that a crash left behind locks nothing.
"""

import contextlib
import errno
import fcntl
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from millimetric_server.config import Settings

LOCK_NAME = "server.lock"
_ENGINE_LOCK_NAME = "status"  # the embedded engine's own
_ENGINE_PID = re.compile(r"^PID: (\d+)$", re.MULTILINE)
_PATIENCE_S = 1.0  # a look at the lock holds it for a moment, and a process that was killed needs one to end
_LOOK_EVERY_S = 0.05
_OTHER_FOLDER = "Stop that one first, or choose another --data-dir (MILLIMETRIC_DATA_DIR)."
_OTHER_ENGINE = "Stop that one first, or choose another --clickhouse-url (MILLIMETRIC_CLICKHOUSE_URL)."


class FolderError(Exception):
    """A folder can't be locked; the message says why and what to do."""


class FolderInUseError(FolderError):
    """Another process holds a folder; the message says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lock, as it recorded itself. Unknown parts are empty."""

    command: str = ""
    pid: int = 0
    host: str = ""
    since: str = ""  # RFC 3339, UTC

    def describe(self) -> str:
        """Name the process for a person."""
        if not self.pid:
            return "another process"
        host = f" on host {self.host}" if self.host else ""
        since = f", since {self.since}" if self.since else ""
        command = f" ({self.command})" if self.command else ""
        return f"process {self.pid}{command}{host}{since}"


@contextlib.contextmanager
def lock_server_folders(settings: Settings, command: str) -> Iterator[None]:
    """Hold every folder that this server alone may write: its data, its journal and the embedded engine's.

    The folders are made where they are missing. Raises FolderError.
    """
    journal = (settings.data_path / "journal.db").resolve().parent  # elsewhere, if the file is a link
    with contextlib.ExitStack() as held:
        for folder in dict.fromkeys((settings.data_path, journal)):
            held.enter_context(_lock_folder(folder, command, _OTHER_FOLDER))
        held.enter_context(lock_engine(settings.resolved_clickhouse_url, command))
        yield


@contextlib.contextmanager
def lock_engine(url: str, command: str) -> Iterator[None]:
    """Hold the folder of an embedded engine; there is none to hold for a ClickHouse server. Raises FolderError."""
    parts = urlsplit(url)
    if parts.scheme != "chdb":
        yield
        return
    folder = Path(parts.path).resolve()
    with _lock_folder(folder, command, _OTHER_ENGINE):
        if (pid := _find_engine_user(folder)) is not None:  # a program that does not know our lock
            holder = Holder(pid=pid)
            raise FolderInUseError(f"The engine's folder {folder} is in use by {holder.describe()}. {_OTHER_ENGINE}")
        yield


def find_holder(folder: Path) -> Holder | None:
    """Find who holds a folder now; None if nobody does. Changes nothing."""
    try:
        with (folder / LOCK_NAME).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read_holder(folder / LOCK_NAME)
    except OSError:
        return None
    return None


@contextlib.contextmanager
def _lock_folder(folder: Path, command: str, advice: str) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _acquire(folder / LOCK_NAME)
    except OSError as error:
        raise FolderError(
            f"The folder {folder} can't be locked: {error.strerror}. Give this user write permission there and use "
            "a file system that has locks, or choose another --data-dir (MILLIMETRIC_DATA_DIR)."
        ) from error
    if descriptor is None:
        holder = _read_holder(folder / LOCK_NAME)
        raise FolderInUseError(f"The folder {folder} is in use by {holder.describe()}. {advice}")
    held = [descriptor]
    # Programs that are started never have it. A forked process closes it without unlocking, which would unlock it here.
    os.register_at_fork(after_in_child=lambda: _close(held))
    try:
        _write_holder(descriptor, command)
        yield
    finally:
        _close(held)


def _acquire(path: Path) -> int | None:
    """Open and lock the file; None if another process holds it."""
    give_up_at = time.monotonic() + _PATIENCE_S
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):  # another file may have taken its place meanwhile
                if os.path.samestat(os.fstat(descriptor), path.stat()):
                    return descriptor
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                os.close(descriptor)
                return None
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        time.sleep(_LOOK_EVERY_S)


def _write_holder(descriptor: int, command: str) -> None:
    """Record who holds the lock, for the process that is refused. On a full disk the lock still holds."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    text = json.dumps(asdict(Holder(command, os.getpid(), socket.gethostname(), since)))
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{text}\n".encode(), 0)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise


def _read_holder(path: Path) -> Holder:
    try:
        found = json.loads(path.read_text())
        return Holder(str(found["command"]), int(found["pid"]), str(found["host"]), str(found["since"]))
    except (OSError, ValueError, KeyError, TypeError):
        return Holder()


def _find_engine_user(folder: Path) -> int | None:
    """The process that has the embedded engine open, 0 if it has no name; None if nobody has."""
    path = folder / _ENGINE_LOCK_NAME
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        match = _ENGINE_PID.search(path.read_text())
        return int(match[1]) if match else 0
    except OSError:
        return None  # not there yet
    return None


def _close(held: list[int]) -> None:
    while held:
        os.close(held.pop())
