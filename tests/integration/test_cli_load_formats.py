"""load of other formats and other products' files against a real server: packed, cut short, loaded twice, exported."""

import gzip
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from integration.cli_process import figures, run_cli
from integration.reads import bearer, wait_for_key, wait_until_everywhere
from support.server_process import ProjectKeys, ServerProcess

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_BEGAN = datetime.now(UTC) - timedelta(days=2)


@pytest.fixture
def project(server: ServerProcess, request: pytest.FixtureRequest) -> ProjectKeys:
    return make_project(server, request.node.name)


def make_project(server: ServerProcess, name: str) -> ProjectKeys:
    keys = server.create_project(name[:64])
    wait_for_key(server, keys)
    return keys


def load(server: ServerProcess, keys: ProjectKeys, *arguments: str) -> tuple[int, str, str]:
    return run_cli(server, "load", *arguments, MILLIMETRIC_KEY=keys.secret)


def read_rows(server: ServerProcess, keys: ProjectKeys) -> list[dict[str, Any]]:
    answer = httpx.get(f"{server.base_url}/v1/query", params={"limit": "1000"}, headers=bearer(keys.read))
    return list(answer.json()["rows"])


def make_posthog(count: int) -> list[dict[str, Any]]:
    return [
        {
            "uuid": f"id-{number}",
            "event": "$pageview",
            "distinct_id": f"d-{number % 7}",
            "timestamp": (_BEGAN + timedelta(seconds=number)).isoformat(),
            "properties": {"$current_url": "https://s.example/p", "number": number},
        }
        for number in range(count)
    ]


@pytest.mark.parametrize("format_name", ["csv", "ndjson"])
def test_an_export_loads_into_another_project_as_the_same_events(
    server: ServerProcess, project: ProjectKeys, tmp_path: Path, format_name: str
) -> None:
    moment = _BEGAN.isoformat(timespec="seconds")
    events: list[dict[str, Any]] = [
        {"event": "a", "event_id": "1", "anonymous_id": "=cmd|' /C calc'!A0", "timestamp": moment},
        {"event": "b", "event_id": "2", "user_id": "+49 30 123", "timestamp": moment},
        {"event": "c", "event_id": "3", "timestamp": moment, "url": "https://s.example/?utm_source=news"},
        {"event": "d", "event_id": "4", "timestamp": moment, "properties": {"text": 'a\n"b",;c', "n": [1, None]}},
        {"event": "e", "event_id": "5", "timestamp": moment, "properties": {"long": "x" * 8100}},
    ]
    body = {"events": events, "ack": "stored"}
    assert httpx.post(f"{server.base_url}/v1/batch", json=body, headers=bearer(project.secret)).is_success
    wait_until_everywhere(server, project, 5)
    url, params = f"{server.base_url}/v1/export", {"format": format_name}
    path = tmp_path / f"export.{format_name}.gz"
    path.write_bytes(gzip.compress(httpx.get(url, params=params, headers=bearer(project.read)).content))

    other = make_project(server, f"{format_name} again")
    code, output, errors = load(server, other, str(path))
    assert (code, figures(output)) == (0, [5, 5, 0, 0]), errors
    assert "Left out, as the server derives them again:" in output
    wait_until_everywhere(server, other, 5)
    for before, after in zip(read_rows(server, project), read_rows(server, other), strict=True):
        ignored = ("received_at", "ip_hash")
        assert {name: before[name] for name in before if name not in ignored} == {
            name: after[name] for name in after if name not in ignored
        }


