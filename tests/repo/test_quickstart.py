"""The commands and programs of the documents run as pasted, against a server.

Blocks marked `console` and `python` are executed, in one shell a document; `sh` and others are not.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from integration.reads import wait_for_key
from repo.doc_files import DOCS, ROOT, read_blocks
from support.server_process import ProjectKeys, ServerProcess

_DOCUMENTS = ("README.md", "docs/quickstart.md", "docs/api/grpc.md", "clients/python/README.md")
_ORIGIN = "https://shop.example"
_TIMEOUT_S = 120
_PYTHON_END = "END_OF_PYTHON"
_FAILURES = re.compile(r'"error":|"code":|Traceback')


@pytest.fixture(scope="module")
def keys(server: ServerProcess) -> ProjectKeys:
    made = server.create_project("quickstart", (_ORIGIN,))
    wait_for_key(server, made)
    return made


@pytest.mark.parametrize("document", _DOCUMENTS)
def test_the_blocks_of_a_document_run_as_pasted(
    document: str, server: ServerProcess, keys: ProjectKeys, tmp_path: Path
) -> None:
    (tmp_path / ".venv").symlink_to(sys.prefix)
    done = subprocess.run(
        ["bash", "-euo", "pipefail"],
        input=_fill_in(_write_script(document), server, keys),
        cwd=tmp_path,
        env=_make_environment(server, keys),
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    told = f"{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, told
    assert not _FAILURES.search(told), told


def test_every_document_with_blocks_to_execute_is_executed() -> None:
    # Those of the recipes are executed by test_recipes.py.
    found = {
        str(path.relative_to(ROOT))
        for folder in ("docs", "clients")
        for path in (ROOT / folder).rglob("*.md")
        if path.parent != DOCS / "recipes"
        and any(block.language in ("console", "python") for block in read_blocks(str(path.relative_to(ROOT))))
    }
    assert found | {"README.md"} == set(_DOCUMENTS)


def _write_script(document: str) -> str:
    parts = []
    for block in read_blocks(document):
        if block.language == "console":
            parts.append(block.text)
        elif block.language == "python":
            parts.append(f"python - <<'{_PYTHON_END}'\n{block.text}{_PYTHON_END}\n")
    return "echo\n".join(parts)


def _fill_in(script: str, server: ServerProcess, keys: ProjectKeys) -> str:
    for written, meant in {
        "127.0.0.1:8080": server.base_url.removeprefix("http://"),
        "127.0.0.1:50051": server.grpc_address,
        "pk_live_…": keys.public,
        "sk_live_…": keys.secret,
        "rk_live_…": keys.read,
    }.items():
        script = script.replace(written, meant)
    return script


def _make_environment(server: ServerProcess, keys: ProjectKeys) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MILLIMETRIC_DATA_DIR": str(server.data_dir),
        "MILLIMETRIC_GRPC_PORT": str(server.grpc_port),
        "MILLIMETRIC_HTTP_PORT": str(server.http_port),
        "PUBLIC_KEY": keys.public,
        "SECRET_KEY": keys.secret,
        "READ_KEY": keys.read,
    }
