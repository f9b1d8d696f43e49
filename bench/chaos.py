"""Impatient callers at every door, a ClickHouse that comes and goes, and kills: is each event stored once?"""

import contextlib
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import httpx
import msgspec
from tests.support.clickhouse_server import ClickHouseServer
from tests.support.impatient_callers import KINDS, ImpatientCaller

from bench.machine import Cores, read_cpu_seconds
from bench.process import READINGS, Figure, Sample, describe_figure, find_slope_a_minute, take_sample
from bench.server import CLICKHOUSE_URL, RunningServer, clickhouse_server, millimetric_server

_CALLERS = 8
_CALLS_A_SECOND = 15.0  # of each caller: less than a core of the server, so that what grows is no backlog
_RETRIED = 0.5  # the share of calls without an answer that are made again, with the same ids
_SAMPLE_EVERY_S = 5.0
_AWAY_S, _UP_S = (0.5, 6.0), (4.0, 20.0)  # how long ClickHouse is away and up
_KILLS_EVERY_S = 40.0  # in the first half of the run; afterwards one process is watched
_WINDOW_S = 60.0
TABLES = ("events", "daily_rollup", "hourly_rollup", "source_rollup", "sessions")
_COUNTS = dict.fromkeys(TABLES, "sum(events)") | {"events": "count()"}
OnProgress = Callable[[str], None]


class Plan(msgspec.Struct, frozen=True):
    """How long to run, and on what."""

    minutes: float
    data_parent: str
    cores: Cores

    @property
    def seconds(self) -> float:
        """The length of the load."""
        return self.minutes * 60


class Kind(msgspec.Struct, frozen=True):
    """Calls of one kind: how many were made, and of how many events an answer came in time."""

    name: str
    calls: int
    sent_events: int
    acknowledged_events: int


