"""`millimetric serve` whose worker threads die when they find a file: `python -m support.dying_server FOLDER serve …`.

The file is named after the worker: `journal-writer` or `loader`. As in crashing_server, seams are replaced by name.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from millimetric_server.cli import main as run_command
from millimetric_server.journal.sqlite.writer_thread import WriterThread
from millimetric_server.loading.loader import Loader

SEAMS: dict[str, tuple[type[Any], str]] = {"journal-writer": (WriterThread, "_write"), "loader": (Loader, "_take_turn")}


def _let_die(sign: Path, kind: type[Any], name: str) -> None:
    usual: Callable[..., Any] = getattr(kind, name)

    def work(self: Any, *arguments: Any) -> Any:
        if sign.exists():
            raise SystemExit
        return usual(self, *arguments)

    setattr(kind, name, work)


if __name__ == "__main__":
    for worker, seam in SEAMS.items():
        _let_die(Path(sys.argv[1]) / worker, *seam)
    del sys.argv[1]
    run_command()