def test_a_cut_load_of_a_packed_array_goes_on_and_a_second_run_stores_nothing(
    server: ServerProcess, project: ProjectKeys, tmp_path: Path
) -> None:
    path = tmp_path / "events.json.zst"
    path.write_bytes(zstd.compress(json.dumps(make_posthog(250), indent=1).encode()))
    arguments = (str(path), "--from", "posthog", "--batch-size", "50")
    code, output, errors = load(server, project, *arguments)
    assert (code, figures(output)) == (0, [250, 250, 0, 0]), errors

    # As if it had been cut off behind 100 rows, of which the state knows 50.
    state_path = path.with_name("events.json.zst.millimetric-load.json")
    state = json.loads(state_path.read_text())
    state |= {"rows": 50, "stored": 50, "is_done": False}
    state_path.write_text(json.dumps(state))
    code, _, errors = load(server, project, str(path), "--batch-size", "50")
    assert code == 1
    assert "was being loaded with --from posthog" in errors
    code, output, errors = load(server, project, *arguments)
    assert (code, figures(output)) == (0, [250, 50, 200, 0]), errors

    # Another file with the same events.
    again = tmp_path / "again.ndjson"
    again.write_text("\n".join(map(json.dumps, make_posthog(250))))
    code, output, errors = load(server, project, str(again), "--from", "posthog")
    assert (code, figures(output)) == (0, [250, 0, 250, 0]), errors
    wait_until_everywhere(server, project, 250)
    numbers = [json.loads(row["properties"])["number"] for row in read_rows(server, project)]
    assert sorted(numbers) == list(range(250))


def test_a_rejected_line_and_unknown_names_are_told(
    server: ServerProcess, project: ProjectKeys, tmp_path: Path
) -> None:
    path = tmp_path / "orders.csv"
    lines = [f"order_paid;{number};{int(_BEGAN.timestamp()) + number}" for number in range(60)]
    lines[5] = 'order_paid;"5;0'
    path.write_text("Kind; number ;Time\n" + "\n".join(lines) + "\n")
    arguments = (str(path), "--map", "Kind=event", "--map", "Time=timestamp")
    code, output, errors = load(server, project, *arguments)
    assert code == 1
    assert "60" in output
    assert "line 7: body: is not CSV: a quote is opened and not closed" in output
    assert "1 rows were rejected" in errors
    wait_until_everywhere(server, project, 59)

    other = tmp_path / "other.ndjson"
    other.write_text('{"event":"x","distinct_id":"d","lib":"js"}\n{"event":"x","distinct_id":"d"}\n')
    code, output, errors = load(server, project, str(other))
    assert code == 0, errors
    assert "distinct_id (2 rows), lib (1 rows)" in output


def test_rows_that_are_dropped_are_told_with_their_reason(
    server: ServerProcess, project: ProjectKeys, tmp_path: Path
) -> None:
    path = tmp_path / "old.ndjson"
    path.write_text('{"event":"x","timestamp":1100000000}\n{"event":"x"}\n')
    code, output, errors = load(server, project, str(path))
    assert (code, figures(output)) == (0, [2, 1, 0, 0, 1]), errors
    assert "1 rows are older than the project's retention" in output


def test_a_dry_run_shows_what_would_happen_and_sends_nothing(server: ServerProcess, tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text(f"Kind,Customer,size\nbuy,c-1,L\n{'x' * 200},c-2,M\n")
    code, output, errors = run_cli(
        server, "load", str(path), "--map", "Kind=event", "--map", "Customer=user_id", "--dry-run"
    )
    assert code == 1
    assert "1 rows would be rejected" in errors
    for part in (
        "Customer",
        "user_id",
        "properties.size",
        "c-1",
        "nothing was sent",
        "line 3: event: must have at most",
    ):
        assert part in output
    assert figures(output) == [2, 1, 1]
    assert [one.name for one in tmp_path.iterdir()] == ["orders.csv"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--map", "a=nowhere"), "must be FROM=TO"),
        (("--map", "a=event", "--from", "segment"), "can't be given together"),
        (("--from", "mixpanel"), "is not one of"),
    ],
)
def test_options_that_make_no_sense_are_told(
    server: ServerProcess, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "a.ndjson").write_text("{}")
    code, _, errors = run_cli(server, "load", str(tmp_path / "a.ndjson"), *arguments)
    assert code == 2
    assert sentence in " ".join(errors.split())
