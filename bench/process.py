"""A server's process over a run: its memory, files, threads and journal."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from bench.machine import read_cpu_seconds
from bench.server import RunningServer

_MB = 1024 * 1024


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The server's process at one moment."""

    at_s: float
    resident_mb: float
    anonymous_mb: float
    open_files: int
    threads: int
    waiting_events: int
    missing_events: int  # received events that the ledger does not explain
    journal_mb: float
    journal_wal_mb: float
    cpu_s: float
    server_cores: float  # CPU seconds a second since the sample before


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of the samples over the run."""

    name: str
    places: int
    first: float  # medians of their windows
    median: float
    last: float
    highest: float  # of all samples, also those of the warm-up


class Reading(msgspec.Struct, frozen=True):
    """A figure as the table shows it: its name, the sample's field and its decimals."""

    name: str
    field: str
    places: int


READINGS = (
    Reading("resident MB", "resident_mb", 1),
    Reading("anonymous MB", "anonymous_mb", 1),
    Reading("open files", "open_files", 0),
    Reading("threads", "threads", 0),
    Reading("events that wait in the journal", "waiting_events", 0),
    Reading("journal.db MB", "journal_mb", 1),
    Reading("journal.db-wal MB", "journal_wal_mb", 1),
    Reading("server cores", "server_cores", 2),
)


def take_sample(server: RunningServer, at_s: float, at_s_before: float, cpu_s_before: float) -> Sample:
    """Look at the process now, `at_s` seconds into the run, and since the sample before."""
    status = _read_status(server.pid)
    cpu_s = read_cpu_seconds(server.pid)
    account = server.read_account()
    journal = Path(server.process.data_dir) / "journal.db"
    return Sample(
        at_s=at_s,
        resident_mb=int(status["VmRSS"].split()[0]) / 1024,
        anonymous_mb=int(status["RssAnon"].split()[0]) / 1024,
        open_files=len(list(Path(f"/proc/{server.pid}/fd").iterdir())),
        threads=int(status["Threads"]),
        waiting_events=account.journaled,
        missing_events=account.missing,
        journal_mb=_read_size_mb(journal),
        journal_wal_mb=_read_size_mb(journal.with_name("journal.db-wal")),
        cpu_s=cpu_s,
        server_cores=(cpu_s - cpu_s_before) / (at_s - at_s_before),
    )


def describe_figure(reading: Reading, samples: Sequence[Sample], warm_up_s: float, window_s: float) -> Figure:
    """Take the medians of one figure over the windows and the whole, and its highest value."""

    def take(since: float, until: float) -> float:
        values = [getattr(one, reading.field) for one in samples if since < one.at_s <= until]
        return float(statistics.median(values)) if values else 0.0

    end = samples[-1].at_s
    return Figure(
        name=reading.name,
        places=reading.places,
        first=take(warm_up_s, warm_up_s + window_s),
        median=take(warm_up_s, end),
        last=take(end - window_s, end),
        highest=float(max(getattr(one, reading.field) for one in samples)),
    )


def find_slope_a_minute(samples: Sequence[Sample]) -> float:
    """How fast anonymous memory grows: MB a minute by least squares over the last two thirds of the run."""
    late = [one for one in samples if one.at_s >= samples[-1].at_s / 3]
    return statistics.linear_regression([one.at_s / 60 for one in late], [one.anonymous_mb for one in late]).slope


def _read_status(pid: int) -> Mapping[str, str]:
    lines = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: value.strip() for name, _, value in lines}


def _read_size_mb(path: Path) -> float:
    return path.stat().st_size / _MB if path.exists() else 0.0
