"""What a load remembers, and when it refuses to go on."""

import os
from pathlib import Path

import pytest

from millimetric_server.api.errors import Violation
from millimetric_server.cli.load.rows import Row
from millimetric_server.cli.load.state import (
    RejectedFile,
    StateError,
    resume_state,
    save_state,
    start_state,
    state_path_of,
)

SERVER, PREFIX = "127.0.0.1:50051", "0123abcd"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "events.ndjson"
    path.write_text('{"event":"a"}\n')
    return path


def save(path: Path, rows: int = 1) -> None:
    state = start_state(path, SERVER, PREFIX)
    state.rows = rows
    save_state(path, state)


def test_nothing_is_remembered_at_first(path: Path) -> None:
    assert resume_state(path, SERVER, PREFIX) is None


def test_what_was_saved_comes_back_and_nothing_else_is_left(path: Path) -> None:
    save(path, rows=7)
    state = resume_state(path, SERVER, PREFIX)
    assert state is not None
    assert state.rows == 7
    assert sorted(one.name for one in path.parent.iterdir()) == ["events.ndjson", state_path_of(path).name]


def test_a_file_that_was_only_touched_goes_on(path: Path) -> None:
    save(path)
    os.utime(path, (1, 1))
    assert resume_state(path, SERVER, PREFIX) is not None


def test_a_file_of_the_same_size_with_other_content_does_not_go_on(path: Path) -> None:
    save(path)
    path.write_text('{"event":"b"}\n')
    os.utime(path, (1, 1))
    with pytest.raises(StateError, match="has changed"):
        resume_state(path, SERVER, PREFIX)


@pytest.mark.parametrize(("server", "prefix"), [("other:50051", PREFIX), (SERVER, "89abcdef")])
def test_another_server_or_key_does_not_go_on(path: Path, server: str, prefix: str) -> None:
    save(path)
    with pytest.raises(StateError, match="--restart"):
        resume_state(path, server, prefix)


@pytest.mark.parametrize("text", ["", "{", "{}", '{"version": 1}', "\0"])
def test_a_state_that_cannot_be_read_does_not_go_on(path: Path, text: str) -> None:
    state_path_of(path).write_text(text)
    with pytest.raises(StateError, match="--restart"):
        resume_state(path, SERVER, PREFIX)


def test_rejected_rows_behind_the_state_are_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "rejected.ndjson"
    rows = [(Row(line, "{", ()), "invalid_payload", [Violation("body", "must be JSON")]) for line in (1, 2)]
    first = RejectedFile(path, 0)
    kept = first.write(rows[:1])
    first.write(rows[1:])
    first.close()

    second = RejectedFile(path, kept)
    second.write(rows[1:])
    second.close()
    assert path.read_text() == (
        '{"line":1,"reason":"invalid_payload","fields":{"body":["must be JSON"]},"row":"{"}\n'
        '{"line":2,"reason":"invalid_payload","fields":{"body":["must be JSON"]},"row":"{"}\n'
    )
    RejectedFile(path, 0)
    assert not path.exists()