class Chaos(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run. Memory and files are those of the second half, in which the server is not killed."""

    seconds: float
    kinds: Sequence[Kind]
    kills: int
    outages: int
    acknowledged_events: int
    stored_events: dict[str, int]  # by table
    missing_events: int  # acknowledged, and not stored
    doubled_events: int
    ledger_missing: int
    caught_up_s: float
    longest_start_s: float
    anonymous_mb_a_minute: float
    window_s: float
    figures: Sequence[Figure]
    samples: Sequence[Sample]
    faults: Sequence[str]


@dataclass
class _Traffic:
    """What all callers have sent, and what was acknowledged."""

    server: RunningServer
    stop: threading.Event = field(default_factory=threading.Event)
    acknowledged: set[str] = field(default_factory=set)
    calls: Counter[str] = field(default_factory=Counter)
    sent: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def run(self) -> None:
        """Make calls until it is told to stop."""
        chance = random.Random()
        with contextlib.closing(ImpatientCaller(self.server.process, self.server.keys.secret)) as caller:
            while not self.stop.wait(chance.expovariate(_CALLS_A_SECOND)):
                number = next(self._numbers)
                if not self._call(caller, number) and chance.random() < _RETRIED:
                    self._call(caller, number)

    def _call(self, caller: ImpatientCaller, number: int) -> bool:
        name = KINDS[number % len(KINDS)].__name__.removeprefix("_")
        try:
            sent, acknowledged = caller.call(number)
        except (OSError, ValueError):  # killed, or cut off in the middle of its status line
            self.stop.wait(0.1)
            return False
        with self._lock:
            self.calls[name] += 1
            self.sent[name] += len(sent)
            self.answered[name] += len(acknowledged)
            self.acknowledged.update(acknowledged)
        return len(acknowledged) == len(sent)


def count_steps(plan: Plan) -> int:
    """How many samples a run takes."""
    return max(round(plan.seconds / _SAMPLE_EVERY_S), 1)


def measure(plan: Plan, on_progress: OnProgress) -> Chaos:
    """Let it all happen for as long as planned, then count."""
    with (
        clickhouse_server(plan.data_parent) as clickhouse,
        millimetric_server(plan.data_parent, plan.cores, {CLICKHOUSE_URL: clickhouse.url}) as server,
    ):
        traffic = _Traffic(server)
        threads = [threading.Thread(target=traffic.run, name=f"caller-{number}") for number in range(_CALLERS)]
        flapping = _Flapping(clickhouse, traffic.stop)
        began = time.perf_counter()
        for thread in (*threads, flapping.thread):
            thread.start()
        try:
            starts_s, samples = _watch(plan, server, began, on_progress)
        finally:
            traffic.stop.set()
            for thread in (*threads, flapping.thread):
                thread.join()
        run = _Run(time.perf_counter() - began, starts_s, flapping.outages, samples)
        on_progress("waiting for the last events")
        try:
            caught_up_s = server.wait_until_loaded()
        except TimeoutError as error:
            traffic.faults.append(str(error))
            caught_up_s = float("inf")
        return _judge(run, traffic, clickhouse, caught_up_s)


@dataclass(frozen=True)
class _Run:
    """What happened to the server."""

    seconds: float
    starts_s: Sequence[float]  # of the starts after a kill
    outages: int
    samples: Sequence[Sample]


class _Flapping:
    """Kills ClickHouse and starts it again, until it is told to stop; leaves it running."""

    def __init__(self, clickhouse: ClickHouseServer, stop: threading.Event) -> None:
        self._clickhouse, self._stop = clickhouse, stop
        self.outages = 0
        self.thread = threading.Thread(target=self._run, name="flapping")

    def _run(self) -> None:
        chance = random.Random()
        while not self._stop.wait(chance.uniform(*_UP_S)):
            self._clickhouse.kill()
            self._stop.wait(chance.uniform(*_AWAY_S))
            self._clickhouse.start()
            self.outages += 1


def _watch(
    plan: Plan, server: RunningServer, began: float, on_progress: OnProgress
) -> tuple[list[float], list[Sample]]:
    """Kill the server now and then for half of the time, then look at the one that is left."""
    starts_s: list[float] = []
    samples: list[Sample] = []
    killed, half = began, began + plan.seconds / 2
    cpu_s, at_s = read_cpu_seconds(server.pid), 0.0
    while (now := time.perf_counter()) - began < plan.seconds:
        time.sleep(min(_SAMPLE_EVERY_S, plan.seconds / 10))
        if now < half and now - killed > min(_KILLS_EVERY_S, plan.seconds / 8):
            server.process.kill()
            started = killed = time.perf_counter()
            server.process.start()
            starts_s.append(time.perf_counter() - started)
        elif now > half:
            sample = take_sample(server, now - began, at_s, cpu_s)
            cpu_s, at_s = sample.cpu_s, sample.at_s
            samples.append(sample)
        on_progress(f"{len(starts_s)} kills" + (f", {samples[-1].anonymous_mb:.0f} MB anonymous" if samples else ""))
    return starts_s, samples


def _judge(run: _Run, traffic: _Traffic, clickhouse: ClickHouseServer, caught_up_s: float) -> Chaos:
    """Hold what is stored against what was acknowledged."""
    stored = Counter(_ask(clickhouse, "SELECT event_id FROM events"))
    counts = {table: int(_ask(clickhouse, f"SELECT {count} FROM {table}")[0]) for table, count in _COUNTS.items()}
    missing, doubled = traffic.acknowledged - stored.keys(), stored.total() - len(stored)
    ledger_missing = traffic.server.read_account().missing
    faults = list(traffic.faults)
    if missing:
        faults.append(f"{len(missing)} acknowledged events are not stored")
    if doubled:
        faults.append(f"{doubled} events are stored more than once")
    if set(counts.values()) != {stored.total()}:
        faults.append(f"the tables differ: {counts}")
    if ledger_missing:
        faults.append(f"the ledger does not add up by {ledger_missing} events")
    if "Traceback" in traffic.server.process.log:
        faults.append("the server's log has a fault in it")
    window_s = min(_WINDOW_S, run.seconds / 8)
    return Chaos(
        seconds=run.seconds,
        kinds=[Kind(name, calls, traffic.sent[name], traffic.answered[name]) for name, calls in traffic.calls.items()],
        kills=len(run.starts_s),
        outages=run.outages,
        acknowledged_events=len(traffic.acknowledged),
        stored_events=counts,
        missing_events=len(missing),
        doubled_events=doubled,
        ledger_missing=ledger_missing,
        caught_up_s=caught_up_s,
        longest_start_s=max(run.starts_s, default=0.0),
        anonymous_mb_a_minute=find_slope_a_minute(run.samples),
        window_s=window_s,
        figures=[describe_figure(one, run.samples, run.samples[0].at_s - 1, window_s) for one in READINGS],
        samples=run.samples,
        faults=faults,
    )


def _ask(clickhouse: ClickHouseServer, statement: str) -> list[str]:
    """The first column of an answer of ClickHouse itself."""
    answer = httpx.post(clickhouse.url, params={"database": "millimetric"}, content=statement, timeout=60)
    answer.raise_for_status()
    return answer.text.splitlines()
