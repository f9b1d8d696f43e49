"""load against a real server: each row once, whatever happens in between."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from integration.cli_process import figures, run_cli, start_cli
from integration.reads import bearer, wait_for_key, wait_until_everywhere
from millimetric_server.cli import main
from millimetric_server.cli.load import batch_sender
from support.server_process import ORIGIN, ProjectKeys, ServerProcess
from support.waiting import wait_until


@pytest.fixture
def project(server: ServerProcess, request: pytest.FixtureRequest) -> ProjectKeys:
    keys = server.create_project(request.node.name[:64])
    wait_for_key(server, keys)
    return keys


def write_rows(path: Path, count: int) -> None:
    start = datetime.now(UTC) - timedelta(days=2)
    with path.open("w") as file:
        for number in range(count):
            moment = start + timedelta(seconds=number)
            row = {"event": "order", "timestamp": moment.isoformat(), "properties": {"number": number}}
            file.write(json.dumps(row) + "\n")


def read_rows(server: ServerProcess, keys: ProjectKeys, **params: str) -> list[dict[str, object]]:
    answer = httpx.get(f"{server.base_url}/v1/query", params={"limit": "1000", **params}, headers=bearer(keys.read))
    return list(answer.json()["rows"])


def limit(server: ServerProcess, keys: ProjectKeys, limits: str, status: int) -> None:
    """Set the project's rate limits, and wait until the server answers a visitor who opted out with this status."""
    code, _, errors = run_cli(server, "project", "update", keys.name, "--rate-limits", limits)
    assert code == 0, errors
    url, headers = f"{server.base_url}/v1/track", bearer(keys.public) | {"Origin": ORIGIN, "DNT": "1"}
    wait_until(
        lambda: httpx.post(url, json={"event": "x"}, headers=headers).status_code == status, f"the limits are {limits}"
    )


def read_state(path: Path) -> dict[str, object]:
    state = path.with_name(f"{path.name}.millimetric-load.json")
    return dict(json.loads(state.read_text())) if state.exists() else {"rows": 0}


def test_a_killed_load_goes_on_and_each_row_counts_once(
    server: ServerProcess, project: ProjectKeys, tmp_path: Path
) -> None:
    path = tmp_path / "orders.ndjson"
    write_rows(path, 270)
    limit(server, project, "batch=0.02/20,track=0.01/1", 429)
    # 27 batches against a burst of 20, and another one in 50 seconds: it is killed while it waits.
    arguments = ("load", str(path), "--batch-size", "10")
    loader = start_cli(server, *arguments, MILLIMETRIC_KEY=project.secret)
    assert loader.stderr is not None
    assert any(b"Waiting for the server: rate_limited." in line for line in loader.stderr)
    loader.kill()
    loader.communicate()
    assert read_state(path)["rows"] == 200
    limit(server, project, "off", 202)

    # As if the last acknowledgement had not been written down: that batch is sent again.
    state_path = path.with_name("orders.ndjson.millimetric-load.json")
    state = read_state(path)
    state["rows"], state["stored"] = int(str(state["rows"])) - 10, int(str(state["stored"])) - 10
    state_path.write_text(json.dumps(state))

    code, output, errors_text = run_cli(server, *arguments, MILLIMETRIC_KEY=project.secret)
    assert code == 0, errors_text
    assert "Resuming after row" in errors_text
    assert figures(output) == [270, 260, 10, 0]
    wait_until_everywhere(server, project, 270)
    numbers = [json.loads(str(row["properties"]))["number"] for row in read_rows(server, project)]
    assert sorted(numbers) == list(range(270))

    code, output, errors_text = run_cli(server, *arguments, MILLIMETRIC_KEY=project.secret)
    assert "was loaded already" in errors_text
    assert figures(output) == [270, 260, 10, 0]


