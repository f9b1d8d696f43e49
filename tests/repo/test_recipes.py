"""The calls of the recipes run as pasted against a server with the demo's data, and answer what the pages show.

In docs/recipes a block marked `console` or `python` is executed; the `json` or `text` block behind it is its answer.
README.md there only prepares, and shows no answers.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from repo.doc_files import DOCS, Block, read_blocks
from support.server_process import ServerProcess
from support.tools import require_tool

_FOLDER = DOCS / "recipes"
_INDEX = "README.md"
_PAGES = sorted(path.name for path in _FOLDER.glob("*.md") if path.name != _INDEX)
_COMMANDS = {"console": ["bash", "-euo", "pipefail"], "python": [sys.executable, "-"]}
_ANSWERS = ("json", "text")
_KEPT = ("SECRET_KEY", "READ_KEY")
_TIMEOUT_S = 120


@pytest.fixture(scope="module")
def keys(server: ServerProcess, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Do what the index says, and keep the variables that it sets."""
    for tool in ("curl", "jq"):
        require_tool(tool, shutil.which(tool), f"apt-get install {tool}")
    folder = tmp_path_factory.mktemp("recipes")
    (folder / ".venv").symlink_to(sys.prefix)
    blocks = [block.text for block in read_blocks(f"docs/recipes/{_INDEX}") if block.language == "console"]
    kept = "".join(f'echo "{name}=${name}"\n' for name in _KEPT)
    output = run_block(Block("console", "\n".join([*blocks, kept])), server, folder, {})
    return dict(re.findall(rf"^({'|'.join(_KEPT)})=(\S+)$", output, re.MULTILINE))


@pytest.mark.parametrize("page", _PAGES)
def test_the_calls_of_a_recipe_answer_what_it_shows(
    page: str, server: ServerProcess, keys: dict[str, str], tmp_path: Path
) -> None:
    for call, shown in pair_blocks(page):
        answer = run_block(call, server, tmp_path, keys)
        assert read_answer(shown.language, answer) == read_answer(shown.language, shown.text), answer


@pytest.mark.parametrize("page", _PAGES)
def test_a_recipe_asks_over_rest_and_over_grpc(page: str) -> None:
    assert {call.language for call, _ in pair_blocks(page)} == set(_COMMANDS)


def test_the_index_lists_every_recipe() -> None:
    listed = re.findall(r"^\|.*\]\(([\w-]+\.md)\)", (_FOLDER / _INDEX).read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == _PAGES


def pair_blocks(page: str) -> list[tuple[Block, Block]]:
    """The calls of a page, each with the answer that follows it."""
    blocks = [block for block in read_blocks(f"docs/recipes/{page}") if block.language in (*_COMMANDS, *_ANSWERS)]
    calls, answers = blocks[::2], blocks[1::2]
    assert all(call.language in _COMMANDS for call in calls), page
    assert all(answer.language in _ANSWERS for answer in answers), page
    return list(zip(calls, answers, strict=True))


def run_block(block: Block, server: ServerProcess, folder: Path, keys: dict[str, str]) -> str:
    """Run a block in a folder and return what it prints."""
    program = block.text.replace("127.0.0.1:8080", server.base_url.removeprefix("http://"))
    done = subprocess.run(
        _COMMANDS[block.language],
        input=program.replace("127.0.0.1:50051", server.grpc_address),
        cwd=folder,
        env={
            **os.environ,
            "MILLIMETRIC_DATA_DIR": str(server.data_dir),
            "MILLIMETRIC_GRPC_PORT": str(server.grpc_port),
            "MILLIMETRIC_HTTP_PORT": str(server.http_port),
            **keys,
        },
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def read_answer(language: str, text: str) -> Any:
    """JSON with fractions to four digits; of a text its lines."""
    if language == "json":
        return json.loads(text, parse_float=lambda number: round(float(number), 4))
    return [line.rstrip() for line in text.rstrip().splitlines()]
