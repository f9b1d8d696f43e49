"""Servers under test: each a process of its own on the server's core, stopped when the block ends."""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from prometheus_client.parser import text_string_to_metric_families
from tests.support.clickhouse_server import ClickHouseServer
from tests.support.server_process import ProjectKeys, ServerProcess

from bench.machine import Cores, pinned_to
from millimetric_server.config import Settings, load_settings

ENVIRON = {"MILLIMETRIC_RATE_LIMITS": "off"}
CLICKHOUSE_URL = "MILLIMETRIC_CLICKHOUSE_URL"
_START_TIMEOUT_S = 60
_DRAIN_TIMEOUT_S = 120


class Account(msgspec.Struct, kw_only=True):
    """What became of a project's events, by /metrics."""

    received: int = 0
    stored: int = 0
    duplicate: int = 0
    rejected: int = 0
    dropped: int = 0
    journaled: int = 0
    dead_letters: int = 0

    @property
    def missing(self) -> int:
        """Received events of which nothing is known; negative when something counts twice."""
        known = self.stored + self.duplicate + self.rejected + self.dropped + self.journaled + self.dead_letters
        return self.received - known


_SERIES = {
    "millimetric_events_received_total": "received",
    "millimetric_events_stored_total": "stored",
    "millimetric_events_duplicate_total": "duplicate",
    "millimetric_events_rejected_total": "rejected",
    "millimetric_events_dropped_total": "dropped",
    "millimetric_journal_events": "journaled",
    "millimetric_dead_letters": "dead_letters",
}


class RunningServer(msgspec.Struct, frozen=True):
    """A server with a project to load."""

    process: ServerProcess
    keys: ProjectKeys

    @property
    def pid(self) -> int:
        """The server's process id."""
        assert self.process.process is not None
        return self.process.process.pid

    @property
    def http_address(self) -> str:
        """Host and port of the HTTP door."""
        return self.process.base_url.partition("://")[2]

    def count_events(self) -> int:
        """What Stats says that the project holds."""
        query = urllib.parse.urlencode({"from": "2000-01-01", "to": "2100-01-01", "include_bots": "true"})
        rows = msgspec.json.decode(self._get(f"/v1/stats?{query}"))["rows"]
        return sum(int(row["value"]) for row in rows)

    def wait_until_loaded(self) -> float:
        """Wait until ClickHouse holds all events; return the seconds that it took."""
        began = time.perf_counter()
        while time.perf_counter() - began < _DRAIN_TIMEOUT_S:
            lines = self._get_metrics().decode().splitlines()
            if not any(float(line.split()[1]) for line in lines if line.startswith("millimetric_journal_events{")):
                return time.perf_counter() - began
            time.sleep(0.05)
        raise TimeoutError(f"the loader did not finish within {_DRAIN_TIMEOUT_S} s")

    def read_account(self) -> Account:
        """What /metrics says became of the project's events, in one snapshot."""
        account = Account()
        for family in text_string_to_metric_families(self._get_metrics().decode()):
            for sample in family.samples:
                if sample.name in _SERIES and sample.labels["project"] == self.keys.project_id:
                    field = _SERIES[sample.name]
                    setattr(account, field, getattr(account, field) + int(sample.value))
        return account

    def settle(self, acknowledged: int) -> tuple[float | None, list[str]]:
        """Wait until the journal is empty, then hold what is stored against what was acknowledged.

        Returns the seconds of the wait, None if it was in vain, and what is wrong.
        """
        faults, loaded_after_s = [], None
        try:
            loaded_after_s = self.wait_until_loaded()
        except TimeoutError as error:
            faults.append(str(error))
        try:
            if (stored := self.count_events()) != acknowledged:
                faults.append(f"{acknowledged} events were acknowledged and {stored} are stored")
        except urllib.error.HTTPError as error:
            faults.append(f"Stats was answered with {error.code}")
        if (account := self.read_account()).missing:
            faults.append(f"the ledger does not add up: {account}")
        return loaded_after_s, faults

    def _get_metrics(self) -> bytes:
        with urllib.request.urlopen(self.process.metrics_url, timeout=30) as response:
            body: bytes = response.read()
        return body

    def _get(self, path: str) -> bytes:
        request = urllib.request.Request(
            self.process.base_url + path, headers={"Authorization": f"Bearer {self.keys.secret}"}
        )
        with urllib.request.urlopen(request, timeout=_START_TIMEOUT_S) as answer:
            body: bytes = answer.read()
        return body


@contextlib.contextmanager
def temporary_data_dir(parent: str) -> Iterator[Path]:
    """A fresh folder inside of `parent`, removed afterwards."""
    Path(parent).mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="run-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def millimetric_server(
    data_parent: str, cores: Cores, environ: Mapping[str, str] | None = None
) -> Iterator[RunningServer]:
    """`millimetric serve` with rate limits off and a project of its own."""
    with temporary_data_dir(data_parent) as data_dir:
        process = ServerProcess(environ={**ENVIRON, **(environ or {})}, data_dir=data_dir)
        try:  # also a server that did not come up has to end
            with pinned_to(cores.server):
                process.start()
            running = RunningServer(process, process.create_project("bench"))
            _wait_for_key(running)
            yield running
        finally:
            process.stop()


@contextlib.contextmanager
def clickhouse_server(data_parent: str, port: int = 0) -> Iterator[ClickHouseServer]:
    """A real ClickHouse HTTP server, on the load generator's core: the other one is for the server under test."""
    with (
        temporary_data_dir(data_parent) as folder,
        ClickHouseServer(folder=folder.resolve(), port=port) as process,
    ):
        yield process


@contextlib.contextmanager
def helper_process(module: str, arguments: list[str], cores: Cores) -> Iterator[tuple[int, list[str]]]:
    """A server of bench/ in a process of its own: yields its pid and the words that it prints when it is up."""
    with pinned_to(cores.server):
        process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parent.parent,
            env=os.environ | ENVIRON,
        )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        words = process.stdout.readline().decode().split()
        if not words:
            raise RuntimeError(f"{module} did not start")
        yield process.pid, words
    finally:
        process.stdin.close()
        try:
            process.wait(_START_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()


def make_settings(data_dir: str) -> Settings:
    """The settings that all servers under test share."""
    ports = {"MILLIMETRIC_GRPC_PORT": "0", "MILLIMETRIC_HTTP_PORT": "0"}
    return load_settings(ENVIRON | ports | {"MILLIMETRIC_DATA_DIR": data_dir})


def _wait_for_key(running: RunningServer) -> None:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        try:
            running.count_events()
        except urllib.error.HTTPError as error:
            if error.code == 502:  # the key is known, and ClickHouse away
                return
        except OSError:
            pass
        else:
            return
        time.sleep(0.1)
    raise TimeoutError("the server does not know its new project")
