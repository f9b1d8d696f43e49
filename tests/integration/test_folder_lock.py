"""One server a folder: a second start changes nothing and says who is there; a crash leaves nothing to clear away.

Protects the journal's run and the blocks of the embedded engine, which a second start used to rename and to delete, so
that events were counted twice.
"""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from integration.cli_process import run_cli
from integration.reads import bearer, count_everywhere, wait_for_key
from millimetric_server.config import Settings
from millimetric_server.process.folder_lock import FolderInUseError, find_holder, lock_server_folders
from support.clickhouse_server import ClickHouseServer
from support.server_process import ServerProcess, fast_folder


def start_another(data_dir: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Start a server and wait for it to end; nobody stops it, so it has to be refused."""
    return subprocess.run(
        [sys.executable, "-m", "millimetric_server", "serve", "--grpc-port", "0", "--http-port", "0"],
        env={**os.environ, "MILLIMETRIC_DATA_DIR": str(data_dir), **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def assert_refused(refused: subprocess.CompletedProcess[str], holder: ServerProcess) -> None:
    assert refused.returncode == 1, refused.stderr
    assert holder.process is not None
    assert f"process {holder.process.pid} " in refused.stderr
    assert os.uname().nodename in refused.stderr
    assert "Stop that one first" in refused.stderr
    for unwanted in ("Traceback", "Recovered", "DB::Exception"):
        assert unwanted not in refused.stderr


def read_run(server: ServerProcess) -> str:
    """The name of the journal's run, which is a part of deduplication tokens."""
    with contextlib.closing(sqlite3.connect(f"file:{server.data_dir}/journal.db?mode=ro", uri=True)) as journal:
        ((run,),) = journal.execute("SELECT journal_id FROM loader_position")
        return str(run)


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=fast_folder()) as path:
        yield Path(path)


def test_a_second_start_on_the_embedded_engines_folder_changes_nothing(server: ServerProcess) -> None:
    in_transit = server.data_dir / "clickhouse.tmp" / "block"
    in_transit.write_text("rows on their way into the engine")
    run = read_run(server)
    assert_refused(start_another(server.data_dir), server)
    assert in_transit.exists()
    assert read_run(server) == run
    in_transit.unlink()


def test_a_second_start_with_a_clickhouse_server_is_refused_and_nothing_counts_twice(
    clickhouse_server: ClickHouseServer,
) -> None:
    environ = {
        "MILLIMETRIC_CLICKHOUSE_URL": clickhouse_server.url,
        "MILLIMETRIC_CLICKHOUSE_DATABASE": "second_start",
        "MILLIMETRIC_FLUSH_INTERVAL_MS": "60000",  # the events wait in the journal while the second start is tried
        "MILLIMETRIC_RATE_LIMITS": "off",
    }
    with ServerProcess(environ=environ) as first:
        keys = first.create_project("second_start")
        wait_for_key(first, keys)
        events = [{"event": "a", "event_id": f"one-{number}"} for number in range(500)]
        url = f"{first.base_url}/v1/batch"
        assert httpx.post(url, json={"events": events}, headers=bearer(keys.secret)).status_code == 202
        assert_refused(start_another(first.data_dir, **environ), first)
        more = [{"event": "b", "event_id": f"two-{number}"} for number in range(500)]
        headers = bearer(keys.secret) | {"Millimetric-Ack": "stored"}
        assert httpx.post(url, json={"events": more}, headers=headers, timeout=30).status_code == 202
        assert count_everywhere(first, keys) == {"events": 1000, "rollup": 1000, "sessions": 1000}
        assert first.stop() == 0
        first.start()  # an orderly end leaves nothing to recover
        assert "Recovered" not in first.log


def test_an_engines_folder_elsewhere_is_locked_too(folder: Path) -> None:
    """Two data folders, one engine; the second one gets neither secrets nor a journal."""
    environ = {"MILLIMETRIC_CLICKHOUSE_URL": f"chdb://{folder}/engine"}
    with ServerProcess(environ=environ) as first:
        assert_refused(start_another(folder / "data", **environ), first)
        assert [path.name for path in (folder / "data").iterdir()] == ["server.lock"]


def test_a_link_to_another_servers_journal_is_no_way_around(folder: Path, server: ServerProcess) -> None:
    (folder / "journal.db").symlink_to(server.data_dir / "journal.db")
    assert_refused(start_another(folder), server)


def test_a_program_that_has_the_engine_open_is_named(folder: Path) -> None:
    """Such as a server of a version that knew no lock."""
    program = (
        f"import chdb.session, sys; s = chdb.session.Session('{folder}/clickhouse'); print(1, flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        refused = start_another(folder)
        other.communicate(b"\n")
    assert refused.returncode == 1
    assert f"process {other.pid}" in refused.stderr
    assert not (folder / "secrets.json").exists()


def test_a_crash_releases_the_lock() -> None:
    with ServerProcess() as server:
        server.kill()
        assert (server.data_dir / "server.lock").exists()
        assert find_holder(server.data_dir) is None
        server.start()
        holder = find_holder(server.data_dir)
        assert server.process is not None
        assert holder is not None
        assert holder.pid == server.process.pid


def test_no_child_keeps_the_lock(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path), clickhouse_url="http://127.0.0.1:1")
    with lock_server_folders(settings, "test"):
        with pytest.raises(FolderInUseError, match=f"process {os.getpid()} "), lock_server_folders(settings, "again"):
            pass
        program = subprocess.Popen(["sleep", "60"], close_fds=False)
        if not (fork := os.fork()):
            os.execlp("sleep", "sleep", "60")
    try:
        with lock_server_folders(settings, "again"):
            holder = find_holder(tmp_path)
            assert holder is not None
            assert holder.command == "again"
    finally:
        program.kill()
        program.wait()
        os.kill(fork, 9)
        os.waitpid(fork, 0)


def test_a_forked_child_neither_keeps_nor_breaks_the_lock(tmp_path: Path) -> None:
    settings = Settings(data_dir=str(tmp_path), clickhouse_url="http://127.0.0.1:1")
    reader, writer = os.pipe()
    with lock_server_folders(settings, "test"):
        if not (fork := os.fork()):
            os.read(reader, 1)
            os._exit(0)
        with pytest.raises(FolderInUseError), lock_server_folders(settings, "again"):
            pass
    with lock_server_folders(settings, "again"):
        os.write(writer, b"\n")
        os.waitpid(fork, 0)


def test_commands_that_run_beside_a_server_still_do(server: ServerProcess) -> None:
    keys = server.create_project("beside_the_lock")
    for words in (
        ("project", "list"),
        ("key", "create", "--project", keys.name, "--kind", "rk"),
        ("origin", "list", "--project", keys.name),
        ("journal", "status"),
        ("journal", "dead-letters"),
        ("journal", "retry", "--all", "--no-wait"),
    ):
        code, _, errors = run_cli(server, *words)
        assert code == 0, (words, errors)
    _, output, _ = run_cli(server, "doctor", "--json")
    assert server.process is not None
    assert f"in use by process {server.process.pid} (serve)" in output


def test_a_folder_that_cannot_be_written_is_told(folder: Path) -> None:
    shutil.rmtree(folder / "data", ignore_errors=True)
    (folder / "data").write_text("a file")
    refused = start_another(folder / "data")
    assert refused.returncode == 1
    assert "MILLIMETRIC_DATA_DIR" in refused.stderr
    assert "Traceback" not in refused.stderr
