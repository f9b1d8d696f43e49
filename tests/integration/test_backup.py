"""A backup of a running server is one moment of journal, control database, secrets and engine: every event acknowledged
before it is in the restored server once, in all tables, with a whole ledger. Cut short, it leaves nothing behind.
"""

import contextlib
import json
import shutil
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from integration.cli_process import run_cli, start_cli
from integration.reads import bearer, wait_until_everywhere
from support.crashing_server import Crash
from support.server_process import ProjectKeys, ServerProcess
from support.waiting import wait_until

pytestmark = pytest.mark.slow

_LIMITS = {"MILLIMETRIC_RATE_LIMITS": "off", "MILLIMETRIC_FLUSH_INTERVAL_MS": "50"}
_BATCH = 50
_CALLERS = 3

Saved = tuple[ServerProcess, ProjectKeys, Path]


class Load:
    """Callers that send batches of events with ids until they are told to stop, and note what was acknowledged."""

    def __init__(self, server: ServerProcess, keys: ProjectKeys) -> None:
        self._server, self._keys = server, keys
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(_CALLERS)]
        self.acknowledged: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, caller: int) -> None:
        with httpx.Client(base_url=self._server.base_url, timeout=60) as client:
            for number in range(100_000):
                if self._stop.wait(0.01):
                    return
                ids = [f"{caller}-{number}-{index}" for index in range(_BATCH)]
                events = [{"event": "tick", "event_id": one, "user_id": f"u{number % 40}"} for one in ids]
                answer = client.post("/v1/batch", json={"events": events}, headers=bearer(self._keys.secret))
                if answer.status_code == 202:
                    self.acknowledged += ids


@pytest.fixture
def running() -> Iterator[ServerProcess]:
    with ServerProcess(environ=_LIMITS) as process:
        yield process


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Saved]:
    """A running server with a few events, and a backup of it."""
    folder = tmp_path_factory.mktemp("backups") / "first"
    with ServerProcess(environ=_LIMITS) as process:
        keys = process.create_project("saved")
        send(process, keys, [f"e{number}" for number in range(20)])
        back_up(process, folder)
        yield process, keys, folder


def back_up(server: ServerProcess, folder: Path) -> dict[str, Any]:
    code, output, errors = run_cli(server, "backup", str(folder), "--json")
    assert code == 0, errors + server.log
    told: dict[str, Any] = json.loads(output)
    return told


def restore(server: ServerProcess, folder: Path) -> tuple[int, str]:
    code, _, errors = run_cli(server, "restore", str(folder))
    return code, errors


@contextlib.contextmanager
def restored_from(folder: Path) -> Iterator[ServerProcess]:
    """A server on what was restored of a backup."""
    server = ServerProcess(environ=_LIMITS)
    try:
        assert restore(server, folder) == (0, "")
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(server.data_dir, ignore_errors=True)


def read_identity(folder: Path) -> str:
    """The journal's name in the tokens of its blocks."""
    with contextlib.closing(sqlite3.connect(f"{(folder / 'journal.db').as_uri()}?mode=ro", uri=True)) as journal:
        (name,) = journal.execute("SELECT journal_id FROM loader_position").fetchone()
    return str(name)


def send(server: ServerProcess, keys: ProjectKeys, ids: list[str]) -> list[str]:
    """Send events with these ids; returns what became of each."""
    outcomes: list[str] = []
    for start in range(0, len(ids), 1000):
        events = [{"event": "tick", "event_id": one, "user_id": "u1"} for one in ids[start : start + 1000]]
        body = {"events": events, "mode": "per_event", "ack": "stored"}
        answer = httpx.post(f"{server.base_url}/v1/batch", json=body, headers=bearer(keys.secret), timeout=60)
        assert answer.status_code == 202, answer.text
        outcomes += [one["outcome"] for one in answer.json()["outcomes"]]
    return outcomes


def read_status(server: ServerProcess) -> dict[str, Any]:
    code, output, errors = run_cli(server, "doctor", "--json")
    checks = {one["check"]: one for one in json.loads(output)["checks"]}
    assert checks["ledger"]["verdict"] == "ok", (code, checks["ledger"], errors)
    return checks


