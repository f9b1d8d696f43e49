"""A server that was paused, or whose folder was copied, can't store what another has taken over.

Protects the counts: a loader that slept between reading a block and sending it stored 4,000 events a second time, with
a ledger that looked right.
"""

import contextlib
import itertools
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from integration.reads import bearer, count_everywhere, wait_for_reads
from integration.stores import make_row, open_engine
from millimetric_server.enrich.event_row import EventRow
from millimetric_server.journal.blocks import Block, Leadership
from millimetric_server.journal.entries import Entry, EntryId
from millimetric_server.journal.packed_rows import pack_row
from millimetric_server.loading.block_insert import BlockInserter
from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.faults import FencedError
from support.clickhouse_server import ClickHouseServer
from support.crashing_server import Crash
from support.server_process import ProjectKeys, ServerProcess, fast_folder
from support.waiting import wait_until, wait_until_equal

_TESTS = Path(__file__).parents[1]
_EVENTS = 1000
_numbers = itertools.count()


@pytest.fixture
def crash() -> Iterator[Crash]:
    with tempfile.TemporaryDirectory(dir=fast_folder()) as folder:
        yield Crash(Path(folder))


@pytest.fixture
def environ(clickhouse_server: ClickHouseServer) -> dict[str, str]:
    return {
        "PYTHONPATH": str(_TESTS),
        "MILLIMETRIC_CLICKHOUSE_URL": clickhouse_server.url,
        "MILLIMETRIC_CLICKHOUSE_DATABASE": f"fence_{next(_numbers)}",
        "MILLIMETRIC_RATE_LIMITS": "off",
    }


def send(server: ServerProcess, keys: ProjectKeys, name: str, count: int = _EVENTS, **headers: str) -> int:
    events = [{"event": name, "event_id": f"{name}-{number}"} for number in range(count)]
    url = f"{server.base_url}/v1/batch"
    return httpx.post(url, json={"events": events}, headers=bearer(keys.secret) | headers, timeout=30).status_code


def copy_folder(server: ServerProcess) -> Path:
    copy = Path(tempfile.mkdtemp(prefix="millimetric-", dir=fast_folder()))
    shutil.copytree(server.data_dir, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.sock"))
    (copy / "server.log").unlink()
    return copy


def resume(server: ServerProcess) -> None:
    assert server.process is not None
    server.process.send_signal(signal.SIGCONT)


def count_stored(environ: dict[str, str]) -> int:
    store = ClickHouse(environ["MILLIMETRIC_CLICKHOUSE_URL"], environ["MILLIMETRIC_CLICKHOUSE_DATABASE"])
    ((count,),) = store.query("SELECT count() FROM events")
    store.close()
    return int(count)


@pytest.mark.slow
@pytest.mark.parametrize("point", ["before-load", "before-send"])
def test_a_paused_loader_stores_nothing_once_a_copy_of_its_folder_was_started(
    environ: dict[str, str], crash: Crash, point: str
) -> None:
    module = ("support.crashing_server", str(crash.folder))
    with ServerProcess(environ=environ, module=module) as first:
        keys = first.create_project("paused")
        wait_for_reads(first, keys)
        crash.arm(point, number=signal.SIGSTOP)
        assert send(first, keys, "one") == 202
        wait_until(crash.hit.exists, "the loader pauses")
        with ServerProcess(environ=environ, data_dir=copy_folder(first)) as second:
            wait_until_equal(lambda: count_stored(environ), _EVENTS)
            resume(first)
            assert first.process is not None
            assert first.process.wait(120) == 1
            assert "another process has claimed the journal" in first.log
            assert "Traceback" not in first.log
            assert send(second, keys, "two", **{"Millimetric-Ack": "stored"}) == 202
            total = 2 * _EVENTS
            assert count_everywhere(second, keys) == {"events": total, "rollup": total, "sessions": total}


@pytest.mark.slow
def test_a_fenced_server_is_unready_and_acknowledges_nothing(environ: dict[str, str]) -> None:
    environ["MILLIMETRIC_SHUTDOWN_TIMEOUT_S"] = "5"
    with ServerProcess(environ=environ) as first:
        keys = first.create_project("unready")
        wait_for_reads(first, keys)
        # It has claimed its journal then: a copy from before that would be the one that is fenced off.
        assert send(first, keys, "claimed", 1, **{"Millimetric-Ack": "stored"}) == 202
        with ServerProcess(environ=environ, data_dir=copy_folder(first)):
            assert send(first, keys, "one") in (202, 503)  # its next block is what tells
            assert first.process is not None
            codes = []
            while first.process.poll() is None:
                try:
                    codes.append(send(first, keys, f"late-{len(codes)}", 1))
                except httpx.TransportError:
                    break
            assert first.process.wait(120) == 1
            assert 202 not in itertools.dropwhile(lambda code: code != 503, codes)  # a busy machine sees none of them
            assert count_stored(environ) == 1
            again = ServerProcess(environ=environ, data_dir=first.data_dir)
            with contextlib.suppress(AssertionError):  # its doors may open before ClickHouse has answered
                again.start()
            assert again.process is not None
            assert again.process.wait(120) == 1  # a supervisor that restarts it starts no duel
            assert again.log.count("The server ended: another process has claimed the journal") == 2


def test_a_block_that_another_process_has_stored_is_not_taken_for_ones_own(
    clickhouse_server: ClickHouseServer, environ: dict[str, str], tmp_path: Path
) -> None:
    """Its answer was lost, so its rows are looked up, and they are there: but by whose hand?"""
    row = make_row(event_id="one")
    entry = Entry(EntryId("1"), row.project_id, 1, len(EventRow.__struct_fields__), pack_row(row))
    block = Block("token", [entry], was_sent=True)
    with open_engine(tmp_path, clickhouse_server.url, environ["MILLIMETRIC_CLICKHOUSE_DATABASE"]) as engine:
        engine.append(row)
        inserter, lead = BlockInserter(engine.journal, engine.store), Leadership("test", "epoch")
        assert inserter.insert(lead, block).stored == {row.project_id: 1}
        assert engine.store.fence is not None
        claim = f"('{engine.store.fence.server_id}', '9999999999 another')"
        engine.store.command(f"INSERT INTO server_fences (server_id, claim) VALUES {claim}")
        with pytest.raises(FencedError):
            inserter.insert(lead, block)


def test_a_server_goes_on_after_a_crash_and_after_its_folder_moved(environ: dict[str, str]) -> None:
    with ServerProcess(environ=environ) as server:
        keys = server.create_project("moved")
        wait_for_reads(server, keys)
        assert send(server, keys, "one", **{"Millimetric-Ack": "stored"}) == 202
        server.kill()
        server.start()
        assert send(server, keys, "two", **{"Millimetric-Ack": "stored"}) == 202
        server.kill()
        moved = server.data_dir.with_name(f"{server.data_dir.name}-moved")
        server.data_dir.rename(moved)
        server.data_dir = moved
        server.start()
        wait_for_reads(server, keys)
        assert send(server, keys, "three", **{"Millimetric-Ack": "stored"}) == 202
        total = 3 * _EVENTS
        assert count_everywhere(server, keys) == {"events": total, "rollup": total, "sessions": total}
