"""Two thousand inputs a door that nobody would write: no fault, nothing leaks, the server lives, the count is exact.

`python -m bench fuzz` throws fifty thousand at each.
"""

from collections.abc import Iterator

import httpx
import pytest

from integration.reads import bearer
from support.fuzzing import TARGETS, throw_inputs
from support.server_process import ProjectKeys, ServerProcess
from support.waiting import wait_until

pytestmark = pytest.mark.slow

_INPUTS = 2000


@pytest.fixture(scope="module")
def unlimited_server() -> Iterator[ServerProcess]:
    with ServerProcess(environ={"MILLIMETRIC_RATE_LIMITS": "off"}) as server:
        yield server


@pytest.mark.parametrize("door", TARGETS)
def test_no_input_makes_a_fault(unlimited_server: ServerProcess, door: str) -> None:
    server = unlimited_server
    keys = server.create_project(f"fuzz-{door}")
    target = TARGETS[door](server, keys.secret)

    throw_inputs(target, _INPUTS)
    assert len(target.tally.answered) > 2, target.tally
    if door != "http":  # where the number of requests on a connection is the sender's choice
        assert target.tally.stored_events > 100
        least, most = target.tally.stored_events, target.tally.stored_events + target.tally.unknown_events
        wait_until(
            lambda: least <= count_stored(server, keys) <= most,
            lambda: f"{count_stored(server, keys)}, not {least} to {most}: {target.tally}",
        )
    assert httpx.get(f"{server.base_url}/readyz").status_code == 200
    assert "Traceback" not in server.log


def count_stored(server: ServerProcess, keys: ProjectKeys) -> int:
    """How many events there are, everywhere the same."""
    answer = httpx.get(
        f"{server.base_url}/v1/stats",
        params={"from": "2000-01-01", "to": "2030-01-01", "include_bots": "true"},
        headers=bearer(keys.read),
    )
    return sum(int(row["value"]) for row in answer.json()["rows"])
