"""Files and folders that outlive a power cut: a file's own fsync does not cover the name that leads to it."""

import contextlib
import ctypes
import os
from pathlib import Path


def make_folder(path: Path) -> None:
    """Make a folder and those above it, on the disk when it returns. Raises OSError."""
    missing = [one for one in (path, *path.parents) if not one.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for one in reversed(missing):
        with contextlib.suppress(PermissionError):  # a folder that may be passed through, and not read
            sync_folder(one.parent)


def sync_folder(path: Path) -> None:
    """Sync the names in a folder. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file_system(path: Path) -> None:
    """Sync everything written to the file system of a path, by any process. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "syncfs"):  # Linux has it
        os.sync()
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if libc.syncfs(descriptor):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(path))
    finally:
        os.close(descriptor)
