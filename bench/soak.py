"""What a long run does to the server: memory, files, threads and the journal, under a load that it can bear."""

import contextlib
import http.client
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec

from bench.ingest import make_targets
from bench.load import Target
from bench.machine import Cores, read_cpu_seconds
from bench.paced import Answers, Caller, PacedLoad
from bench.process import READINGS, Figure, Sample, describe_figure, find_slope_a_minute, take_sample
from bench.server import CLICKHOUSE_URL, RunningServer, clickhouse_server, millimetric_server

_SAMPLE_EVERY_S = 5.0
_SAMPLES_MIN = 12  # a short run samples more often
_WARM_UP_S = 30.0
_WINDOW_S = 60.0  # "first minute" and "last minute"
# About 2,900 events a second, and less than half of a core of the server: then the loader keeps up.
_GRPC_TRACK_CALLERS, _GRPC_TRACKS_A_SECOND = 4, 60.0
_REST_TRACKS_A_SECOND = 120.0
_BATCHES_A_SECOND = 2.5
OnProgress = Callable[[str], None]


class SoakError(Exception):
    """The run came to no end: the server is gone, or answers no more."""


class Plan(msgspec.Struct, frozen=True):
    """How long to run, and on what."""

    minutes: float
    store: str  # chdb or http
    data_parent: str
    cores: Cores

    @property
    def seconds(self) -> float:
        """The length of the load."""
        return self.minutes * 60

    @property
    def sample_every_s(self) -> float:
        """Seconds from one look at the process to the next."""
        return min(_SAMPLE_EVERY_S, self.seconds / _SAMPLES_MIN)

    @property
    def warm_up_s(self) -> float:
        """What is not counted among the first minute and the median."""
        return min(_WARM_UP_S, self.seconds / 6)

    @property
    def window_s(self) -> float:
        """The length of the first and the last "minute", which are shorter in a short run."""
        return min(_WINDOW_S, self.seconds / 4)


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What one kind of call came to over the whole run."""

    door: str
    rpc: str
    callers: int
    events_a_second: float
    answers: Answers


class Soak(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run."""

    store: str
    seconds: float
    warm_up_s: float
    window_s: float
    acknowledged_events: int
    loaded_after_s: float | None  # None: never
    anonymous_mb_a_minute: float
    sent: Sequence[Sent]
    figures: Sequence[Figure]
    samples: Sequence[Sample]
    faults: Sequence[str]


def count_samples(plan: Plan) -> int:
    """How many samples a whole run takes."""
    return round(plan.seconds / plan.sample_every_s)


def measure(plan: Plan, on_progress: OnProgress) -> Soak:
    """Load a real server for as long as planned and look at its process meanwhile."""
    with _start_server(plan) as server:
        made = make_targets(server.process.grpc_address, server.http_address, server.keys.secret, gives_ids=False)
        named = make_targets(server.process.grpc_address, server.http_address, server.keys.secret, gives_ids=True)
        grpc_track, rest_track, grpc_batch = made["grpc", "Track"], made["rest", "Track"], named["grpc", "Batch"]
        callers = [
            *[Caller(grpc_track, _GRPC_TRACKS_A_SECOND)] * _GRPC_TRACK_CALLERS,
            Caller(rest_track, _REST_TRACKS_A_SECOND),
            Caller(grpc_batch, _BATCHES_A_SECOND),
        ]
        began = time.perf_counter()
        with PacedLoad(callers) as load:
            samples = list(_sample(server, plan, began, on_progress))
        seconds = time.perf_counter() - began
        sent = [
            _describe_sent(load, grpc_track, "Track", _GRPC_TRACK_CALLERS, seconds),
            _describe_sent(load, rest_track, "Track", 1, seconds),
            _describe_sent(load, grpc_batch, "Batch", 1, seconds),
        ]
        loaded_after_s, faults = server.settle(load.acknowledged)
    for one in sent:
        if one.answers.errors or not one.answers.calls:
            what = f"{one.rpc} over {one.door}"
            faults.append(f"{what}: {one.answers.errors} calls failed, first: {one.answers.first_error}")
    if any(sample.missing_events for sample in samples):
        faults.append("a sample's ledger did not add up while the load ran")
    return Soak(
        store=plan.store,
        seconds=seconds,
        warm_up_s=plan.warm_up_s,
        window_s=plan.window_s,
        acknowledged_events=load.acknowledged,
        loaded_after_s=loaded_after_s,
        anonymous_mb_a_minute=find_slope_a_minute(samples),
        sent=sent,
        figures=[describe_figure(reading, samples, plan.warm_up_s, plan.window_s) for reading in READINGS],
        samples=samples,
        faults=faults,
    )


@contextlib.contextmanager
def _start_server(plan: Plan) -> Iterator[RunningServer]:
    with contextlib.ExitStack() as stack:
        environ = {}
        if plan.store == "http":
            environ[CLICKHOUSE_URL] = stack.enter_context(clickhouse_server(plan.data_parent)).url
        yield stack.enter_context(millimetric_server(plan.data_parent, plan.cores, environ))


def _sample(server: RunningServer, plan: Plan, began: float, on_progress: OnProgress) -> Iterator[Sample]:
    cpu_s, at_s = read_cpu_seconds(server.pid), 0.0
    for number in range(1, count_samples(plan) + 1):
        time.sleep(max(began + number * plan.sample_every_s - time.perf_counter(), 0))
        try:
            sample = take_sample(server, time.perf_counter() - began, at_s, cpu_s)
        except (OSError, http.client.HTTPException) as error:
            log = "\n  ".join(server.process.log.splitlines()[-5:])
            raise SoakError(f"the server does not answer: {error}; its log ends:\n  {log}") from error
        cpu_s, at_s = sample.cpu_s, sample.at_s
        on_progress(f"{sample.anonymous_mb:.0f} MB anonymous, {sample.waiting_events} events wait")
        yield sample


def _describe_sent(load: PacedLoad, target: Target, rpc: str, callers: int, seconds: float) -> Sent:
    answers = load.describe(target)
    events_a_second = answers.calls * target.events_a_call / seconds
    return Sent(door=target.door, rpc=rpc, callers=callers, events_a_second=events_a_second, answers=answers)
