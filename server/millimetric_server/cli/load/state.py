"""A load's progress, in a small file beside its input, and the file of rejected rows."""

import contextlib
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

from millimetric_server.api.errors import Violation
from millimetric_server.cli.load.rows import Row

_VERSION = 1
_READ_BYTES = 1024 * 1024


class StateError(Exception):
    """The load can't be resumed; the message says what to do."""


class LoadState(msgspec.Struct, kw_only=True):
    """What the server acknowledged so far. `rows` are all records read; `rejected_bytes` ends the rejected file."""

    version: int = _VERSION
    server: str
    key_prefix: str
    size: int
    mtime_ns: int
    digest: str
    rows: int = 0
    stored: int = 0
    duplicate: int = 0
    dropped: dict[str, int] = {}  # by reason
    rejected: int = 0
    rejected_bytes: int = 0
    reasons: list[str] = []  # of the first rejected rows
    options: str = ""  # that say how the file is read
    is_done: bool = False


def state_path_of(path: Path) -> Path:
    """The file beside the input that remembers how far it was loaded."""
    return path.with_name(f"{path.name}.millimetric-load.json")


def rejected_path_of(path: Path) -> Path:
    """The file beside the input that holds the rows which were not stored, and why."""
    return path.with_name(f"{path.name}.rejected.ndjson")


def start_state(path: Path, server: str, key_prefix: str, options: str = "") -> LoadState:
    """Begin a load of this file. The digest of its bytes becomes part of each event's id."""
    status = path.stat()
    return LoadState(
        server=server,
        key_prefix=key_prefix,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        digest=_digest(path),
        options=options,
    )


def resume_state(path: Path, server: str, key_prefix: str, options: str = "") -> LoadState | None:
    """Read the progress of the last load of this file, or None. Raises StateError if that load was a different one."""
    state_path = state_path_of(path)
    try:
        state = msgspec.json.decode(state_path.read_bytes(), type=LoadState)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, OSError):
        raise StateError(f"{state_path} can't be read. Start over with --restart.") from None
    if state.version != _VERSION:
        raise StateError(f"{state_path} was written by another version. Start over with --restart.")
    if (state.server, state.key_prefix) != (server, key_prefix):
        raise StateError(
            f"{path.name} was being loaded with another key or into another server "
            f"({state.key_prefix} at {state.server}). Start over with --restart."
        )
    if state.options != options:
        raise StateError(
            f"{path.name} was being loaded with {state.options or 'none of --from, --map and --delimiter'}. "
            "Give the same, or start over with --restart."
        )
    status = path.stat()
    if (state.size, state.mtime_ns) != (status.st_size, status.st_mtime_ns):
        if state.size != status.st_size or state.digest != _digest(path):
            raise StateError(
                f"{path.name} has changed since it was loaded up to row {state.rows}. --restart loads it from "
                "the beginning; rows without an event_id then count again."
            )
        state.mtime_ns = status.st_mtime_ns
    return state


def save_state(path: Path, state: LoadState) -> None:
    """Replace the state file in one step, so that a crash leaves the old or the new one."""
    target = state_path_of(path)
    draft = target.with_name(f"{target.name}.{os.getpid()}.new")
    try:
        with draft.open("wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


class RejectedFile:
    """The rejected rows as NDJSON: `line`, `reason`, `fields` and the row itself. Made with the first of them."""

    def __init__(self, path: Path, kept_bytes: int) -> None:
        self.path = path
        self._end = kept_bytes
        self._file: BinaryIO | None = None
        if kept_bytes == 0:
            path.unlink(missing_ok=True)
        elif path.exists():
            # What lies behind was written for a batch whose end the last run did not live to record.
            os.truncate(path, min(kept_bytes, path.stat().st_size))

    def write(self, rows: Sequence[tuple[Row, str, Sequence[Violation]]]) -> int:
        """Append these rows with their reasons; return where the file now ends."""
        if rows:
            self._file = self._file or self.path.open("ab")
            self._file.write(b"".join(_describe(*row) for row in rows))
            self._file.flush()
            self._end = self._file.tell()
        return self._end

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._file is not None:
            self._file.close()


def _describe(row: Row, reason: str, violations: Sequence[Violation]) -> bytes:
    fields: dict[str, list[str]] = {}
    for one in violations:
        fields.setdefault(one.field, []).append(one.message)
    told: dict[str, object] = {"line": row.line, "reason": reason, "fields": fields, "row": row.content}
    return msgspec.json.encode(told) + b"\n"


def _digest(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(_READ_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
