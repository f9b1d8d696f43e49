"""Two servers with folders of their own on one ClickHouse database: neither doubles or loses what the other stores.

Both load, one is killed again and again, and people are forgotten on both meanwhile; then every table agrees with what
was acknowledged. And a block in flight is not stored twice where others' blocks have pushed its token out.
"""

import contextlib
import itertools
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import httpx
import pytest

from integration.reads import bearer, count_everywhere, wait_for_key
from integration.stores import Engine, make_row, open_engine
from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.faults import InsertsLockedError
from millimetric_server.store.insert_lock import ROLLUPS, SCHEMA, hold_rollup_lock, wait_until_unlocked
from millimetric_server.store.rollups import rebuild
from support.clickhouse_server import ClickHouseServer
from support.crashing_server import Crash
from support.server_process import ProjectKeys, ServerProcess, fast_folder
from support.waiting import wait_until

_TESTS = Path(__file__).parents[1]
_ROUNDS = 4


@pytest.fixture
def environ(clickhouse_server: ClickHouseServer, tmp_path: Path) -> dict[str, str]:
    return {
        "PYTHONPATH": str(_TESTS),
        "MILLIMETRIC_CLICKHOUSE_URL": clickhouse_server.url,
        "MILLIMETRIC_CLICKHOUSE_DATABASE": f"shared_{tmp_path.name.replace('-', '_')}",
        "MILLIMETRIC_DATABASE_URL": f"sqlite:///{tmp_path}/control.db",
        "MILLIMETRIC_IP_SALT": "i" * 32,
        "MILLIMETRIC_IDENTITY_KEY": "j" * 32,
        "MILLIMETRIC_KEY_PEPPER": "k" * 32,
        "MILLIMETRIC_RATE_LIMITS": "off",
        "MILLIMETRIC_FLUSH_INTERVAL_MS": "30",  # many small blocks: many moments between events and views
    }


@dataclass
class Sender:
    """Sends batches to one server without a pause, each until it is acknowledged."""

    server: ServerProcess
    keys: ProjectKeys
    name: str
    acknowledged: int = 0
    ends: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        for number in itertools.count():
            if self.ends.is_set():
                return
            events = [
                {
                    "event": "shared",
                    "event_id": f"{self.name}-{number}-{index}",
                    "timestamp": f"2026-11-2{index % 4}T12:00:00Z",
                    "anonymous_id": f"{self.name}-{index}",
                    "session_id": f"visit-{index % 5}",
                }
                for index in range(20)
            ]
            while not self._is_acknowledged(events):
                time.sleep(0.05)
            self.acknowledged += len(events)

    def _is_acknowledged(self, events: list[dict[str, str]]) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            url = f"{self.server.base_url}/v1/batch"
            return httpx.post(url, json={"events": events}, headers=bearer(self.keys.secret)).status_code == 202
        return False


def track(server: ServerProcess, keys: ProjectKeys, **event: str) -> int:
    """Send an event and wait until it is stored."""
    headers = bearer(keys.secret) | {"Millimetric-Ack": "stored"}
    return httpx.post(f"{server.base_url}/v1/track", json=event, headers=headers, timeout=60).status_code


def forget(server: ServerProcess, keys: ProjectKeys, number: int) -> str:
    """Send an event of a person, and forget the person."""
    headers = bearer(keys.secret)
    event = {
        "event": "shared",
        "anonymous_id": f"gone-{number}",
        "session_id": f"visit-{number % 5}",
        "timestamp": "2026-11-21T12:00:00Z",
    }
    sent = httpx.post(
        f"{server.base_url}/v1/track", json=event, headers=headers | {"Millimetric-Ack": "stored"}, timeout=60
    )
    assert sent.status_code == 202, sent.text
    asked = httpx.post(
        f"{server.base_url}/v1/forget", json={"anonymous_id": f"gone-{number}"}, headers=headers, timeout=60
    )
    assert asked.status_code == 200, asked.text
    return str(asked.json()["erasure_id"])


