"""A disk whose power can be cut: an ext4 in a file, of which a copy keeps only what the file system had written to it.

Whatever lies in the memory of programs and of the kernel is lost, as in a real cut. It needs root.
"""

import os
import signal
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.tools import give_up

_SIZE = "600M"  # of a sparse file


@dataclass
class CutDisk:
    """A mounted disk; `cut` takes its power and brings it back."""

    image: Path
    folder: Path

    def cut(self, processes: Iterable[Any]) -> None:
        """Lose what is not on the disk, and the processes that write to it; the folder is what a new start finds.

        They stand still while the file is copied, so that the copy is of one moment.
        """
        running = [process for process in processes if process is not None and process.poll() is None]
        for process in running:
            process.send_signal(signal.SIGSTOP)
        copy = self.image.with_suffix(".copy")
        _run("cp", "--sparse=always", str(self.image), str(copy))
        for process in running:
            process.kill()
            process.wait(30)
        _run("umount", str(self.folder))
        copy.rename(self.image)
        _run("mount", "-o", "loop", str(self.image), str(self.folder))


@contextmanager
def mount_disk(parent: Path) -> Iterator[CutDisk]:
    """Make and mount a disk; give the test up where that can't be done."""
    disk = CutDisk(parent / "disk.img", parent / "disk")
    disk.folder.mkdir()
    if os.geteuid() != 0:
        give_up("a disk in a file can only be mounted by root")
    try:
        _run("truncate", "--size", _SIZE, str(disk.image))
        _run("mkfs.ext4", "-q", "-F", str(disk.image))
        _run("mount", "-o", "loop", str(disk.image), str(disk.folder))
    except (OSError, subprocess.CalledProcessError) as error:
        give_up(f"no disk in a file can be mounted: {getattr(error, 'stderr', '') or error}")
    try:
        yield disk
    finally:
        _run("umount", "--lazy", str(disk.folder))  # a failed test may have files open
        disk.image.unlink()


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True, timeout=60)
