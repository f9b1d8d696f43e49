"""What one project's heavy reads cost another: its Track and its light Stats, without and beside 50 heavy reads."""

import datetime as dt
import itertools
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Self

import grpc
import msgspec
from tests.support.server_process import ProjectKeys, ServerProcess

from bench.apart import OnProgress, run_apart
from bench.direct import RPCS
from bench.history import DAY_S, Order, make_history
from bench.ingest import make_targets
from bench.load import Target, find_quantile
from bench.paced import Answers, Caller, PacedLoad
from bench.server import ENVIRON, RunningServer, make_settings, temporary_data_dir
from millimetric_server.api.messages import Filter, FilterOp, Instant, StatsRequest
from millimetric_server.doors.codecs.proto import encode_proto

HEAVY_CALLERS = 50
_TRACKS_A_SECOND, _STATS_EVERY_S = 100.0, 0.5
_TIMEOUT_S = 120
_CALM_S = 12.0  # the longest that a read of before may still run, and then some
_RETRY_S = 2.0  # what the server asks of whoever is refused
_STATS = RPCS["Stats"]


class Plan(msgspec.Struct, frozen=True):
    """How to measure."""

    events: int
    seconds: float
    repeats: int
    data_parent: str


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table: the modest project's calls, quiet or beside the greedy project's reads."""

    is_busy: bool
    track: Answers
    stats_calls: int
    stats_p50_ms: float
    stats_max_ms: float
    heavy: dict[str, int]  # what became of the greedy project's reads


class Sharing(msgspec.Struct, frozen=True):
    """The phases, quiet and busy in turns."""

    phases: Sequence[Phase]

    @property
    def track_p99_ratio(self) -> float:
        """The median of the busy phases' p99 as a multiple of the quiet ones'."""
        quiet, busy = ([one.track.p99_ms for one in self.phases if one.is_busy is kind] for kind in (False, True))
        return statistics.median(busy) / statistics.median(quiet)


def measure(plan: Plan, on_progress: OnProgress) -> Sharing:
    """Make a history of the greedy project, then measure in turns."""
    with temporary_data_dir(plan.data_parent) as folder:
        process = ServerProcess(environ=dict(ENVIRON), data_dir=folder.resolve())
        greedy, modest = process.create_project("greedy"), process.create_project("modest")
        settings = make_settings(str(process.data_dir))
        midnight = int(dt.datetime.now(dt.UTC).timestamp()) // DAY_S * DAY_S
        url, database = settings.resolved_clickhouse_url, settings.clickhouse_database
        run_apart(make_history, Order(url, database, greedy.project_id, plan.events, midnight), on_progress=on_progress)
        process.start()
        try:
            return Sharing(list(_measure(RunningServer(process, modest), greedy, midnight, plan, on_progress)))
        finally:
            process.stop()


def _measure(
    server: RunningServer, greedy: ProjectKeys, end_s: int, plan: Plan, on_progress: OnProgress
) -> Iterator[Phase]:
    address = server.process.grpc_address
    track = make_targets(address, server.http_address, server.keys.secret, gives_ids=False)["grpc", "Track"]
    light = _ask(server.process, server.keys, StatsRequest())
    with PacedLoad([Caller(track, _TRACKS_A_SECOND / 2)] * 2) as load:
        time.sleep(2.0)  # warm
        for number in range(plan.repeats):
            for is_busy in (False, True):
                on_progress("busy" if is_busy else "quiet", 2 * number + is_busy, 2 * plan.repeats)
                with _HeavyReads(address, greedy, end_s, HEAVY_CALLERS if is_busy else 0) as reads:
                    yield _measure_phase(load, track, light, plan.seconds, reads.outcomes, is_busy=is_busy)
                if is_busy:
                    time.sleep(_CALM_S)


def _measure_phase(
    load: PacedLoad,
    track: Target,
    light: Callable[[], object],
    seconds: float,
    outcomes: Counter[str],
    *,
    is_busy: bool,
) -> Phase:
    began = time.perf_counter()
    latencies = []
    while time.perf_counter() < began + seconds:
        asked = time.perf_counter()
        light()
        latencies.append((time.perf_counter() - asked) * 1000)
        time.sleep(_STATS_EVERY_S)
    latencies.sort()
    return Phase(
        is_busy=is_busy,
        track=load.describe(track, began, time.perf_counter()),
        stats_calls=len(latencies),
        stats_p50_ms=find_quantile(latencies, 0.5),
        stats_max_ms=latencies[-1],
        heavy=dict(outcomes),
    )


class _HeavyReads:
    """Callers that each have one heavy read under way, until the block ends."""

    def __init__(self, address: str, keys: ProjectKeys, end_s: int, callers: int) -> None:
        self.outcomes: Counter[str] = Counter()
        self._numbers = itertools.count()
        self._end_s = end_s
        self._metadata = (("authorization", f"Bearer {keys.read}"),)
        self._channel = grpc.insecure_channel(address, (("grpc.use_local_subchannel_pool", 1),))
        self._call = self._channel.unary_unary(_STATS.path, bytes, bytes)
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(callers)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._channel.close()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                self._call(self._make_question(), timeout=_TIMEOUT_S, metadata=self._metadata)
            except (grpc.RpcError, ValueError) as error:  # a closed channel is a ValueError
                if self._is_over.is_set():
                    return
                code = error.code().name if isinstance(error, grpc.RpcError) else "CLOSED"
                self.outcomes[code] += 1
                self._is_over.wait(_RETRY_S)
            else:
                self.outcomes["OK"] += 1

    def _make_question(self) -> bytes:
        """A part of a text in the properties of every event; each time another, so that nothing is remembered."""
        needle = Filter("properties.product_id", FilterOp.CONTAINS, [f"no-{next(self._numbers)}"])
        start = Instant((self._end_s - 120 * DAY_S) * 1_000_000)
        return encode_proto(StatsRequest(from_=start, filter=[needle]))


def _ask(process: ServerProcess, keys: ProjectKeys, request: StatsRequest) -> Callable[[], object]:
    channel = grpc.insecure_channel(process.grpc_address, (("grpc.use_local_subchannel_pool", 1),))
    call, body = channel.unary_unary(_STATS.path, bytes, bytes), encode_proto(request)
    return lambda: call(body, timeout=_TIMEOUT_S, metadata=(("authorization", f"Bearer {keys.read}"),))