def test_rejected_rows_are_kept_with_line_and_reason(
    server: ServerProcess, project: ProjectKeys, tmp_path: Path
) -> None:
    path = tmp_path / "mixed.ndjson.gz"
    lines = [
        {"event": "good"},
        {"user_id": "nobody"},
        {"event": "good", "timestamp": "1999-01-01"},
        {"event": "x" * 129},
        {"event": 5},
        {"event": "good", "event_id": "mine"},
        {"event": "good", "event_id": "mine"},
    ]
    path.write_bytes(gzip.compress("\n".join([*map(json.dumps, lines), "{not json", ""]).encode()))
    code, output, errors = run_cli(server, "load", str(path), MILLIMETRIC_KEY=project.secret)

    assert code == 1
    assert figures(output) == [8, 2, 1, 5]
    assert "5 rows were rejected" in errors
    told = [json.loads(line) for line in (tmp_path / "mixed.ndjson.gz.rejected.ndjson").read_text().splitlines()]
    assert [one["line"] for one in told] == [2, 3, 4, 5, 8]
    assert [list(one["fields"]) for one in told] == [["event"], ["timestamp"], ["event"], ["event"], ["body"]]
    assert {one["reason"] for one in told} == {"invalid_payload"}
    assert json.loads(told[0]["row"]) == lines[1]
    wait_until_everywhere(server, project, 2)

    code, output, _ = run_cli(server, "load", str(path), "--restart", MILLIMETRIC_KEY=project.secret)
    assert (code, figures(output)) == (1, [8, 0, 3, 5])


def test_csv_and_a_pipe(server: ServerProcess, project: ProjectKeys, tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(
        "event,user_id,url,properties.plan,amount\r\n"
        "purchase,u1,https://shop.example/checkout?utm_source=newsletter&utm_medium=email,team,19.5\r\n"
        "purchase,u2,,starter,\r\n"
    )
    code, output, errors = run_cli(server, "load", "orders.csv", cwd=tmp_path, MILLIMETRIC_KEY=project.secret)
    assert (code, figures(output)) == (0, [2, 2, 0, 0]), errors
    piped = b'{"event":"piped"}\n{"event":"piped"}\n{}\n'
    code, output, _ = run_cli(server, "load", "-", "--key", project.secret, cwd=tmp_path, stdin=piped)
    assert (code, figures(output)) == (1, [3, 2, 0, 1])
    assert json.loads((tmp_path / "stdin.rejected.ndjson").read_text())["line"] == 3

    wait_until_everywhere(server, project, 4)
    by_user = {row["user_id"]: row for row in read_rows(server, project, event="purchase")}
    assert json.loads(str(by_user["u1"]["properties"])) == {"plan": "team", "amount": 19.5}
    assert (by_user["u1"]["source"], by_user["u1"]["medium"]) == ("newsletter", "email")
    assert json.loads(str(by_user["u2"]["properties"])) == {"plan": "starter"}


def test_what_stops_a_load_is_told_in_a_sentence(
    server: ServerProcess, project: ProjectKeys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_sender, "_CONNECT_TIMEOUT_S", 0.5)
    path = tmp_path / "a.ndjson"
    path.write_text('{"event":"a"}\n')
    unknown = "sk_live_0123abcd_" + "s" * 43
    for name, server_address, key, sentence in (
        ("a.ndjson", server.grpc_address, project.read, "needs a secret key"),
        ("a.ndjson", server.grpc_address, "sk_live", "That is not a key"),
        ("a.ndjson", server.grpc_address, unknown, "invalid_api_key"),
        ("a.ndjson", server.grpc_address, project.secret, "with another key"),
        ("missing.ndjson", server.grpc_address, project.secret, "No such file"),
        ("a.parquet", server.grpc_address, project.secret, "--format"),
        ("a.ndjson", "127.0.0.1:9", unknown, "into another server"),
        ("b.ndjson", f"127.0.0.1:{server.http_port}", project.secret, "No server answers"),
    ):
        (tmp_path / "b.ndjson").write_text('{"event":"a"}\n')
        arguments = ("load", str(tmp_path / name), "--server", server_address)
        result = CliRunner().invoke(main, arguments, env={"MILLIMETRIC_KEY": key})
        assert result.exit_code == 1
        assert isinstance(result.exception, SystemExit)
        assert sentence in result.stderr
        assert key not in result.output or key == "sk_live"