def test_a_backup_under_load_is_one_moment(running: ServerProcess, tmp_path: Path) -> None:
    keys = running.create_project("busy")
    folder = tmp_path / "backup"
    with Load(running, keys) as load:
        wait_until(lambda: len(load.acknowledged) > 2000, "some events are in")
        before = set(load.acknowledged)
        told = back_up(running, folder)
        after = len(load.acknowledged)
        wait_until(lambda: len(load.acknowledged) > after, "acknowledging goes on")
    everything = load.acknowledged
    assert len(before) <= told["received"] == told["stored"] + told["waiting"]
    wait_until_everywhere(running, keys, len(everything))  # the server that was backed up is as it would have been

    with restored_from(folder) as restored:
        wait_until_everywhere(restored, keys, told["received"])
        read_status(restored)
        outcomes = dict(zip(everything, send(restored, keys, everything), strict=True))
        known = {one for one, outcome in outcomes.items() if outcome == "duplicate"}
        assert before <= known  # what was acknowledged before is there, and known by its id
        assert len(known) == told["received"]
        wait_until_everywhere(restored, keys, len(everything))  # what came later is stored now, and nothing twice
        read_status(restored)
        restored.stop()
        restored.start()
        wait_until_everywhere(restored, keys, len(everything))


def test_a_server_killed_during_a_backup_leaves_none_and_starts_again(tmp_path: Path) -> None:
    crash, folder = Crash(tmp_path), tmp_path / "backup"
    environ = _LIMITS | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with ServerProcess(environ=environ, module=("support.crashing_server", str(tmp_path))) as server:
        keys = server.create_project("killed")
        send(server, keys, [f"e{number}" for number in range(500)])
        crash.arm("backup-during-copy", passes=10)
        code, _, errors = run_cli(server, "backup", str(folder))
        assert code == 1
        assert "none was made" in errors
        assert server.process is not None
        server.process.wait(60)
        assert crash.take_hit() == "backup-during-copy"
        assert not folder.exists()
        assert (tmp_path / "backup.partial" / "UNFINISHED").exists()
        shadow = server.data_dir / "clickhouse" / "shadow"
        assert list(shadow.glob("millimetric_backup_*"))

        server.start()
        assert not list(shadow.glob("millimetric_backup_*"))
        wait_until_everywhere(server, keys, 500)
        back_up(server, folder)
        assert not (tmp_path / "backup.partial").exists()
        assert not list(shadow.glob("millimetric_backup_*"))
        code, _, errors = run_cli(server, "restore", str(folder), MILLIMETRIC_DATA_DIR=str(tmp_path / "elsewhere"))
        assert code == 0, errors


def test_a_caller_who_goes_takes_the_backup_along(saved: Saved, tmp_path: Path) -> None:
    server, keys, _ = saved
    folders = [tmp_path / str(number) for number in range(3)]
    for folder in folders:
        process = start_cli(server, "backup", str(folder))
        time.sleep(0.3)
        process.kill()
        process.communicate()
    wait_until(lambda: not list(tmp_path.glob("*.partial")), "nothing half is left")
    for folder in folders:  # it was whole before its caller went, or it is not there
        assert not folder.exists() or (folder / "manifest.json").exists()
    back_up(server, tmp_path / "last")
    assert send(server, keys, ["e1"]) == ["duplicate"]


def test_two_backups_at_once_are_told_apart(saved: Saved, tmp_path: Path) -> None:
    server, _, _ = saved
    with ThreadPoolExecutor(2) as callers:
        results = list(callers.map(lambda number: run_cli(server, "backup", str(tmp_path / str(number))), range(2)))
    for number, (code, _, errors) in enumerate(results):
        assert (tmp_path / str(number)).exists() == (code == 0)
        assert code == 0 or "Another backup is running" in errors


def test_it_is_for_its_users_eyes_only(saved: Saved) -> None:
    server, _, folder = saved
    for path in (folder, *folder.rglob("*")):
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path
    assert stat.S_IMODE((server.data_dir / "admin.sock").stat().st_mode) == 0o600


def test_what_is_in_the_way_is_never_overwritten(saved: Saved, tmp_path: Path) -> None:
    server, _, folder = saved
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "text").write_text("mine")
    (tmp_path / "new.partial").mkdir()
    (tmp_path / "new.partial" / "text").write_text("mine")
    for target, word in (
        (folder, "is not an empty folder"),
        (tmp_path / "notes", "is not an empty folder"),
        (tmp_path / "notes" / "text", "is not an empty folder"),
        (tmp_path / "new", "is not an incomplete backup"),
        (server.data_dir / "backup", "lies in the server's data folder"),
    ):
        code, _, errors = run_cli(server, "backup", str(target))
        assert (code, word in errors) == (1, True), errors
    assert (tmp_path / "new.partial" / "text").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    back_up(server, tmp_path / "empty")


