"""Load by h2load (Debian package nghttp2-client), a client in C: cheaper than Python's, but it sends one body only."""

import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from bench.load import CALLS_MAX, Load, Target

_TIMEOUT_S = 120


def is_installed() -> bool:
    """Whether h2load can be used here."""
    return shutil.which("h2load") is not None


def run_h2load(target: Target, callers: int, calls: int) -> Load:
    """Make so many calls. A gRPC status is not looked at: that every call was stored, Stats must show."""
    with tempfile.TemporaryDirectory() as folder:
        body, log = Path(folder, "body"), Path(folder, "log")
        body.write_bytes(_frame(target))
        command = [
            *("h2load", "-n", str(min(calls, CALLS_MAX)), "-t", "1", "-d", str(body), "--log-file", str(log)),
            *("-H", f"authorization: Bearer {target.key}"),
            *_protocol(target, callers),
            f"http://{target.address}{target.path}",
        ]
        cpu_before, began = _read_children_cpu_s(), time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=_TIMEOUT_S)
        seconds = time.perf_counter() - began
        lines = [line.split("\t") for line in log.read_text().splitlines()]
    good = [int(micros) for _, status, micros in lines if status.startswith("2")]
    return Load(
        calls=len(good),
        errors=len(lines) - len(good),
        seconds=seconds,
        generator_cpu_s=_read_children_cpu_s() - cpu_before,
        latencies_ms=[micros / 1000 for micros in good],
        generator="h2load",
    )


def _frame(target: Target) -> bytes:
    body = target.bodies[0]
    return b"\0" + len(body).to_bytes(4, "big") + body if target.door == "grpc" else body


def _protocol(target: Target, callers: int) -> list[str]:
    if target.door == "rest":
        return ["--h1", "-c", str(callers), "-H", "content-type: application/json"]
    channels = min(callers, 4)
    streams = str(callers // channels)
    return ["-c", str(channels), "-m", streams, "-H", "content-type: application/grpc", "-H", "te: trailers"]


def _read_children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
