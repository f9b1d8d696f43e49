"""Clients in Go under tests/support/go, built once a test run; Go caches what it has compiled."""

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from .tools import require_tool

_FOLDER = Path(__file__).parent / "go"


@functools.cache
def build_go_program(name: str) -> Path:
    """Build the program of this folder and return its path. Without Go the test is given up."""
    go = require_tool("go", shutil.which("go"), "see https://go.dev/doc/install")
    program = Path(tempfile.mkdtemp(prefix="millimetric-go-")) / name
    environ = {**os.environ, "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"}
    built = subprocess.run(
        [go, "build", "-o", str(program), f"./{name}"],
        cwd=_FOLDER,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return program
