"""Connect's own conformance suite against our doors: its reference client makes hundreds of calls of each protocol.

Protects that other people's clients are answered as their protocol says: messages, envelopes, compressions, deadlines,
errors with details, size limits, GET, what is unexpected. What we do not serve is not asked for (the .yaml files); what
is known to fail stands in the .txt files with why, and fails the run too as soon as it passes.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conformance import protos
from support.tools import require_tool

_FOLDER = Path(__file__).parent
_COMMAND = protos.MODULE.replace("@", "/cmd/connectconformance@")
_SUMMARY = re.compile(r"(\d+) passed, (\d+) failed")
# grpc-core: after a call with a grpc-encoding that it does not know, gzip calls on the same connection can fail.
_APART = {"grpc": "gRPC Unexpected Requests/**/unexpected-compression"}
# Fewer cases than these were a configuration that asks for less than we serve.
_CASES_MIN = {"http": 763, "grpc": 231}


@pytest.fixture(scope="module")
def go() -> str:
    return require_tool("go", shutil.which("go"), "see https://go.dev/doc/install")


@pytest.fixture(scope="module")
def runner(go: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The suite's runner; Go keeps what it has compiled, so only the first time takes minutes."""
    folder = tmp_path_factory.mktemp("runner")
    environ = {**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0"}
    installed = subprocess.run([go, "install", _COMMAND], env=environ, capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stderr
    return folder / "connectconformance"


@pytest.fixture(scope="module")
def generated(go: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("protos")
    protos.generate(folder, go)
    return folder


@pytest.mark.timeout(900)
@pytest.mark.parametrize("door", ["http", "grpc"])
def test_a_door_answers_as_its_protocols_say(door: str, runner: Path, generated: Path) -> None:
    apart = _APART.get(door, "")
    passed = run_suite(door, runner, generated, ["--skip", apart] if apart else [])
    assert passed >= _CASES_MIN[door]
    if apart:
        run_suite(door, runner, generated, ["--run", apart])


def run_suite(door: str, runner: Path, generated: Path, chosen: list[str]) -> int:
    """Run cases of the suite; returns how many passed, and fails with what did not."""
    command = [str(runner), "--mode", "server", "--conf", str(_FOLDER / f"{door}.yaml"), *chosen]
    command += ["--known-failing", f"@{_FOLDER / f'{door}_known_failing.txt'}"]
    command += ["--", sys.executable, "-m", "conformance.server", door, str(generated)]
    environ = {**os.environ, "PYTHONPATH": str(_FOLDER.parent)}
    ran = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout[-20_000:] + ran.stderr[-5_000:]
    summary = _SUMMARY.search(ran.stdout)
    assert summary is not None, ran.stdout
    return int(summary[1])


def test_each_known_failure_says_why() -> None:
    """A pattern stands under a comment of its own."""
    for path in sorted(_FOLDER.glob("*_known_failing.txt")):
        lines = path.read_text().splitlines()
        assert lines[0].startswith("#"), path.name
        patterns = [number for number, line in enumerate(lines) if line and not line.startswith("#")]
        for number in patterns:
            assert lines[number - 1].startswith("#") or number - 1 in patterns, f"{path.name}:{number + 1}"
