"""A stored column made by the list in CONTRIBUTING alone, in a copy of the repository, goes from Track to Query."""

import csv
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from repo.doc_files import ROOT, list_files, read_section
from support.server_process import ServerProcess

_BIN = Path(sys.executable).parent
_EVENTS = "server/millimetric_server/store/schema"
# What is written by hand: the file, the text behind which it goes, and what.
_EDITS = (
    (
        "proto/millimetric/v1/event.proto",
        "string ip_hash = 23;\n",
        "  // The host of the page's URL, or empty.\n  string page_host = 24;\n",
    ),
    ("server/millimetric_server/enrich/event_row.py", "    retention_days: int\n", "    page_host: str\n"),
    ("server/millimetric_server/enrich/pipeline.py", "    ip_hash: str\n", "    page_host: str\n"),
    (
        "server/millimetric_server/enrich/pipeline.py",
        "    builder.path = builder.sent.path\n",
        "    page = parse_url(builder.url)\n    builder.page_host = page.hostname if page else ''\n",
    ),
)
_MIGRATION = "ALTER TABLE events ADD COLUMN IF NOT EXISTS page_host LowCardinality(String);\n"


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The repository with the column, and all that `make generate` makes of it."""
    root = tmp_path_factory.mktemp("copy") / "millimetric"
    for path in list_files():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, root / path)
    for path, before, text in _EDITS:
        content = (root / path).read_text("utf-8")
        assert content.count(before) == 1, f"{path}: {before!r}"
        (root / path).write_text(content.replace(before, before + text), "utf-8")
    newest = max(int(file.name[:4]) for file in (root / _EVENTS).glob("*.sql"))
    (root / _EVENTS / f"{newest + 1:04}_page_host.sql").write_text(_MIGRATION, "utf-8")
    described = str(root / "build.binpb")
    _run("buf", "generate", root=root)
    _run("buf", "build", "--path", "proto/millimetric/v1", "--as-file-descriptor-set", "--output", described, root=root)
    _run("python", "-m", "docs.generator", described, root=root)
    return root


def test_the_list_names_every_file_that_was_edited() -> None:
    steps = read_section("CONTRIBUTING.md", "Add a column")
    for path in {path for path, *_ in _EDITS} | {f"{_EVENTS}/"}:
        assert f"`{re.sub('^(server/millimetric_server|proto/millimetric/v1)/', '', path)}`" in steps
    assert len({path for path, *_ in _EDITS}) + 1 <= 5


def test_the_column_goes_from_track_to_query(copy: Path) -> None:
    with ServerProcess(environ={"PYTHONPATH": _write_path(copy)}) as server:
        keys = server.create_project("column")
        event = {"event": "page", "url": "https://shop.example/a", "ack": "stored"}
        answer = httpx.post(f"{server.base_url}/v1/track", json=event, headers=_bear(keys.secret), timeout=60)
        assert answer.status_code == 202, answer.text
        for condition, count in (("page_host = shop.example", 1), ("page_host = other.example", 0)):
            rows: list[dict[str, Any]] = _read(server, keys.read, "query", filter=condition).json()["rows"]
            assert [row["page_host"] for row in rows] == ["shop.example"] * count
        exported = _read(server, keys.read, "export", format="csv").text
        assert [row["page_host"] for row in csv.DictReader(io.StringIO(exported))] == ["shop.example"]


def test_the_checks_and_the_pages_know_the_column(copy: Path) -> None:
    assert "| `page_host` | text | | The host of the page's URL, or empty |" in (copy / "docs/api/rest.md").read_text()
    narrow = ("unit/test_pipeline.py", "unit/test_query_page.py", "repo/test_messages.py", "repo/test_docs_api.py")
    _run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", *(f"tests/{path}" for path in narrow), root=copy)


def _read(server: ServerProcess, key: str, route: str, **params: str) -> httpx.Response:
    answer = httpx.get(f"{server.base_url}/v1/{route}", params=params, headers=_bear(key), timeout=60)
    assert answer.status_code == 200, answer.text
    return answer


def _bear(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def _write_path(root: Path) -> str:
    """The copy's modules come before the installed ones."""
    return os.pathsep.join(str(root / folder) for folder in ("server", "clients/python/src", ".", "tests"))


def _run(*command: str, root: Path) -> None:
    environ = {"PATH": f"{_BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": _write_path(root)}
    done = subprocess.run(command, cwd=root, env=os.environ | environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}{done.stdout}"
