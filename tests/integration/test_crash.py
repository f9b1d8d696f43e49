"""kill -9 and SIGTERM under load: every answered event is stored exactly once, and all figures agree."""

import itertools
import random
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from integration.crash_load import (
    BATCH,
    Load,
    Store,
    check_conservation,
    read_ledger,
    start,
    wait_for_death,
)
from integration.reads import count_everywhere, wait_for_key, wait_until_everywhere
from support.clickhouse_server import ClickHouseServer
from support.crashing_server import INGESTION_POINTS, Crash
from support.server_process import ServerProcess
from support.waiting import wait_until_equal, wait_until_none

_TESTS = Path(__file__).parents[1]
_RANDOM = "random"  # the test kills, at some moment
_RANDOM_ROUNDS = 10
_ENDLESS = {"MILLIMETRIC_RATE_LIMITS": "off", "MILLIMETRIC_SHUTDOWN_TIMEOUT_S": "600"}
_BOTH = pytest.mark.parametrize("store", ["chdb", "http"], indirect=True)
_numbers = itertools.count()


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Store:
    """A store of this kind; a database of its own."""
    clickhouse: ClickHouseServer | None = (
        request.getfixturevalue("clickhouse_server") if request.param == "http" else None
    )
    return Store(clickhouse.url if clickhouse else "", f"crash_{next(_numbers)}")


def run_round(server: ServerProcess, crash: Crash, load: Load, point: str, passes: int) -> None:
    """Start, send what was unanswered, go on under load, and die at a pass of the point, or at some moment."""
    assert start(server, crash)
    assert load.retry(server.grpc_address), server.log
    check_conservation(read_ledger(server, load.keys))
    with load.run_callers(server.grpc_address):
        if point == _RANDOM:
            time.sleep(passes / 10)
            server.kill()
        else:
            crash.arm(point, passes)
            wait_for_death(server, crash, point)


def run_healing_round(server: ServerProcess, crash: Crash, load: Load, point: str) -> None:
    """Start, and die at the first pass of the point: while the crash before is being healed, if that passes it."""
    crash.arm(point)
    if start(server, crash) and load.retry(server.grpc_address):
        with load.run_callers(server.grpc_address):
            wait_for_death(server, crash, point)
    else:
        wait_for_death(server, crash, point)


def check_rounds(store: Store, crash: Crash, rounds: Sequence[tuple[str, bool]], randomness: random.Random) -> None:
    """Go through rounds: a point, and whether to die at it while the crash before is being healed."""
    environ = store.environ | {
        "MILLIMETRIC_RATE_LIMITS": "off",
        "MILLIMETRIC_FLUSH_INTERVAL_MS": "30",
        "MILLIMETRIC_BLOCK_ROWS_MAX": "300",
        "PYTHONPATH": str(_TESTS),
    }
    with ServerProcess(environ=environ, module=("support.crashing_server", str(crash.folder))) as server:
        load = Load(server.create_project("crash"))
        wait_for_key(server, load.keys)
        server.kill()
        for point, heals in rounds:
            if heals:
                run_healing_round(server, crash, load, point)
            else:
                run_round(server, crash, load, point, passes=randomness.randint(1, 8))
        server.start()
        assert load.retry(server.grpc_address)
        answered = len(load.answered)
        assert answered > len(rounds) * BATCH
        wait_until_none(
            lambda: int(read_ledger(server, load.keys).get("millimetric_journal_events", 0)), "the journal is empty"
        )
        wait_until_everywhere(server, load.keys, answered)
        wait_until_equal(lambda: read_ledger(server, load.keys)["millimetric_events_stored"], answered)
        check_conservation(read_ledger(server, load.keys))
        assert server.stop() == 0
        assert sorted(store.read_ids(server, load.keys)) == sorted(load.answered)


@pytest.mark.parametrize(("store", "point"), [("chdb", "after-commit"), ("http", "after-insert")], indirect=["store"])
def test_killed_under_load(store: Store, point: str, tmp_path: Path) -> None:
    """Where an event is lost most easily, and where it is most easily counted twice; the slow test has all points."""
    check_rounds(store, Crash(tmp_path), [(point, False)], random.Random(7))


@pytest.mark.slow
@_BOTH
def test_killed_at_every_point_and_at_random_under_load(store: Store, tmp_path: Path) -> None:
    """Each point once under load and once from the start on, in any order."""
    rounds = [(point, heals) for point in INGESTION_POINTS for heals in (False, True)]
    rounds += [(_RANDOM, False)] * _RANDOM_ROUNDS
    randomness = random.Random(7)
    randomness.shuffle(rounds)
    check_rounds(store, Crash(tmp_path), rounds, randomness)


@_BOTH
def test_sigterm_under_load_keeps_every_answered_event(store: Store) -> None:
    with ServerProcess(environ=store.environ | _ENDLESS) as server:
        load = Load(server.create_project("stop"))
        wait_for_key(server, load.keys)
        with load.run_callers(server.grpc_address):
            time.sleep(1)
            assert server.stop() == 0  # which does not wait until all of its time to end has passed
        stored = store.read_ids(server, load.keys)  # before a restart could load anything
        unanswered = {event.event_id for request in load.unanswered for event in request.events}
        assert load.answered
        assert len(stored) == len(set(stored))
        # A call that was cut off unanswered may be stored, never one that was refused.
        assert load.answered <= set(stored) <= load.answered | unanswered
        assert not load.refused & set(stored)
        server.start()
        assert count_everywhere(server, load.keys) == dict.fromkeys(("events", "rollup", "sessions"), len(stored))
        check_conservation(read_ledger(server, load.keys))
