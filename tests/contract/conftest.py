"""The stages of the contract tests, with a project of its own for each test."""

from collections.abc import Iterator

import pytest

from contract.projects import Tenant
from contract.stage import Stage
from support.server_process import ServerProcess


@pytest.fixture(scope="session")
def stage(server: ServerProcess) -> Iterator[Stage]:
    """A server that is well."""
    with Stage(server) as made:
        yield made


@pytest.fixture(scope="session")
def troubled_stage() -> Iterator[Stage]:
    """A server whose ClickHouse is away and whose journal is full."""
    environ = {
        "MILLIMETRIC_LOG_LEVEL": "debug",
        "MILLIMETRIC_CLICKHOUSE_URL": "http://127.0.0.1:1",
        "MILLIMETRIC_JOURNAL_MAX_BYTES": "1",
    }
    with ServerProcess(environ=environ) as server, Stage(server) as made:
        yield made


@pytest.fixture
def tenant(stage: Stage) -> Tenant:
    """The test's own project on the server that is well."""
    return stage.registry.create()
