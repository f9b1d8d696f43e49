"""Fixtures for all tests, and how hypothesis runs here."""

import os
import tempfile
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import settings

from support.clickhouse_server import ClickHouseServer
from support.discretion import find_indiscretions
from support.distribution import FilesScheduling, sort_for_sharing
from support.server_process import ServerProcess, fast_folder
from support.waiting import PATIENCE_S

# Where the machine offers it, tests' files lie in memory: their thousands of syncs would take longer than the tests.
os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", fast_folder() or tempfile.gettempdir())
# Machines that run tests are busy: an example may take its time, and so may an answer.
settings.register_profile("default", deadline=None)
settings.load_profile("default")
for phase in ("connect", "read", "write", "pool"):
    setattr(httpx._config.DEFAULT_TIMEOUT_CONFIG, phase, PATIENCE_S)

_SLOW_TIMEOUT_S = 1800  # of a test that hangs; one that gets on may take many minutes on a busy machine


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesScheduling:
    return FilesScheduling(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(_SLOW_TIMEOUT_S))
    if hasattr(config, "workerinput"):
        sort_for_sharing(items)


@pytest.fixture(scope="session")
def server() -> Iterator[ServerProcess]:
    """One running server for all tests that do not stop it; each test makes its own project.

    Whatever they have asked it, its log at its most talkative names no key and no address, and it met no fault.
    """
    # All tests call from one address, and most of them are refused on purpose.
    environ = {"MILLIMETRIC_LOG_LEVEL": "debug", "MILLIMETRIC_RATE_LIMITS": "refused=off"}
    with ServerProcess(environ=environ) as process:
        yield process
        assert process.stop() == 0
        assert not find_indiscretions(process.log, process.keys_in_use)


@pytest.fixture(scope="session")
def clickhouse_server() -> Iterator[ClickHouseServer]:
    """One real ClickHouse over HTTP; each test makes its own database."""
    with ClickHouseServer() as process:
        yield process
