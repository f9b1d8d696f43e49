"""Runs `millimetric` commands against the running server, as people do."""

import os
import subprocess
import sys
from pathlib import Path

from support.server_process import ServerProcess
from support.waiting import communicate


def start_cli(
    server: ServerProcess, *arguments: str, cwd: Path | None = None, stdin: bytes | None = None, **environ: str
) -> subprocess.Popen[bytes]:
    """Start a command with the server's data folder and ports in its environment."""
    process = subprocess.Popen(
        [sys.executable, "-m", "millimetric_server", *arguments],
        env={
            **os.environ,
            "MILLIMETRIC_DATA_DIR": str(server.data_dir),
            "MILLIMETRIC_GRPC_PORT": str(server.grpc_port),
            "MILLIMETRIC_HTTP_PORT": str(server.http_port),
            **environ,
        },
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    if stdin is not None:
        assert process.stdin is not None
        process.stdin.write(stdin)
        process.stdin.close()
        process.stdin = None
    return process


def run_cli(
    server: ServerProcess, *arguments: str, cwd: Path | None = None, stdin: bytes | None = None, **environ: str
) -> tuple[int, str, str]:
    """Run a command and return its exit code, output and errors."""
    process = start_cli(server, *arguments, cwd=cwd, stdin=stdin or b"", **environ)
    output, errors = communicate(process)
    return process.returncode, output.decode(), errors.decode()


def figures(output: str) -> list[int]:
    """The last row of a load's table: read, stored, duplicate, rejected."""
    line = [line for line in output.splitlines() if line.startswith("│")][-1]
    return [int(cell.replace(",", "")) for cell in line.strip("│").split("│")]
