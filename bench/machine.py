"""The machine under the figures: described without its name, and its cores given out."""

import contextlib
import os
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

_LIBRARIES = ("grpcio", "protobuf", "msgspec", "uvicorn", "uvloop", "httptools", "clickhouse-connect", "chdb-core")
_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Machine(msgspec.Struct, frozen=True):
    """What a reader needs to judge a figure; no host name and no path."""

    cpu: str
    cores: int
    memory_gb: int
    kernel: str
    python: str
    libraries: dict[str, str]
    load_before: float  # the load average of a minute when the run began: other work on the machine


def describe_machine() -> Machine:
    """Describe this machine as it is now."""
    return Machine(
        cpu=_read_field("/proc/cpuinfo", "model name") or platform.machine(),
        cores=os.cpu_count() or 1,  # not those that this process is pinned to
        memory_gb=round(int((_read_field("/proc/meminfo", "MemTotal") or "0 kB").split()[0]) / 1024**2),
        kernel=f"{platform.system()} {platform.release().partition('-')[0]}",
        python=platform.python_version(),
        libraries={name: found for name in _LIBRARIES if (found := _find_version(name))},
        load_before=round(os.getloadavg()[0], 2),
    )


class Cores(msgspec.Struct, frozen=True):
    """Which cores the server and the load generator run on; the same ones where there is only one."""

    server: frozenset[int]
    generator: frozenset[int]

    @property
    def are_apart(self) -> bool:
        """Whether the generator can't take time from the server."""
        return self.server.isdisjoint(self.generator)


def share_cores(server_cores: int = 1) -> Cores:
    """Give the first cores to the server and the next one to the generator."""
    usable = sorted(os.sched_getaffinity(0))
    server = frozenset(usable[:server_cores])
    rest = frozenset(usable[server_cores : server_cores + 1])
    return Cores(server, rest or frozenset(usable))


@contextlib.contextmanager
def pinned_to(cores: frozenset[int]) -> Iterator[None]:
    """Run on these cores; processes that are started meanwhile stay on them."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def read_cpu_seconds(pid: int) -> float:
    """CPU time of a process and all its threads so far, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


def _read_field(path: str, name: str) -> str:
    with contextlib.suppress(OSError):
        for line in Path(path).read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == name:
                return value.strip()
    return ""


def _find_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
