"""docs/architecture.md walks one event through the code: a Track is traced, and the page must tell its way."""

from functools import cache

import pytest

from repo.doc_files import read_table
from support.track_trace import Trace, trace_grpc, trace_rest

_PAGE = "docs/architecture.md"
_TRACES = {"gRPC": trace_grpc, "REST": trace_rest}


@cache
def trace(door: str) -> Trace:
    return _TRACES[door]()


def read_way(heading: str) -> list[tuple[str, str]]:
    rows = read_table(_PAGE, "File", after=f"### {heading}\n")
    return [(row["File"].replace("\\", ""), row["Function"].replace("\\", "")) for row in rows]


@pytest.mark.parametrize("door", _TRACES)
def test_the_page_lists_what_a_track_calls_in_order(door: str) -> None:
    way = [*read_way(f"From the socket to the boundary, over {door}"), *read_way("From the boundary to the disk")]
    called = iter((step.file, step.function) for step in trace(door).steps)
    for step in way:
        assert step in called, f"{step} is not called, or not here"


@pytest.mark.parametrize("door", _TRACES)
def test_a_tracks_way_is_no_longer_than_the_page_says(door: str) -> None:
    rows = read_table(_PAGE, "", after="## What bounds a call's way\n")
    bounds = next(row for row in rows if row[""].startswith(door))
    taken = trace(door)
    assert len(taken.steps) <= int(bounds["Calls"]), taken.describe()
    assert len(taken.files) <= int(bounds["Files"]), taken.describe()
    assert taken.room_switches <= int(bounds["Room switches"]), taken.describe()
