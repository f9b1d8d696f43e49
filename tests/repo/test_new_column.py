"""A stored column made by the list in CONTRIBUTING alone, in a copy of the repository, goes from Track to Query."""

import csv
import io
from typing import Any

import httpx
import pytest

from integration.reads import bearer
from repo.doc_files import ROOT, read_section
from repo.scratch_copy import Edit, ScratchCopy, shorten
from support.server_process import ServerProcess

_SCHEMA = "server/millimetric_server/store/schema"
_EDITS = (
    Edit(
        "proto/millimetric/v1/event.proto",
        "string ip_hash = 23;\n",
        "  // The host of the page's URL, or empty.\n  string page_host = 24;\n",
    ),
    Edit("server/millimetric_server/enrich/event_row.py", "    retention_days: int\n", "    page_host: str\n"),
    Edit("server/millimetric_server/enrich/pipeline.py", "    ip_hash: str\n", "    page_host: str\n"),
    Edit(
        "server/millimetric_server/enrich/pipeline.py",
        '    builder.path = redact_path(sent.path, kept) if sent.path else ""\n',
        "    page = parse_url(builder.url)\n    builder.page_host = page.hostname if page else ''\n",
    ),
)
_MIGRATION = "ALTER TABLE events ADD COLUMN IF NOT EXISTS page_host LowCardinality(String);\n"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> ScratchCopy:
    """The repository with the column, and all that `make generate` makes of it."""
    copy = ScratchCopy(tmp_path_factory.mktemp("copy") / "millimetric")
    newest = max(int(file.name[:4]) for file in (ROOT / _SCHEMA).glob("*.sql"))
    copy.edit(_EDITS, {f"{_SCHEMA}/{newest + 1:04}_page_host.sql": _MIGRATION})
    return copy


def test_the_list_names_every_file_that_was_edited() -> None:
    steps, paths = read_section("CONTRIBUTING.md", "Add a column"), {edit.path for edit in _EDITS}
    for path in paths | {f"{_SCHEMA}/"}:
        assert f"`{shorten(path)}`" in steps
    assert len(paths) + 1 <= 5


def test_the_column_goes_from_track_to_query(copy: ScratchCopy) -> None:
    with ServerProcess(environ=dict(copy.environ)) as server:
        keys = server.create_project("column")
        event = {"event": "page", "url": "https://shop.example/a", "ack": "stored"}
        answer = httpx.post(f"{server.base_url}/v1/track", json=event, headers=bearer(keys.secret), timeout=60)
        assert answer.status_code == 202, answer.text
        for condition, count in (("page_host = shop.example", 1), ("page_host = other.example", 0)):
            rows: list[dict[str, Any]] = _read(server, keys.read, "query", filter=condition).json()["rows"]
            assert [row["page_host"] for row in rows] == ["shop.example"] * count
        exported = _read(server, keys.read, "export", format="csv").text
        assert [row["page_host"] for row in csv.DictReader(io.StringIO(exported))] == ["shop.example"]


def test_the_checks_and_the_pages_know_the_column(copy: ScratchCopy) -> None:
    page = (copy.root / "docs/api/rest.md").read_text()
    assert "| `page_host` | text | | The host of the page's URL, or empty |" in page
    copy.run_tests("unit/test_pipeline.py", "unit/test_query_page.py", "repo/test_messages.py", "repo/test_docs_api.py")


def _read(server: ServerProcess, key: str, route: str, **params: str) -> httpx.Response:
    answer = httpx.get(f"{server.base_url}/v1/{route}", params=params, headers=bearer(key), timeout=60)
    assert answer.status_code == 200, answer.text
    return answer