def is_stored(server: ServerProcess, keys: ProjectKeys, event_id: str) -> bool:
    return track(server, keys, event="a", event_id=event_id) == 202


def is_done(server: ServerProcess, keys: ProjectKeys, erasure_id: str) -> bool:
    answer = httpx.get(f"{server.base_url}/v1/erasures/{erasure_id}", headers=bearer(keys.secret)).json()
    return answer["state"] == "done" and answer["residual"] == 0


@pytest.mark.slow
def test_both_load_one_is_killed_and_people_are_forgotten(environ: dict[str, str]) -> None:
    """On one project, whose days and visits both write: the hardest case."""
    with (
        ThreadPoolExecutor(4) as threads,
        ServerProcess(environ=environ) as steady,
        ServerProcess(environ=environ) as dying,
    ):
        keys = steady.create_project("shared")
        for server in (steady, dying):
            wait_for_key(server, keys)
        senders = [Sender(steady, keys, "steady"), Sender(dying, keys, "dying")]
        running = [threads.submit(sender.run) for sender in senders]
        erasures = []
        for number in range(_ROUNDS):
            time.sleep(0.5)
            erasures.append((steady, forget(steady, keys, number)))
            dying.kill()
            dying.start()
            erasures.append((dying, forget(dying, keys, 100 + number)))
        for sender in senders:
            sender.ends.set()
        for future in running:
            future.result(60)
        for server, erasure_id in erasures:
            wait_until(partial(is_done, server, keys, erasure_id), "erased")
        total = sum(sender.acknowledged for sender in senders)
        wait_until(lambda: count_everywhere(steady, keys)["events"] >= total, "all is loaded")
        assert steady.stop() == 0
        assert dying.stop() == 0
        steady.start()
        assert count_everywhere(steady, keys) == {"events": total, "rollup": total, "sessions": total}
        assert_rollups_agree(environ)


def test_a_rebuild_beside_steady_inserts_is_exact(clickhouse_server: ClickHouseServer, tmp_path: Path) -> None:
    """All blocks have four events of one visit: one that is counted twice looks right in the middle of the next."""
    with (
        open_engine(tmp_path / "a", clickhouse_server.url, "rebuilt_beside") as ours,
        open_engine(tmp_path / "b", clickhouse_server.url, "rebuilt_beside") as other,
        ThreadPoolExecutor(2) as threads,
    ):
        for attempt in range(5):
            ends = threading.Event()
            sending = [threads.submit(append_until, ends, engine, attempt) for engine in (ours, other)]
            time.sleep(0.3)
            rebuilding = ours.loader.run_between_blocks(lambda: rebuild(ours.store, "prj_a", ["2026-09-21"], ["visit"]))
            rebuilding.result(60)
            ends.set()
            for future in sending:
                future.result(60)
            assert ours.read_rollups() == ours.read_expected_rollups()


def append_until(ends: threading.Event, engine: Engine, attempt: int) -> None:
    for number in itertools.count():
        if ends.is_set():
            return
        names = (f"{id(engine)}-{attempt}-{number}-{index}" for index in range(4))
        engine.append(*(make_row(event_id=name, session_id="visit") for name in names))


@pytest.mark.slow
def test_a_lock_that_a_killed_server_left_is_released(clickhouse_server: ClickHouseServer, tmp_path: Path) -> None:
    with open_engine(tmp_path, clickhouse_server.url, "left_lock") as engine:
        leave_lock(engine.store, ROLLUPS)
        engine.append(make_row(event_id="a"))
        assert engine.count("events") == 1
        assert engine.count("system.tables", "database = 'left_lock' AND name LIKE 'schema_lock%'") == 0


