"""Notices files that are deleted or replaced under a running server.

Otherwise the server would keep writing into files that nobody can find any more. The files at the paths are compared
with those that were opened at the start, by device and inode.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy import make_url

from millimetric_server.config import Settings
from millimetric_server.journal.port import Journal
from millimetric_server.process.folder_lock import LOCK_NAME

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it was when the server opened it."""

    path: Path
    opened: os.stat_result

    def find_change(self) -> str:
        """What happened to it: nothing (an empty text), `gone` or `replaced`."""
        try:
            return "" if os.path.samestat(self.path.stat(), self.opened) else "replaced"
        except OSError:
            return "gone"


class FolderWatch:
    """Compares the open files with those at their paths on each `look`. Create it when all files are open."""

    def __init__(self, files: Mapping[str, Path], journal: Journal) -> None:
        """Watch these files by name, and have the journal refuse writes, and accept them again."""
        self._files = {name: _File(path, path.stat()) for name, path in files.items()}
        self._journal = journal
        self._found: dict[str, _File] = {}  # such as `journal_gone`

    def look(self) -> None:
        """Compare, and refuse or allow writes accordingly."""
        changes = {name: (file, file.find_change()) for name, file in self._files.items()}
        found = {f"{name}_{change}": file for name, (file, change) in changes.items() if change}
        for word in self._found.keys() - found.keys():
            self._journal.accept(word)
        if self._found and not found:
            log.warning("the server's files are back: writes are acknowledged again")
        for word in found.keys() - self._found.keys():
            told = "was deleted or moved away" if word.endswith("gone") else "was replaced"
            self._journal.refuse(word, f"a file of the server {told}")
            log.error(
                "%s %s while the server runs: no write is acknowledged until it is back, or the server is restarted",
                found[word].path,
                told,
            )
        self._found = found


def list_watched(settings: Settings) -> dict[str, Path]:
    """The files that a server with these settings needs, by their names in /readyz."""
    files = {"data_folder": settings.data_path / LOCK_NAME, "journal": settings.data_path / "journal.db"}
    control = make_url(settings.resolved_database_url)
    if control.get_backend_name() == "sqlite" and control.database not in (None, "", ":memory:"):
        files["control_database"] = Path(str(control.database)).resolve()
    engine = urlsplit(settings.resolved_clickhouse_url)
    if engine.scheme == "chdb":
        files["engine"] = Path(engine.path) / LOCK_NAME
    return files
