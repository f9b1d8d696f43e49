"""The journal commands beside a real server whose ClickHouse refuses some events, and without a server."""

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from integration.cli_process import run_cli
from integration.reads import bearer, count_everywhere, wait_for_key
from integration.stores import make_row
from millimetric_server.cli import main
from millimetric_server.cli.journal import retry as journal_retry
from millimetric_server.journal.blocks import RefusedRows
from millimetric_server.journal.entries import EntryId
from millimetric_server.journal.ledger import Outcome
from millimetric_server.journal.packed_rows import COLUMN_COUNT, pack_row
from millimetric_server.journal.sqlite.dead_letters import insert
from millimetric_server.journal.sqlite.journal import SqliteJournal
from millimetric_server.journal.sqlite.ledger import add_to_ledger
from millimetric_server.journal.sqlite.operator_journal import open_operator_journal
from support.clickhouse_server import ClickHouseServer
from support.server_process import ProjectKeys, ServerProcess
from support.waiting import wait_until, wait_until_equal

_DATABASE = "test_cli_journal"
_ADD = f"ALTER TABLE {_DATABASE}.events ADD CONSTRAINT good CHECK event != 'bad'"
_DROP = f"ALTER TABLE {_DATABASE}.events DROP CONSTRAINT good"


@pytest.fixture
def strict_server(clickhouse_server: ClickHouseServer) -> Iterator[ServerProcess]:
    """A server whose ClickHouse refuses events named `bad`."""
    environ = {"MILLIMETRIC_CLICKHOUSE_URL": clickhouse_server.url, "MILLIMETRIC_CLICKHOUSE_DATABASE": _DATABASE}
    with ServerProcess(environ=environ) as process:
        wait_until(lambda: run_statement(clickhouse_server, _ADD) == "", "the schema is there, and a constraint")
        yield process
    run_statement(clickhouse_server, f"DROP DATABASE {_DATABASE}")


def run_statement(clickhouse_server: ClickHouseServer, statement: str) -> str:
    """Run a statement; returns the error, or nothing when it went well."""
    return httpx.post(clickhouse_server.url, content=statement, timeout=30).text


def send(server: ServerProcess, keys: ProjectKeys, *names: str, **headers: str) -> httpx.Response:
    events = [{"event": name, "event_id": f"{name}-{number}"} for number, name in enumerate(names)]
    url = f"{server.base_url}/v1/batch"
    return httpx.post(url, json={"events": events}, headers=bearer(keys.secret) | headers, timeout=30)


def ask(server: ServerProcess, *arguments: str) -> Any:
    code, output, errors = run_cli(server, *arguments, "--json", **server.environ)
    assert code == 0, output + errors
    return json.loads(output)


def read_account(server: ServerProcess, keys: ProjectKeys) -> dict[str, Any]:
    (account,) = (one for one in ask(server, "journal", "status")["projects"] if one["project_id"] == keys.project_id)
    return dict(account)


def read_ledger_finding(server: ServerProcess) -> dict[str, str]:
    (found,) = (one for one in ask(server, "doctor")["checks"] if one["check"] == "ledger")
    return dict(found)


def wait_for_dead_letters(server: ServerProcess, keys: ProjectKeys, count: int) -> None:
    """Look in this process, because a command for each look would keep the server from its work."""

    def read() -> tuple[int, int]:
        with open_operator_journal(server.data_dir / "journal.db") as journal:
            (balance,) = (one for one in journal.load_status().balances if one.project_id == keys.project_id)
        return balance.dead_letter, balance.journaled

    wait_until_equal(read, (count, 0))


