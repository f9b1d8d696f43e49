"""The engine that tests of the store run against: embedded, and over HTTP."""

import itertools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.postgres_server import PostgresServer, run_postgres
from integration.stores import Engine, open_engine
from support.clickhouse_server import ClickHouseServer
from support.tools import give_up

_numbers = itertools.count()


@pytest.fixture(scope="session")
def embedded_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded engine takes one path a process: databases keep tests apart."""
    return tmp_path_factory.mktemp("engine")


@pytest.fixture(params=["chdb", "http"])
def engine(
    request: pytest.FixtureRequest, tmp_path: Path, embedded_folder: Path, clickhouse_server: ClickHouseServer
) -> Iterator[Engine]:
    database = f"test_{next(_numbers)}"
    url = clickhouse_server.url if request.param == "http" else f"chdb://{embedded_folder}"
    with open_engine(tmp_path, url, database) as opened:
        yield opened
        opened.store.command(f"DROP DATABASE {database}")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL; each test makes its own database."""
    with run_postgres() as server:
        yield server


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for 16 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = (
        os.geteuid() == 0
        and subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)], check=False, capture_output=True
        ).returncode
        == 0
    )
    if not mounted:
        give_up("a small disk can only be mounted by root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # a failed test may have files open
