"""A real PostgreSQL for tests, on a loopback port, in a folder of its own."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from support.tools import give_up

_TEMPORARY = tempfile.gettempdir()  # asked now: an embedded engine changes it to a folder closed to others
HOW_TO_INSTALL = "PostgreSQL is not installed: apt-get install -y postgresql"
START_TIMEOUT_S = 120.0
STOP_TIMEOUT_S = 120.0


class PostgresServer:
    """One server process. It may be stopped and started again; data and port stay."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs = programs
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = find_free_port()
        # PostgreSQL refuses to run as root.
        self._run_as: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._run_as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._run("initdb", "--auth=trust", "--username=tester", "--encoding=UTF8", "--locale=C", "--no-sync")

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = ["-h", "127.0.0.1", "-p", str(self.port), "-k", str(self._folder), "-c", "fsync=off"]
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._folder / "data", *settings],
                cwd=self._folder,
                stdout=log,
                stderr=log,
                **self._run_as,
            )
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self._make_url("postgres")).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline_s:
                    pytest.fail(f"PostgreSQL did not start: {(self._folder / 'server.log').read_text()}")
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """Stop the server at once, whoever is connected; nothing that was committed is lost."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(STOP_TIMEOUT_S)
            self._process = None

    def create_database(self) -> str:
        """Make an empty database and return its `postgresql://` URL."""
        name = f"test_{uuid4().hex}"
        with psycopg.connect(self._make_url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self._make_url(name)

    def _make_url(self, database: str) -> str:
        return f"postgresql://tester@127.0.0.1:{self.port}/{database}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), "-D", str(self._folder / "data"), *arguments]
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False, **self._run_as)
        if done.returncode:
            pytest.fail(f"{program} failed: {done.stderr}")


def find_free_port() -> int:
    """Find a loopback port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def find_programs() -> Path | None:
    """Find the folder of the newest PostgreSQL: Debian's, or the one on the PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name))
    on_path = shutil.which("postgres")
    candidates = [*reversed(debian), *([Path(on_path).parent] if on_path else [])]
    return next((folder for folder in candidates if (folder / "initdb").exists()), None)


@contextlib.contextmanager
def run_postgres() -> Iterator[PostgresServer]:
    """Run a server for a while; without the programs the test is skipped, or fails where CI=true."""
    programs = find_programs()
    if programs is None:
        give_up(HOW_TO_INSTALL)
    # Not pytest's own folder: that is closed to the user that PostgreSQL runs as.
    folder = Path(tempfile.mkdtemp(prefix="millimetric-postgres-", dir=_TEMPORARY))
    try:
        server = PostgresServer(programs, folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