def test_a_backup_needs_the_running_server(saved: Saved, tmp_path: Path) -> None:
    code, _, errors = run_cli(saved[0], "backup", str(tmp_path / "backup"), MILLIMETRIC_DATA_DIR=str(tmp_path))
    assert code == 1
    assert "No server is running on" in errors


def test_a_clickhouse_server_is_saved_by_its_own_backup(tmp_path: Path) -> None:
    with ServerProcess(environ=_LIMITS | {"MILLIMETRIC_CLICKHOUSE_URL": "http://127.0.0.1:1"}) as server:
        code, _, errors = run_cli(server, "backup", str(tmp_path / "backup"))
    assert code == 1
    assert "ClickHouse with its own BACKUP" in errors
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "manifest"])
def test_a_damaged_backup_restores_nothing(saved: Saved, tmp_path: Path, damage: str) -> None:
    server, _, folder = saved
    copy, data = tmp_path / "copy", tmp_path / "data"
    shutil.copytree(folder, copy)
    victim = max(copy.rglob("*.bin"), key=lambda path: path.stat().st_size)
    content = victim.read_bytes()
    if damage == "cut":
        victim.write_bytes(content[:-1])
    elif damage == "changed":
        victim.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "gone":
        victim.unlink()
    else:
        (copy / "manifest.json").write_bytes((copy / "manifest.json").read_bytes()[:-10])
    code, _, errors = run_cli(server, "restore", str(copy), MILLIMETRIC_DATA_DIR=str(data))
    assert code == 1
    assert "Traceback" not in errors
    assert "is damaged" in errors or "can't be read" in errors
    assert not [path for path in data.rglob("*") if path.is_file() and path.name != "server.lock"]
    code, _, errors = run_cli(server, "restore", str(folder), MILLIMETRIC_DATA_DIR=str(data))
    assert code == 0, errors


def test_a_manifest_can_name_no_file_outside(saved: Saved, tmp_path: Path) -> None:
    server, _, folder = saved
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    for name in ("../stolen", "/tmp/stolen"):
        wrong = manifest | {"files": manifest["files"] | {name: {"bytes": 0, "sha256": ""}}}
        (copy / "manifest.json").write_text(json.dumps(wrong))
        code, _, errors = run_cli(server, "restore", str(copy), MILLIMETRIC_DATA_DIR=str(tmp_path / "data"))
        assert (code, "outside the backup" in errors) == (1, True)


def test_nothing_is_restored_over_a_server(saved: Saved, tmp_path: Path) -> None:
    server, keys, folder = saved
    code, errors = restore(server, folder)
    assert (code, "is in use by" in errors) == (1, True), errors
    (tmp_path / "notes").write_text("mine")
    code, _, errors = run_cli(server, "restore", str(folder), MILLIMETRIC_DATA_DIR=str(tmp_path))
    assert (code, "is not empty" in errors) == (1, True), errors
    assert send(server, keys, ["e1"]) == ["duplicate"]


def test_a_restore_that_was_cut_short_is_begun_anew(saved: Saved, tmp_path: Path) -> None:
    server, keys, folder = saved
    data = {"MILLIMETRIC_DATA_DIR": str(tmp_path)}
    assert run_cli(server, "restore", str(folder), **data)[0] == 0
    (tmp_path / ".restoring").mkdir()  # as if it had been killed on its last steps
    (tmp_path / "journal.db").unlink()
    code, _, errors = run_cli(server, "serve", "--grpc-port", "0", "--http-port", "0", **data)
    assert (code, "was interrupted" in errors) == (1, True), errors
    assert run_cli(server, "restore", str(folder), **data)[0] == 0
    assert read_identity(folder) != read_identity(tmp_path)  # no token of the one is a token of the other
    restored = ServerProcess(environ=_LIMITS, data_dir=tmp_path)
    restored.start()
    assert send(restored, keys, ["e1", "late"]) == ["duplicate", "stored"]
    restored.stop()
