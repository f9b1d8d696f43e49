"""A real ClickHouse HTTP server for tests: the engine's wheel can listen, though its makers do not document it.

It is clickhouse-local with a listener: no users, no async inserts, no Keeper. It ends when its input is closed, so
also when the test process dies. chdb-core is pinned; where it stops listening one day, only this file changes.
"""

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import httpx

from .server_process import fast_folder

_START_TIMEOUT_S = 120
_CONFIG = """<clickhouse>
  <http_port>{port}</http_port><listen_host>127.0.0.1</listen_host><keep_alive_timeout>2</keep_alive_timeout>
</clickhouse>"""  # kept connections delay the end; none at all would race with a client that uses one again
# Imported before the change of folder: the import reads a config.xml too, and would listen at once.
_CHILD = """
import os, sys
from chdb import _chdb
os.chdir(sys.argv[1])
_chdb.query(
    "SYSTEM START LISTEN HTTP; SELECT * FROM file('/dev/stdin', LineAsString) FORMAT Null",
    "TabSeparated",
    path=sys.argv[2],
)
"""


@dataclass
class ClickHouseServer:
    """Start it as a context manager; `kill` and `start` again keep the data and the port."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="clickhouse-", dir=fast_folder())))
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and wait until it answers."""
        self.port = self.port or find_free_port()
        config = self.folder / "config"
        config.mkdir(exist_ok=True)
        (config / "config.xml").write_text(_CONFIG.format(port=self.port))
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _CHILD, str(config), str(self.folder / "data")],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )
        deadline = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < deadline and self.process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/ping").text.startswith("Ok"):
                    return
            time.sleep(0.05)
        raise AssertionError(f"ClickHouse did not start:\n{(self.folder / 'server.log').read_text()}")

    def stop(self) -> None:
        """End it in order."""
        if self.process is not None and self.process.stdin is not None:
            self.process.stdin.close()
            self.process.wait(_START_TIMEOUT_S)
            self.process = None

    def kill(self) -> None:
        """End it as a crash would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(_START_TIMEOUT_S)
            self.process = None


def find_free_port() -> int:
    """Ask the kernel for a port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
