"""doctor on set-ups that are broken in one way each; the healthy one is in tests/integration."""

import json
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from millimetric_server.cli import main
from millimetric_server.cli.doctor import services as doctor_services
from millimetric_server.config import Settings
from millimetric_server.journal.sqlite.journal import SqliteJournal
from millimetric_server.server_secrets import load_secrets
from unit.mmdb_writer import write_mmdb

Examine = Callable[..., tuple[int, dict[str, dict[str, str]]]]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ("doctor", "--grpc-port", "0", "--http-port", "0", *arguments))


@pytest.fixture
def examine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Examine:
    monkeypatch.setenv("MILLIMETRIC_DATA_DIR", str(tmp_path / "data"))

    def examine(*arguments: str, **environ: str) -> tuple[int, dict[str, dict[str, str]]]:
        for name, value in environ.items():
            monkeypatch.setenv(f"MILLIMETRIC_{name.upper()}", value)
        result = run("--json", *arguments)
        report = json.loads(result.stdout)
        assert report["ok"] is (result.exit_code == 0)
        for one in report["checks"]:
            assert bool(one["advice"]) is (one["verdict"] != "ok"), one
        return result.exit_code, {one["check"]: one for one in report["checks"]}

    return examine


@pytest.fixture
def listener() -> Iterator[int]:
    """The port of a program that listens and never says anything of use."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)
        yield server.getsockname()[1]


def test_a_fresh_machine_lacks_nothing_but_countries(examine: Examine, tmp_path: Path) -> None:
    code, checks = examine()
    assert code == 0
    assert {name for name, one in checks.items() if one["verdict"] != "ok"} == {"country database"}
    assert "make geoip" in checks["country database"]["advice"]
    assert list(tmp_path.iterdir()) == []


def test_the_table_is_for_people(tmp_path: Path) -> None:
    result = run("--data-dir", str(tmp_path))
    assert result.exit_code == 0
    assert "what to do" in result.stdout
    assert "make geoip" in result.stdout


def test_a_setting_that_cannot_be_used_is_the_only_finding(examine: Examine) -> None:
    code, checks = examine(log_level="loud")
    assert code == 1
    assert list(checks) == ["settings"]
    assert "MILLIMETRIC_LOG_LEVEL" in checks["settings"]["told"]


def test_a_data_folder_that_cannot_be_made(examine: Examine, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    code, checks = examine()
    assert code == 1
    assert checks["data folder"]["verdict"] == "fail"


def test_secrets_that_others_can_read(examine: Examine, tmp_path: Path) -> None:
    load_secrets(Settings(data_dir=str(tmp_path / "data")))
    assert examine()[1]["secrets"]["verdict"] == "ok"
    path = tmp_path / "data" / "secrets.json"
    path.chmod(0o640)
    code, checks = examine()
    assert code == 1
    assert f"chmod 600 {path}" in checks["secrets"]["advice"]
    path.chmod(0o600)
    path.write_text("{}")
    assert examine()[1]["secrets"]["verdict"] == "fail"


def test_secrets_that_are_gone_though_there_is_a_journal(examine: Examine, tmp_path: Path) -> None:
    make_journal(tmp_path)
    code, checks = examine()
    assert code == 1
    assert "backup" in checks["secrets"]["advice"]
    given = dict.fromkeys(("ip_salt", "identity_key", "key_pepper"), "x" * 32)
    assert examine(**given)[0] == 0


def make_journal(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "journal.db"
    journal = SqliteJournal(path, bytes_max=1000, idempotency_window_days=7)
    journal.start()
    journal.close()
    return path


@pytest.mark.parametrize(("size", "verdict"), [(10, "ok"), (200, "warn"), (990, "fail")])
def test_a_journal_that_fills_up(examine: Examine, tmp_path: Path, size: int, verdict: str) -> None:
    with sqlite3.connect(make_journal(tmp_path)) as journal:
        journal.execute("INSERT INTO entries VALUES (1, 'prj_a', 3, 25, zeroblob(?))", (size,))
    load_secrets(Settings(data_dir=str(tmp_path / "data")))
    found = examine(journal_max_bytes="1000")[1]["journal"]
    assert found["verdict"] == verdict
    assert found["told"].startswith("3 events")


def test_a_journal_that_cannot_be_read(examine: Examine, tmp_path: Path) -> None:
    make_journal(tmp_path).write_bytes(b"not a database" * 100)
    checks = examine()[1]
    assert checks["journal"]["verdict"] == checks["ledger"]["verdict"] == "fail"


def make_ledger(tmp_path: Path, *, received: int, dead_letters: int) -> None:
    """A journal with 10 events stored, 2 duplicate, 3 rejected, 4 dropped, 5 waiting, and so many received."""
    with sqlite3.connect(make_journal(tmp_path)) as journal:
        journal.execute("INSERT INTO entries VALUES (1, 'prj_a', 5, 25, x'')")
        for _ in range(dead_letters):
            journal.execute("INSERT INTO dead_letters VALUES (NULL, 'prj_a', 1, 25, x'', 0, 'REASON', 'said', 0)")
        outcomes = {"received": received, "stored": 10, "duplicate": 2, "rejected": 3, "dropped": 4}
        for outcome, events in outcomes.items():
            reason = "why" if outcome in {"rejected", "dropped"} else ""
            journal.execute("INSERT INTO ledger VALUES ('prj_a', ?, ?, ?)", (outcome, reason, events))
    load_secrets(Settings(data_dir=str(tmp_path / "data")))


def test_a_ledger_that_adds_up(examine: Examine, tmp_path: Path) -> None:
    assert examine()[1]["ledger"]["told"] == "begins with the first event"
    make_ledger(tmp_path, received=24, dead_letters=0)
    code, checks = examine()
    assert (code, checks["ledger"]["verdict"]) == (0, "ok")
    assert checks["ledger"]["told"] == "all 24 received events are accounted for: 10 stored, 5 waiting"


def test_dead_letters_are_a_warning(examine: Examine, tmp_path: Path) -> None:
    make_ledger(tmp_path, received=26, dead_letters=2)
    code, checks = examine()
    assert (code, checks["ledger"]["verdict"]) == (0, "warn")
    assert "2 refused by ClickHouse" in checks["ledger"]["told"]
    assert "millimetric journal dead-letters" in checks["ledger"]["advice"]


@pytest.mark.parametrize(("received", "missing"), [(27, "1 missing"), (20, "-6 missing")])
def test_events_that_are_missing_or_count_twice(examine: Examine, tmp_path: Path, received: int, missing: str) -> None:
    make_ledger(tmp_path, received=received, dead_letters=2)
    code, checks = examine()
    assert (code, checks["ledger"]["verdict"]) == (1, "fail")
    assert checks["ledger"]["told"] == (
        f"project prj_a: {received} received, but 10 stored, 2 duplicate, 3 rejected, 4 dropped, 5 waiting, "
        f"2 dead letters: {missing}"
    )


@pytest.mark.parametrize(("version", "verdict"), [(1, "ok"), (99, "fail")])
def test_a_ledger_in_a_journal_of_another_version(examine: Examine, tmp_path: Path, version: int, verdict: str) -> None:
    path = make_journal(tmp_path)
    with sqlite3.connect(path) as journal:
        journal.execute(f"PRAGMA user_version = {version}")
        journal.execute("DROP TABLE ledger")
    found = examine()[1]["ledger"]
    assert found["verdict"] == verdict
    assert str(version) in found["told"]


def test_ports_that_other_programs_hold(examine: Examine, listener: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_services, "_TIMEOUT_S", 0.3)
    code, checks = examine("--http-port", str(listener), "--grpc-port", str(listener))
    assert code == 1
    for name in ("gRPC port", "HTTP port"):
        assert "another program" in checks[name]["told"]
        assert "port" in checks[name]["advice"]


def test_an_address_that_is_not_of_this_machine(examine: Examine) -> None:
    code, checks = examine("--host", "192.0.2.1", "--http-port", "18999")
    assert code == 1
    assert "--host" in checks["HTTP port"]["advice"]


def test_databases_that_are_away_are_told_without_their_passwords(examine: Examine) -> None:
    code, checks = examine(
        "--clickhouse-url", "http://u:sesame@127.0.0.1:9", "--database-url", "postgresql://u:sesame@127.0.0.1:9/x"
    )
    assert code == 1
    assert checks["ClickHouse"]["verdict"] == "fail"
    assert checks["control database"]["verdict"] == "fail"
    assert "sesame" not in json.dumps(checks)


def test_a_control_database_without_projects(examine: Examine) -> None:
    CliRunner().invoke(main, ("project", "list"))
    found = examine()[1]["control database"]
    assert found["verdict"] == "warn"
    assert "project create" in found["advice"]
    CliRunner().invoke(main, ("project", "create", "shop"))
    assert examine()[1]["control database"]["told"] == "sqlite, 1 project"


@pytest.mark.parametrize(("age_days", "verdict"), [(3, "ok"), (200, "warn")])
def test_a_country_database_grows_old(examine: Examine, tmp_path: Path, age_days: int, verdict: str) -> None:
    path = tmp_path / "countries.mmdb"
    write_mmdb(path, {"192.0.2.0/24": {"country_code": "DE"}}, build_epoch=int(time.time()) - age_days * 86_400)
    found = examine(geoip_db=str(path))[1]["country database"]
    assert found["verdict"] == verdict
    assert "Test-Country of 20" in found["told"]


def test_a_country_database_that_is_none(examine: Examine, tmp_path: Path) -> None:
    assert examine(geoip_db=os.fspath(tmp_path / "missing.mmdb"))[1]["country database"]["verdict"] == "fail"


def test_a_proxy_that_is_everybody(examine: Examine) -> None:
    assert examine(trusted_proxies="0.0.0.0/0")[1]["trusted proxies"]["verdict"] == "warn"
    assert examine(client_ip_header="cf-connecting-ip")[1]["trusted proxies"]["verdict"] == "warn"
    assert examine(trusted_proxies="10.0.0.0/8,::1")[1]["trusted proxies"]["told"] == "10.0.0.0/8, ::1/128"