def test_refused_events_are_told_and_loaded_once_the_cause_is_mended(
    strict_server: ServerProcess, clickhouse_server: ClickHouseServer
) -> None:
    server, keys = strict_server, strict_server.create_project("refusals")
    wait_for_key(server, keys)
    assert send(server, keys, *["good"] * 30, "bad", *["good"] * 20, "bad").status_code == 202
    wait_for_dead_letters(server, keys, 2)
    assert count_everywhere(server, keys) == {"events": 50, "rollup": 50, "sessions": 50}
    for _ in range(2):  # a repetition is a duplicate, and no more stored than the first
        refused = httpx.post(
            f"{server.base_url}/v1/track",
            json={"event": "bad", "event_id": "awaited"},
            headers=bearer(keys.secret) | {"Millimetric-Ack": "stored"},
            timeout=30,
        )
        assert (refused.status_code, refused.json()["error"]) == (502, "upstream_failed")

    account = read_account(server, keys)
    assert (account["received"], account["stored"], account["dead_letters"], account["missing"]) == (54, 50, 3, 0)
    letters = ask(server, "journal", "dead-letters", "--project", "refusals")
    assert [one["rows"][0]["event_id"] for one in letters] == ["bad-30", "bad-51", "awaited"]
    assert {one["reason"] for one in letters} == {"VIOLATED_CONSTRAINT"}
    assert all("good" in one["message"] for one in letters)
    found = read_ledger_finding(server)
    assert found["verdict"] == "warn"
    assert "millimetric journal dead-letters" in found["advice"]

    code, output, errors = run_cli(server, "journal", "retry", "--all")
    assert (code, output) == (1, "0 events are loaded, 3 refused again.\n")
    assert "dead-letters" in errors
    again = ask(server, "journal", "dead-letters")
    assert min(one["dead_letter_id"] for one in again) > max(one["dead_letter_id"] for one in letters)
    assert [one["rows"] for one in again] == [one["rows"] for one in letters]

    assert run_statement(clickhouse_server, _DROP) == ""
    first = str(again[0]["dead_letter_id"])
    assert run_cli(server, "journal", "retry", first)[:2] == (0, "1 event is loaded, 0 refused again.\n")
    assert run_cli(server, "journal", "retry", "--all")[:2] == (0, "2 events are loaded, 0 refused again.\n")
    assert count_everywhere(server, keys) == {"events": 53, "rollup": 53, "sessions": 53}
    account = read_account(server, keys)
    assert (account["stored"], account["dead_letters"], account["missing"]) == (53, 0, 0)
    assert read_ledger_finding(server)["verdict"] == "ok"


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journal without a server: an event stored, one rejected, and three dead letters, one of them unreadable."""
    monkeypatch.setenv("MILLIMETRIC_DATA_DIR", str(tmp_path))
    path = tmp_path / "journal.db"
    journal = SqliteJournal(path, bytes_max=10**9, idempotency_window_days=7)
    journal.start()
    rows = [pack_row(make_row(event_id=f"id-{number}", user_id="Maria", event="bad")) for number in range(2)]
    refused = [
        RefusedRows(EntryId("1"), "prj_a", 1, COLUMN_COUNT, row, "VIOLATED_CONSTRAINT", "quotes Maria") for row in rows
    ]
    refused.append(
        RefusedRows(EntryId("2"), "prj_b", 7, COLUMN_COUNT, b"\xc1", "UNREADABLE_ENTRY", "7 rows can't be read")
    )

    def fill(connection: sqlite3.Connection) -> None:
        insert(connection, refused, 1_790_000_000_000_000)
        for project_id, outcome, events, reason in (
            ("prj_a", Outcome.RECEIVED, 4, ""),
            ("prj_a", Outcome.STORED, 1, ""),
            ("prj_a", Outcome.REJECTED, 1, "invalid_payload"),
            ("prj_b", Outcome.RECEIVED, 7, ""),
        ):
            add_to_ledger(connection, project_id, outcome, events, reason)

    journal._writer.transact(fill).result()
    journal.close()
    return path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ("journal", *arguments))


def read_marks(path: Path) -> list[int]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        statement = "SELECT dead_letter_id FROM dead_letters WHERE is_retried ORDER BY 1"
        return [one for (one,) in connection.execute(statement)]


@pytest.mark.usefixtures("kept")
def test_the_status_is_for_people_and_for_programs() -> None:
    shown = run("status")
    assert shown.exit_code == 0, shown.output
    for part in ("prj_a", "prj_b", "invalid_payload", "Waiting: 0 events", "Dead letters: 9, of which 0 are marked"):
        assert part in shown.stdout
    status = json.loads(run("status", "--json").stdout)
    assert [one["missing"] for one in status["projects"]] == [0, 0]
    assert status["projects"][0]["rejected"] == {"invalid_payload": 1}
    assert status["waiting"] == {"entries": 0, "events": 0, "bytes": 0, "is_in_flight": False}
    assert status["dead_letters"] == {"events": 9, "marked_for_retry": 0}


@pytest.mark.usefixtures("kept")
def test_what_may_be_personal_is_shown_only_when_asked_for() -> None:
    shown = run("dead-letters").stdout
    assert "id-0" in shown
    assert "VIOLATED_CONSTRAINT" in shown
    assert "7 rows," in shown
    assert "Maria" not in shown
    assert "can't be read" not in shown
    full = run("dead-letters", "--full").stdout
    assert "quotes Maria" in full
    assert '"user_id": "Maria"' in full
    letters = json.loads(run("dead-letters", "--json").stdout)
    assert [(one["row_count"], len(one["rows"])) for one in letters] == [(1, 1), (1, 1), (7, 0)]
    assert letters[0]["message"] == "quotes Maria"
    assert "2 more are not shown" in run("dead-letters", "--limit", "1").stdout


def test_without_a_server_they_wait_for_its_next_start(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_retry, "_WAIT_S", 0.2)
    retried = run("retry", "2")
    assert (retried.exit_code, read_marks(kept)) == (0, [2])
    assert "no running server picked them up: it retries them at its next start" in retried.stdout
    assert run("retry", "--all", "--no-wait").stdout == "9 events are marked for a retry.\n"
    assert read_marks(kept) == [1, 2, 3]
    assert json.loads(run("status", "--json").stdout)["dead_letters"]["marked_for_retry"] == 9


def test_events_that_a_server_took_may_wait_for_clickhouse(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_retry, "_WAIT_S", 1.0)
    with contextlib.closing(SqliteJournal(kept, bytes_max=10**9, idempotency_window_days=7)) as journal:
        journal.start()
        lead = journal.lead("test", 60)
        taker = threading.Thread(
            target=lambda: wait_until(lambda: journal.take_back_dead_letters(lead) > 0, "they are marked")
        )
        taker.start()
        retried = run("retry", "1", "2")
        taker.join()
    assert retried.exit_code == 0
    assert retried.stdout.startswith("2 events are picked up by the server and waiting for ClickHouse.")
    assert json.loads(run("status", "--json").stdout)["waiting"]["events"] == 2


def test_an_unknown_id_marks_nothing(kept: Path) -> None:
    retried = run("retry", "1", "8", "9")
    assert retried.exit_code == 1
    assert "8, 9" in retried.stderr
    assert read_marks(kept) == []


@pytest.mark.parametrize("arguments", [(), ("1", "--all"), ("--all", "--project", "shop")])
def test_retry_wants_to_know_which(kept: Path, arguments: tuple[str, ...]) -> None:
    assert run("retry", *arguments).exit_code == 2
    assert read_marks(kept) == []


def test_only_a_project_is_listed_and_retried(kept: Path) -> None:
    CliRunner().invoke(main, ("project", "create", "shop"))
    (shop,) = json.loads(CliRunner().invoke(main, ("project", "list", "--json")).stdout)
    with contextlib.closing(sqlite3.connect(kept)) as connection, connection:
        connection.execute("UPDATE dead_letters SET project_id = ? WHERE dead_letter_id = 2", (shop["project_id"],))
    assert [one["dead_letter_id"] for one in json.loads(run("dead-letters", "--project", "shop", "--json").stdout)] == [
        2
    ]
    assert run("retry", "1", "--project", "shop").exit_code == 1
    assert run("retry", "--project", "shop", "--no-wait").exit_code == 0
    assert read_marks(kept) == [2]


@pytest.mark.parametrize("command", [("status",), ("dead-letters",), ("retry", "--all")])
@pytest.mark.parametrize(("version", "told"), [(1, "Start the server once"), (99, "newer millimetric")])
def test_a_journal_of_another_version_is_not_touched(
    kept: Path, command: tuple[str, ...], version: int, told: str
) -> None:
    with contextlib.closing(sqlite3.connect(kept)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    refused = run(*command)
    assert refused.exit_code == 1
    assert told in refused.stderr
    assert read_marks(kept) == []


@pytest.mark.parametrize("command", [("status",), ("dead-letters",), ("retry", "--all")])
def test_no_journal_is_made_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setenv("MILLIMETRIC_DATA_DIR", str(tmp_path))
    refused = run(*command)
    assert refused.exit_code == 1
    assert "Start the server once" in refused.stderr
    assert list(tmp_path.iterdir()) == []
