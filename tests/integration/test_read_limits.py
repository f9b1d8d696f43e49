"""Reads end in ClickHouse when their caller is gone, and are refused when they take too much."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from integration.reads import bearer, wait_for_reads
from integration.stores import Engine, make_row
from millimetric.v1 import query_service_pb2, query_service_pb2_grpc
from millimetric_server.api.errors import AppError, Reason
from millimetric_server.store import migrations
from millimetric_server.store.cancellation import Cancellation
from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.read_pool import ReadLimits
from support.clickhouse_server import ClickHouseServer
from support.server_process import ServerProcess
from support.slow_client import SlowClient
from support.waiting import wait_until

# Within the limit of rows, and a matter of minutes.
_ENDLESS = "SELECT sum(bitAnd(reinterpretAsUInt64(SHA512(toString(number))), 1)) FROM numbers(900000000)"
_RUNNING = "SELECT count() FROM system.processes WHERE query LIKE '%numbers(900000000)%' AND query NOT LIKE '%proc%'"
_READING = "SELECT count() FROM system.processes WHERE query LIKE '%FROM source_rollup%' AND query NOT LIKE '%proc%'"


def count_running(engine: Engine) -> int:
    ((count,),) = engine.store.query(_RUNNING)
    return int(count)


def fail_of(future: "Future[Any]") -> AppError:
    with pytest.raises(AppError) as caught:
        future.result(120)
    return caught.value


def test_a_cancelled_read_stops_in_clickhouse(engine: Engine) -> None:
    cancellation = Cancellation()
    future = engine.store.reads.run(_ENDLESS, {}, cancellation)
    wait_until(lambda: count_running(engine) == 1, "the query runs")
    cancellation.cancel()
    assert fail_of(future).reason is Reason.UPSTREAM_FAILED
    assert count_running(engine) == 0


def test_a_read_that_was_cancelled_before_does_not_begin(engine: Engine) -> None:
    cancellation = Cancellation()
    cancellation.cancel()
    assert fail_of(engine.store.reads.run(_ENDLESS, {}, cancellation)).reason is Reason.UPSTREAM_FAILED
    assert engine.store.reads.run("SELECT 1", {}, Cancellation()).result(120) == [(1,)]


@pytest.mark.parametrize(
    ("limits", "what"),
    [
        (ReadLimits(seconds=1), "took too long"),
        (ReadLimits(memory_bytes=5_000_000), "needed too much memory"),
        (ReadLimits(rows=10), "read too many rows"),
    ],
    ids=["time", "memory", "rows"],
)
def test_a_read_beyond_its_limits_is_refused_in_the_callers_terms(
    clickhouse_server: ClickHouseServer, limits: ReadLimits, what: str
) -> None:
    store = ClickHouse(clickhouse_server.url, "limits", read_limits=limits)
    store.open()
    migrations.migrate(store)
    question = "SELECT number, groupArray(sipHash64(number)) FROM numbers(300000000) GROUP BY number"
    error = fail_of(store.reads.run(question, {}, Cancellation()))
    store.close()
    assert error.reason is Reason.INVALID_PARAMS
    assert error.violations[0].field == "from"
    assert what in error.message


def test_a_read_before_the_schema_is_this_versions_is_refused(clickhouse_server: ClickHouseServer) -> None:
    """While an upgrade fills a roll-up, what it holds would be a wrong answer."""
    store = ClickHouse(clickhouse_server.url, "not_yet_current")
    store.open()
    store.command(migrations._LEDGER)
    for migration in migrations.read_migrations():
        assert fail_of(store.reads.run("SELECT 1", {}, Cancellation())).reason is Reason.UPSTREAM_FAILED
        assert fail_of(store.reads.submit_export(lambda: 1, "mark", Cancellation())).reason is Reason.UPSTREAM_FAILED
        migrations._apply(store, migration)
    assert migrations.migrate(store) == 0
    assert store.reads.run("SELECT 1", {}, Cancellation()).result(120) == [(1,)]
    assert store.reads.submit_export(lambda: 1, "mark", Cancellation()).result(120) == 1
    store.close()


def test_a_read_that_fails_leaves_nothing_to_the_next(engine: Engine) -> None:
    """The embedded engine would give its output to whoever asks next on the same handle."""
    cancellation = Cancellation()
    statement = (
        "SELECT number, repeat('theirs', 100), sleepEachRow(0.001) AS to_be_killed FROM numbers(8000) "
        "SETTINGS max_block_size = 50, max_threads = 1"
    )
    future = engine.store.reads.run(statement, {}, cancellation)
    progress = (
        "SELECT max(read_rows) FROM system.processes WHERE query LIKE '%to_be_killed%' AND query NOT LIKE '%proc%'"
    )
    wait_until(lambda: engine.store.query(progress)[0][0] >= 500, "some of the answer is written")
    cancellation.cancel()
    assert fail_of(future).reason is Reason.UPSTREAM_FAILED
    for _ in range(8):
        rows = engine.store.reads.run("SELECT 1", {}, Cancellation()).result(120)
        assert [tuple(row) for row in rows] == [(1,)]


def test_a_read_beyond_its_time_leaves_nothing_to_the_next(engine: Engine) -> None:
    statement = (
        "SELECT number, repeat('theirs', 100), sleepEachRow(0.001) FROM numbers(60000) "
        "SETTINGS max_block_size = 50, max_threads = 1"
    )
    store = ClickHouse(engine.store.url, engine.store.database, read_limits=ReadLimits(seconds=3))
    store.open()
    migrations.migrate(store)
    assert fail_of(store.reads.run(statement, {}, Cancellation())).reason is Reason.INVALID_PARAMS
    for _ in range(8):
        rows = store.reads.run("SELECT 1", {}, Cancellation()).result(120)
        assert [tuple(row) for row in rows] == [(1,)]
    store.close()


@dataclass(frozen=True)
class _Asked:
    """A caller who waits for an answer."""

    is_answered: Callable[[], bool]
    hang_up: Callable[[], None]


def _ask_over_rest(server: ServerProcess, key: str) -> _Asked:
    caller = SlowClient(server.http_port)
    caller.send_head("GET", "/v1/stats", bearer(key))
    return _Asked(caller.is_answered, caller.close)


def _ask_over_grpc(server: ServerProcess, key: str) -> _Asked:
    channel = grpc.insecure_channel(server.grpc_address)
    stub = query_service_pb2_grpc.QueryServiceStub(channel)
    call = stub.Stats.future(query_service_pb2.StatsRequest(), metadata=(("authorization", f"Bearer {key}"),))

    def hang_up() -> None:
        call.cancel()
        channel.close()

    return _Asked(call.done, hang_up)


@pytest.mark.parametrize("ask", [_ask_over_rest, _ask_over_grpc], ids=["rest", "grpc"])
def test_when_a_caller_hangs_up_the_read_stops(
    clickhouse_server: ClickHouseServer, ask: Callable[[ServerProcess, str], _Asked]
) -> None:
    """A view in the place of the roll-up makes a plain question endless."""
    database = f"hang_up{ask.__name__}"
    environ = {
        "MILLIMETRIC_CLICKHOUSE_URL": clickhouse_server.url,
        "MILLIMETRIC_CLICKHOUSE_DATABASE": database,
        "MILLIMETRIC_READ_SECONDS_MAX": "600",
    }
    watcher = ClickHouse(clickhouse_server.url, database)
    with ServerProcess(environ=environ) as server:
        keys = server.create_project("hang-up")
        wait_for_reads(server, keys)
        watcher.open()
        watcher.command("RENAME TABLE source_rollup TO kept")
        watcher.command(
            f"CREATE VIEW source_rollup AS SELECT '{keys.project_id}' AS project_id, toDate('2100-01-01') AS day, "
            "'' AS source, '' AS medium, false AS is_bot, "
            "bitAnd(reinterpretAsUInt64(SHA512(toString(number))), 1) AS events "
            "FROM numbers(900000000)"
        )
        asked = ask(server, keys.read)

        def runs() -> bool:
            nonlocal asked
            if asked.is_answered():  # a busy ClickHouse did not take the connection within 3 s
                asked.hang_up()
                asked = ask(server, keys.read)
            return watcher.query(_READING)[0][0] == 1

        wait_until(runs, "the read runs")
        assert not asked.is_answered()
        asked.hang_up()
        wait_until(lambda: watcher.query(_READING)[0][0] == 0, "the read has stopped")
    watcher.close()


def test_a_read_within_its_limits_is_answered(engine: Engine) -> None:
    engine.append(make_row(event_id="1"))
    rows = engine.store.reads.run("SELECT count() FROM events", {}, Cancellation()).result(120)
    assert [tuple(row) for row in rows] == [(1,)]
