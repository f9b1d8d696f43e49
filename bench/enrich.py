"""From the bytes of a request to finished rows, on one core and without a server: µs per event, step by step."""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from bench.stream import EventStream, read_agents, to_json_batch
from millimetric_server.api.call import Call, RpcSpec
from millimetric_server.api.messages import BatchRequest
from millimetric_server.doors.codecs.json import JsonDecoder
from millimetric_server.enrich.pipeline import STEPS, EnrichmentContext, EventBuilder, enrich
from millimetric_server.enrich.user_agent import NO_HINTS
from millimetric_server.ingest.batch import check_batch

_DAY_US = 86_400_000_000
_decode = JsonDecoder(BatchRequest).decode


class EnrichResult(msgspec.Struct, frozen=True):
    """Microseconds per event, the median of all requests; `steps_us` parts `total_us` up."""

    stream: str  # warm or cold
    events_a_request: int
    requests: int
    total_us: float
    steps_us: dict[str, float]

    @property
    def events_a_second(self) -> float:
        """What one core does when it does nothing else."""
        return 1e6 / self.total_us


def measure(
    stream: str,
    events_a_request: int,
    seconds: float,
    find_country: Callable[[str], str],
    on_progress: Callable[[float], None] = lambda _share: None,
) -> EnrichResult:
    """Take requests through decoding, validation and enrichment for so long.

    The warm stream repeats visitors as traffic does, and has run before; in the cold one no url, referrer,
    agent or address comes twice, so that no cache helps.
    """
    is_cold = stream == "cold"
    source = EventStream(distinct=is_cold, agents=read_agents())
    context = _make_context(find_country)
    repeated = [to_json_batch(source.take(events_a_request)) for _ in range(max(20_000 // events_a_request, 2))]
    for body in repeated:
        _take_whole(body, context)
    totals: list[float] = []
    steps: dict[str, list[float]] = {}
    began = time.perf_counter()
    while (spent := time.perf_counter() - began) < seconds:
        on_progress(spent / seconds)
        bodies = _next_bodies(source, events_a_request) if is_cold else repeated
        totals += [_take_whole(body, context) / events_a_request for body in bodies]
        for body in _next_bodies(source, events_a_request) if is_cold else repeated:
            for name, spent_us in _take_apart(body, context):
                steps.setdefault(name, []).append(spent_us / events_a_request)
    return EnrichResult(
        stream=stream,
        events_a_request=events_a_request,
        requests=len(totals),
        total_us=statistics.median(totals),
        steps_us={name: statistics.median(spans) for name, spans in steps.items()},
    )


def _next_bodies(source: EventStream, events_a_request: int) -> Sequence[bytes]:
    bodies = [to_json_batch(source.take(events_a_request)) for _ in range(max(2000 // events_a_request, 1))]
    gc.collect()
    return bodies


def _take_whole(body: bytes, context: EnrichmentContext) -> float:
    began = time.perf_counter_ns()
    checked = check_batch(_decode(body), _make_call(context.received_at))  # type: ignore[arg-type]
    rows = [enrich(event, context) for event in checked.events]  # type: ignore[arg-type]
    spent = (time.perf_counter_ns() - began) / 1000
    assert len(rows) == len(checked.events)
    return spent


def _take_apart(body: bytes, context: EnrichmentContext) -> list[tuple[str, float]]:
    """The same step by step, each over all events of the request; the rest is what `enrich` adds around them."""
    spans: list[tuple[str, float]] = []

    def timed(name: str, action: Callable[[], Any]) -> Any:
        began = time.perf_counter_ns()
        result = action()
        spans.append((name, (time.perf_counter_ns() - began) / 1000))
        return result

    request = timed("decode", lambda: _decode(body))
    checked = timed("validate", lambda: check_batch(request, _make_call(context.received_at)))
    builders = timed("builder", lambda: [EventBuilder(event, context) for event in checked.events])
    for step in STEPS:

        def run(step: Callable[[EventBuilder, EnrichmentContext], None] = step) -> None:
            for builder in builders:
                step(builder, context)

        timed(step.__name__, run)
    return spans


def _make_call(received_at: int) -> Call:
    return Call(RpcSpec("IngestService", "Batch", frozenset()), "bench", {}, "192.0.2.1", received_at, "")


def _make_context(find_country: Callable[[str], str]) -> EnrichmentContext:
    now = time.time_ns() // 1000
    return EnrichmentContext(
        project_id="prj_benchmark",
        rule_set="standard-2",
        retention_days=365,
        ignored_hosts=frozenset(),
        kept_parameters=frozenset(),
        own_hosts=frozenset({"www.example.com"}),
        is_public_key=False,
        is_secret_key=True,
        received_at=now,
        day=time.strftime("%Y-%m-%d", time.gmtime(now // 1_000_000)),
        ip="192.0.2.1",
        user_agent="",
        hints=NO_HINTS,
        ip_salt=b"a salt that is only for benchmarks",
        identity_key=b"a key that is only for benchmarks",
        find_country=find_country,
    )
