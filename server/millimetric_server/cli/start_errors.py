"""Explains why the server did not start, and what to do. Every exception of a start ends here."""

import errno
import shutil
from pathlib import Path
from urllib.parse import urlsplit

from millimetric_server.config import ConfigError, Settings
from millimetric_server.control.errors import ControlError, ControlUnavailableError
from millimetric_server.journal.errors import JournalError
from millimetric_server.process.folder_lock import FolderError
from millimetric_server.process.workers import WorkerDiedError
from millimetric_server.store.deduplication import DeduplicationError
from millimetric_server.store.engine import EngineMissingError
from millimetric_server.store.faults import StoreUnavailableError
from millimetric_server.store.migrations import SchemaError

PLANNED = (
    ConfigError,
    ControlError,
    ControlUnavailableError,
    DeduplicationError,
    EngineMissingError,
    FolderError,
    JournalError,
    SchemaError,
    StoreUnavailableError,
    WorkerDiedError,
    OSError,
)
_FULL_BYTES = 1024 * 1024
_NO_DISK = (
    ConfigError,
    EngineMissingError,
    FolderError,
    ControlError,
    SchemaError,
    WorkerDiedError,
)  # they are about something else


def explain(error: Exception, settings: Settings) -> str:
    """Say what is wrong and what to do."""
    if (folder := _find_full_disk(error, settings)) is not None:
        return f"The disk of {folder} is full: make room and start again. Acknowledged events are in the journal."
    if isinstance(error, StoreUnavailableError):
        return _explain_engine(settings)
    if isinstance(error, ControlUnavailableError):
        return f"{error} Start it, or correct --database-url (MILLIMETRIC_DATABASE_URL)."
    return str(error)


def _find_full_disk(error: Exception, settings: Settings) -> Path | None:
    """The folder whose disk has no room left, if that may be why."""
    if isinstance(error, _NO_DISK):
        return None
    parts = urlsplit(settings.resolved_clickhouse_url)
    folders = [settings.data_path] + ([Path(parts.path)] if parts.scheme == "chdb" else [])
    for folder in folders:
        existing = next(one for one in (folder, *folder.parents) if one.exists())
        has_run_out = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if has_run_out or shutil.disk_usage(existing).free < _FULL_BYTES:
            return folder
    return None


def _explain_engine(settings: Settings) -> str:
    folder = urlsplit(settings.resolved_clickhouse_url).path
    return (
        f"The embedded engine can't open its folder {folder}: see that this user may write there and that nothing else "
        "has put files into it, or restore it from a backup. MILLIMETRIC_LOG_LEVEL=debug shows the engine's own words."
    )
