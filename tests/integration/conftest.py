"""The engine that tests of the store run against: embedded, and over HTTP."""

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from stores import Engine, open_engine

from support.clickhouse_server import ClickHouseServer

_numbers = itertools.count()
_EMBEDDED = Path(tempfile.gettempdir()) / "millimetric-test-engine"  # one path a process: databases keep tests apart


@pytest.fixture(params=["chdb", "http"])
def engine(request: pytest.FixtureRequest, tmp_path: Path, clickhouse_server: ClickHouseServer) -> Iterator[Engine]:
    database = f"test_{next(_numbers)}"
    url = clickhouse_server.url if request.param == "http" else f"chdb://{_EMBEDDED}"
    with open_engine(tmp_path, url, database) as opened:
        yield opened
        opened.store.command(f"DROP DATABASE {database}")
