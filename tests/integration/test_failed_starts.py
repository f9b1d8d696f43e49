"""A start that fails says in a sentence what is wrong and what to do, and leaves what is there as it was.

Protects the person who reads it: no traceback, no line of ClickHouse's or SQLite's own; and the keys, which new secrets
would void.
"""

import contextlib
import json
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from integration.cli_process import run_cli
from millimetric_server.store.clickhouse import ClickHouse
from support.clickhouse_server import ClickHouseServer
from support.server_process import ServerProcess, fast_folder
from support.waiting import wait_until

_AWAY = "http://127.0.0.1:1"  # nothing needs the engine where a start fails before


def start(data_dir: Path, *flags: str, **environ: str) -> str:
    """Start a server that can't run, and return its last words."""
    done = subprocess.run(
        [sys.executable, "-m", "millimetric_server", "serve", "--grpc-port", "0", "--http-port", "0", *flags],
        env={**os.environ, "MILLIMETRIC_DATA_DIR": str(data_dir), "MILLIMETRIC_METRICS_ADDRESS": "", **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    for unwanted in ("Traceback", "DB::", "Code: ", "sqlalchemy", "sqlite3."):
        assert unwanted not in done.stderr
    return done.stderr[done.stderr.index("Error: ") :]


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir=fast_folder()) as path:
        yield Path(path)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@pytest.mark.parametrize("door", ["http", "grpc"])
def test_a_taken_port(folder: Path, taken: int, door: str) -> None:
    told = start(folder, f"--{door}-port", str(taken), MILLIMETRIC_CLICKHOUSE_URL=_AWAY)
    assert f"127.0.0.1:{taken}: the port is in use" in told
    assert f"--{door}-port (MILLIMETRIC_{door.upper()}_PORT)" in told


def test_an_address_of_another_machine(folder: Path) -> None:
    assert "--host (MILLIMETRIC_HOST)" in start(folder, "--host", "203.0.113.7", MILLIMETRIC_CLICKHOUSE_URL=_AWAY)


def test_a_folder_that_is_a_file(folder: Path) -> None:
    (folder / "file").write_text("")
    for data_dir in (folder / "file", folder / "file" / "below"):
        assert "--data-dir (MILLIMETRIC_DATA_DIR)" in start(data_dir)


def test_an_engine_that_cannot_open_its_folder(folder: Path) -> None:
    (folder / "clickhouse").mkdir()
    (folder / "clickhouse" / "metadata").write_text("no folder")
    told = start(folder)
    assert f"The embedded engine can't open its folder {folder}/clickhouse" in told
    assert "restore it from a backup" in told


def test_a_control_database_that_does_not_answer(folder: Path) -> None:
    told = start(folder, "--database-url", "postgresql://user:secret@127.0.0.1:1/none")
    assert "--database-url (MILLIMETRIC_DATABASE_URL)" in told
    assert "secret" not in told


def test_a_journal_of_a_newer_version(folder: Path) -> None:
    with contextlib.closing(sqlite3.connect(folder / "journal.db")) as journal:
        journal.execute("PRAGMA user_version = 99")
    assert "run a newer millimetric" in start(folder, MILLIMETRIC_CLICKHOUSE_URL=_AWAY)


@pytest.mark.parametrize("left_bytes", [0, 65_536, 300_000])
def test_a_full_disk(small_disk: Path, left_bytes: int) -> None:
    filler = small_disk / "filler"
    with filler.open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(65_536))
            file.flush()
    os.truncate(filler, max(filler.stat().st_size - left_bytes, 0))
    told = start(small_disk / "data")
    assert f"The disk of {small_disk}" in told
    assert "is full" in told


@pytest.mark.slow
def test_secrets_that_are_gone_are_not_made_anew() -> None:
    environ = {"MILLIMETRIC_CLICKHOUSE_URL": _AWAY}
    with ServerProcess(environ=environ) as server:
        keys = server.create_project("secrets")
        secrets = server.data_dir / "secrets.json"
        kept = secrets.read_text()
        secrets.unlink()
        code, output, errors = run_cli(server, "key", "create", "--project", "secrets", "--kind", "rk")
        assert (code, output) == (1, "")
        assert "Restore the file from a backup" in errors
        server.stop()
        assert "secrets.json is missing, but the control database has keys" in start(server.data_dir, **environ)
        assert not secrets.exists()
        given = json.loads(kept)
        server.environ = environ | {f"MILLIMETRIC_{name.upper()}": value for name, value in given.items()}
        server.start()  # all three by the environment
        server.stop()
        server.environ = environ
        for text in (keys.public, keys.secret, keys.read):
            code, _, errors = run_cli(server, "key", "revoke", text.split("_")[2])
            assert code == 0, errors
        server.start()  # no key is left that new secrets could void
        assert secrets.exists()


def test_a_clickhouse_that_refuses_is_told_in_a_sentence(clickhouse_server: ClickHouseServer) -> None:
    """It may be away at the start, so the server runs; its log says what to do, and not ten times."""
    url = clickhouse_server.url.replace("http://", "http://nobody:secret@")
    with ServerProcess(environ={"MILLIMETRIC_CLICKHOUSE_URL": url}) as server:
        refusal = "ClickHouse refuses the user or the password: correct them in "
        wait_until(lambda: refusal in server.log, "the refusal is logged")
        time.sleep(2)  # it is tried again meanwhile
        assert server.log.count(refusal) == 1, server.log
        assert "secret" not in server.log


def test_a_newer_schema_is_told_in_a_sentence(clickhouse_server: ClickHouseServer) -> None:
    environ = {"MILLIMETRIC_CLICKHOUSE_URL": clickhouse_server.url, "MILLIMETRIC_CLICKHOUSE_DATABASE": "newer"}
    with ServerProcess(environ=environ) as server:
        server.stop()
        with contextlib.closing(ClickHouse(clickhouse_server.url, "newer")) as store:
            store.command("INSERT INTO schema_migrations (version, name, digest) VALUES (9999, 'newer', '')")
        server.start()
        wait_until(lambda: "run a newer millimetric" in server.log, "the newer schema is logged")
        time.sleep(2)  # it is tried again meanwhile
        assert server.log.count("run a newer millimetric") == 1
        assert "Traceback" not in server.log
