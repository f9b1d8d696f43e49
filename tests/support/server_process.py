"""A real `millimetric serve` in a process of its own, on free loopback ports, with its data in memory."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from millimetric_server.config import load_settings
from millimetric_server.control.records import Environment, KeyKind
from millimetric_server.control.store import open_control_store
from millimetric_server.server_secrets import load_secrets

START_TIMEOUT_S = 120
STOP_TIMEOUT_S = 120
ORIGIN = "https://app.example.com"
_OWN_PORTS = {"MILLIMETRIC_METRICS_ADDRESS": "127.0.0.1:0"}
_LISTENING = re.compile(r"gRPC on [^ ]*:(\d+), HTTP on [^ ]*:(\d+)(?:, metrics on [^ ]*:(\d+))?\n")


@dataclass(frozen=True)
class ProjectKeys:
    """A project made for a test, and its keys' texts."""

    project_id: str
    name: str
    public: str
    secret: str
    read: str


@dataclass
class ServerProcess:
    """Start it as a context manager; `start` again, `stop` and `kill` keep the data.

    `module` is what Python runs as the `millimetric` command, and its first words.
    """

    environ: dict[str, str] = field(default_factory=dict)
    data_dir: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="millimetric-", dir=fast_folder())))
    process: subprocess.Popen[bytes] | None = None
    grpc_port: int = 0
    http_port: int = 0
    metrics_port: int = 0
    module: tuple[str, ...] = ("millimetric_server",)
    keys_in_use: set[str] = field(default_factory=set)  # their texts, so that the log can be searched for them

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self.data_dir, ignore_errors=True)

    @property
    def grpc_address(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def metrics_url(self) -> str:
        return f"http://127.0.0.1:{self.metrics_port}/metrics"

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    @property
    def log_path(self) -> Path:
        return self.data_dir / "server.log"

    def start(self) -> None:
        """Start and wait until both ports answer."""
        with self.log_path.open("ab") as log:
            start_of_log = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", *self.module, "serve", "--grpc-port", "0", "--http-port", "0"],
                env={**os.environ, **_OWN_PORTS, "MILLIMETRIC_DATA_DIR": str(self.data_dir), **self.environ},
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not (match := _LISTENING.search(self.log_path.read_bytes()[start_of_log:].decode())):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the server did not start:\n{self.log}")
            time.sleep(0.05)
        self.grpc_port, self.http_port = int(match[1]), int(match[2])
        self.metrics_port = int(match[3] or 0)
        self._wait_for_http(deadline)

    def stop(self) -> int:
        """End it in order (SIGTERM) and return its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """End it as a crash would (SIGKILL)."""
        return self._end(signal.SIGKILL)

    def create_project(self, name: str, origins: tuple[str, ...] = (ORIGIN,)) -> ProjectKeys:
        """Make a project with its three keys; they work in the running server at once."""
        settings = load_settings({"MILLIMETRIC_DATA_DIR": str(self.data_dir), **self.environ})
        pepper = load_secrets(settings).key_pepper
        with contextlib.closing(open_control_store(settings.resolved_database_url)) as store:
            project = store.create_project(name, origins)
            texts = [
                store.create_key(kind, Environment.LIVE, pepper, project=project.project_id).text
                for kind in (KeyKind.PUBLIC, KeyKind.SECRET, KeyKind.READ)
            ]
        self.keys_in_use.update(texts)
        return ProjectKeys(project.project_id, name, *texts)

    def create_account_key(self) -> str:
        """Make an account key of the default account."""
        settings = load_settings({"MILLIMETRIC_DATA_DIR": str(self.data_dir), **self.environ})
        with contextlib.closing(open_control_store(settings.resolved_database_url)) as store:
            return store.create_key(KeyKind.ACCOUNT, Environment.LIVE, load_secrets(settings).key_pepper).text

    def _end(self, number: signal.Signals) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        code = self.process.wait(STOP_TIMEOUT_S)
        self.process = None
        return code

    def _wait_for_http(self, deadline: float) -> None:
        import httpx

        while time.monotonic() < deadline and self.process is not None and self.process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.base_url}/healthz").status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"the server does not answer over HTTP:\n{self.log}")


def fast_folder() -> str | None:
    """Memory, where the machine offers it: small inserts are several times faster there."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
