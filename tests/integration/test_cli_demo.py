"""demo against a real server."""

import json
from collections.abc import Iterator

import pytest

from integration.cli_process import run_cli
from support.server_process import ServerProcess


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server of its own: the quickstart's test fills project demo of the one that all tests share."""
    with ServerProcess() as process:
        yield process


def rows_of(output: str, title: str) -> list[list[str]]:
    """The rows of the table under this title, without its header."""
    lines = output.partition(title)[2].splitlines()
    body = []
    for line in lines[4:]:
        if not line.startswith("│"):
            break
        body.append([cell.strip() for cell in line.strip("│").split("│")])
    return body


def test_a_month_of_events_is_sent_once_and_shown(server: ServerProcess) -> None:
    code, output, errors = run_cli(server, "demo", "--events", "1500")
    assert code == 0, errors
    assert "0 were already there" in output
    assert "Sending events" in errors

    assert len(rows_of(output, "Stats by day")) == 30
    events = {name: int(value.replace(",", "")) for name, value in rows_of(output, "Stats by event")}
    assert events["$pageview"] > events["signup"] > events["purchase"] > 0
    sources = {(row[0], row[1]): row for row in rows_of(output, "Sources of visits")}
    for wanted in (("google", "organic"), ("newsletter", "email"), ("chatgpt", "ai"), ("direct", "direct")):
        assert wanted in sources
    assert sources["facebook", "social"][4] == "0%"
    assert sources["facebook", "paid"][4] != "0%"
    assert sources["google", "paid"][4] != "0%"

    code, again, errors = run_cli(server, "demo", "--events", "1500")
    assert code == 0, errors
    assert "already there" in again
    assert again.partition("Stats by day")[2] == output.partition("Stats by day")[2]

    keys = json.loads(run_cli(server, "key", "list", "--project", "demo", "--json")[1])
    assert all(key["revoked_at"] for key in keys if key["label"] == "millimetric demo")


def test_a_month_of_the_past_is_the_same_in_every_project(server: ServerProcess) -> None:
    shown = []
    for name in ("demo-of-march", "demo-of-march-again"):
        key = server.create_project(name).secret
        code, output, errors = run_cli(server, "demo", "--events", "300", "--until", "2026-04-01", "--key", key)
        assert code == 0, errors
        shown.append(output.partition("Stats by day")[2])
    assert shown[0] == shown[1]
    days = [row[0] for row in rows_of("Stats by day" + shown[0], "Stats by day")]
    assert (days[0], days[-1], len(days)) == ("2026-03-02", "2026-03-31", 30)


def test_a_day_in_the_future_is_refused(server: ServerProcess) -> None:
    code, _, errors = run_cli(server, "demo", "--until", "9999-01-01")
    assert code == 2
    assert "in the future" in errors


def test_without_a_server_it_says_how_to_start_one(server: ServerProcess) -> None:
    code, _, errors = run_cli(server, "demo", "--http", "http://127.0.0.1:9")
    assert code == 1
    assert "No server answers at http://127.0.0.1:9" in errors
    assert "make run" in errors
    assert "Traceback" not in errors


def test_a_server_with_another_control_database_is_told_apart(server: ServerProcess) -> None:
    unknown = "sk_live_0123abcd_" + "s" * 43
    code, _, errors = run_cli(server, "demo", "--key", unknown)
    assert code == 1
    assert "--data-dir" in errors
    assert unknown not in errors