def test_a_half_migrated_schema_stays_locked(clickhouse_server: ClickHouseServer) -> None:
    """Only a migration passes its lock over: no insert, and no rebuild."""
    with contextlib.closing(ClickHouse(clickhouse_server.url, "half_migrated")) as store:
        store.open()
        leave_lock(store, SCHEMA)
        with pytest.raises(InsertsLockedError):
            wait_until_unlocked(store)
        with pytest.raises(InsertsLockedError), hold_rollup_lock(store):
            pass


def test_a_lock_that_was_taken_over_is_not_dropped_by_its_first_holder(clickhouse_server: ClickHouseServer) -> None:
    """It was paused; the number of its lock is another server's when it goes on."""
    with contextlib.closing(ClickHouse(clickhouse_server.url, "taken_over")) as store:
        store.open()
        with hold_rollup_lock(store) as lock:
            lock.release()
            leave_lock(store, ROLLUPS)
        assert store.query("EXISTS TABLE schema_lock_1") == [(1,)]


def leave_lock(store: ClickHouse, purpose: str) -> None:
    store.command(f"CREATE TABLE schema_lock_1 (nothing UInt8) ENGINE = Memory COMMENT '{purpose} gone'")


def test_two_first_starts_at_once_make_one_schema(environ: dict[str, str]) -> None:
    servers = [ServerProcess(environ=environ) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(ServerProcess.start, servers))
    try:
        keys = servers[0].create_project("first_starts")
        for number, server in enumerate(servers):
            wait_for_key(server, keys)
            wait_until(partial(is_stored, server, keys, f"{number}"), "an event is stored")
        assert count_everywhere(servers[0], keys) == {"events": 2, "rollup": 2, "sessions": 2}
        with open_store(environ) as store:
            applied = store.query("SELECT version, count() FROM schema_migrations GROUP BY version")
            assert {count for _, count in applied} == {1}
            assert (
                store.query(
                    "SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE 'schema_lock%'"
                )
                == []
            )
    finally:
        for server in servers:
            server.__exit__()


def test_a_block_in_flight_is_stored_once_though_its_token_is_forgotten(environ: dict[str, str]) -> None:
    """While a server is down, others load; the tables remember a number of blocks, whoever's they are."""
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        crash = Crash(Path(folder))
        with ServerProcess(environ=environ, module=("support.crashing_server", folder)) as server:
            keys = server.create_project("forgotten_token")
            wait_for_key(server, keys)
            crash.arm("after-insert")
            events = [
                {"event": "a", "event_id": f"{number}", "timestamp": f"2026-{month}-15T12:00:00Z"}
                for number, month in enumerate(["08", "09", "10", "11"] * 25)
            ]
            url = f"{server.base_url}/v1/batch"
            assert httpx.post(url, json={"events": events}, headers=bearer(keys.secret)).status_code == 202
            assert server.process is not None
            server.process.wait(30)
            assert crash.take_hit() == "after-insert"
            with open_store(environ) as store:
                for table in ("events", "daily_rollup", "hourly_rollup", "source_rollup", "sessions"):
                    store.command(f"ALTER TABLE {table} MODIFY SETTING non_replicated_deduplication_window = 0")
                store.command("ALTER TABLE events DROP PARTITION 202609")  # and one part of it had not come in
            server.start()
            wait_for_key(server, keys)
            assert track(server, keys, event="a", event_id="last") == 202
            assert count_everywhere(server, keys) == {"events": 101, "rollup": 101, "sessions": 101}
            assert_rollups_agree(environ)


@contextlib.contextmanager
def open_store(environ: dict[str, str]) -> Iterator[ClickHouse]:
    url, database = environ["MILLIMETRIC_CLICKHOUSE_URL"], environ["MILLIMETRIC_CLICKHOUSE_DATABASE"]
    with contextlib.closing(ClickHouse(url, database)) as store:
        yield store


def assert_rollups_agree(environ: dict[str, str]) -> None:
    with open_store(environ) as store:
        engine = Engine(None, None, store, None)  # type: ignore[arg-type]
        assert engine.read_rollups() == engine.read_expected_rollups()
