"""The stages of the contract cases, with a project of its own for each case and door."""

from collections.abc import Iterator, Mapping

import pytest

from contract.case_files import WRITES, Case
from contract.projects import Tenant
from contract.stage import Stage
from support.server_process import ServerProcess

_LAST = "test_log_privacy.py"
_FIXTURE = "tenant"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What is said about the whole log comes after all that writes to it."""
    items.sort(key=lambda item: item.path.name == _LAST)


@pytest.fixture(scope="session")
def stage(server: ServerProcess) -> Iterator[Stage]:
    """A server that is well."""
    made = Stage(server)
    yield made
    made.close()


@pytest.fixture(scope="session")
def troubled_stage() -> Iterator[Stage]:
    """A server whose ClickHouse is away and whose journal is full."""
    environ = {
        "MILLIMETRIC_LOG_LEVEL": "debug",
        "MILLIMETRIC_CLICKHOUSE_URL": "http://127.0.0.1:1",
        "MILLIMETRIC_JOURNAL_MAX_BYTES": "1",
    }
    with ServerProcess(environ=environ) as server:
        made = Stage(server)
        yield made
        made.close()


@pytest.fixture(scope="session")
def tenants(request: pytest.FixtureRequest, stage: Stage) -> Mapping[str, Tenant]:
    """A project for each test that asks for one, made in one go."""
    return _create(request.session, stage, is_troubled=False)


@pytest.fixture(scope="session")
def troubled_tenants(request: pytest.FixtureRequest, troubled_stage: Stage) -> Mapping[str, Tenant]:
    """The same on the troubled server."""
    return _create(request.session, troubled_stage, is_troubled=True)


@pytest.fixture
def tenant(request: pytest.FixtureRequest, tenants: Mapping[str, Tenant]) -> Tenant:
    """The test's own project on the server that is well."""
    return tenants[request.node.nodeid]


def _create(session: pytest.Session, stage: Stage, *, is_troubled: bool) -> Mapping[str, Tenant]:
    owners: dict[str, str] = {}
    limits: dict[str, Mapping[str, str]] = {}
    for item in session.items:
        assert isinstance(item, pytest.Function)
        case = item.callspec.params.get("case") if hasattr(item, "callspec") else None
        if isinstance(case, Case) and bool(case.situation) == is_troubled:
            owner = case.name if _stores_nothing(case) else item.nodeid
            owners[item.nodeid], limits[owner] = owner, case.rate_limits
        elif case is None and _FIXTURE in item.fixturenames and not is_troubled:
            owners[item.nodeid], limits[item.nodeid] = item.nodeid, {}
    tenants = stage.registry.create(limits)
    return {nodeid: tenants[owner] for nodeid, owner in owners.items()}


def _stores_nothing(case: Case) -> bool:
    """Whether the doors can share a project, which must be as empty after each as before."""
    return not case.before and (case.want.code != "OK" or case.call.rpc not in WRITES)
