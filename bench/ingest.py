"""What writing costs: Track and Batch over gRPC and REST, at the durable ack, with all guards and enrichment on."""

import contextlib
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from bench import h2load
from bench.load import Load, Target, run_load
from bench.machine import Cores, read_cpu_seconds
from bench.server import helper_process, millimetric_server, temporary_data_dir
from bench.stream import (
    EventStream,
    number_bodies,
    to_json,
    to_json_batch,
    to_proto,
    to_proto_batch,
    with_ids,
)

_TRACK, _BATCH = "/millimetric.v1.IngestService/Track", "/millimetric.v1.IngestService/Batch"
_BATCH_EVENTS = 1000
_WARM_UP_S = 1.0
OnProgress = Callable[[str], None]
Event = dict[str, Any]


class Scenario(msgspec.Struct, frozen=True):
    """One line of the table."""

    door: str
    rpc: str
    callers: int


SCENARIOS = (
    Scenario("grpc", "Track", 1),
    Scenario("grpc", "Track", 32),
    Scenario("grpc", "Batch", 1),
    Scenario("grpc", "Batch", 4),
    Scenario("rest", "Track", 1),
    Scenario("rest", "Track", 32),
    Scenario("rest", "Batch", 1),
    Scenario("rest", "Batch", 4),
)
BASELINES = tuple(scenario for scenario in SCENARIOS if scenario.door == "grpc")


class Measure(msgspec.Struct, kw_only=True):
    """Figures of one load; of repeated loads the medians."""

    server: str  # millimetric, or the baselines `parse` and `parse + commit`
    door: str
    rpc: str
    callers: int
    generator: str
    p50_ms: float
    p99_ms: float
    max_ms: float
    calls_a_second: float
    events_a_second: float
    loaded_a_second: float | None  # events that were also in ClickHouse, counted until the last one was
    server_cpu_s_per_10k_events: float  # until the last one is in ClickHouse
    server_cores: float  # CPU seconds of the server per second of the load
    generator_cores: float
    errors: int
    repeats: int = 1


class Plan(msgspec.Struct, frozen=True):
    """How to measure."""

    seconds: float
    repeats: int
    data_parent: str
    cores: Cores
    gives_ids: bool
    generator: str  # python, h2load or both


class IngestError(Exception):
    """A call failed, or what is stored is not what was acknowledged: then no figure means anything."""


def make_targets(address: str, http_address: str, key: str, *, gives_ids: bool) -> dict[tuple[str, str], Target]:
    """The bodies of every door and RPC, made once."""
    source = EventStream()
    events, batches = source.take(256), [source.take(_BATCH_EVENTS) for _ in range(4)]

    def name_ids(door: str) -> tuple[Sequence[Event], Sequence[Sequence[Event]]]:
        """Ids of one door are not those of another, else its events would be duplicates and cost less."""
        if not gives_ids:
            return events, batches
        named = [with_ids([event], f"{door}-t{index}")[0] for index, event in enumerate(events)]
        return named, [with_ids(batch, f"{door}-b{index}") for index, batch in enumerate(batches)]

    grpc_events, grpc_batches = name_ids("grpc")
    rest_events, rest_batches = name_ids("rest")
    return {
        ("grpc", "Track"): Target("grpc", address, _TRACK, key, list(map(to_proto, grpc_events))),
        ("grpc", "Batch"): Target("grpc", address, _BATCH, key, list(map(to_proto_batch, grpc_batches)), _BATCH_EVENTS),
        ("rest", "Track"): Target("rest", http_address, "/v1/track", key, list(map(to_json, rest_events))),
        ("rest", "Batch"): Target(
            "rest", http_address, "/v1/batch", key, list(map(to_json_batch, rest_batches)), _BATCH_EVENTS
        ),
    }


def measure_server(plan: Plan, on_progress: OnProgress) -> list[Measure]:
    """Load a real server with every scenario, and check at the end of each that what it answered is stored once."""
    measures = []
    with millimetric_server(plan.data_parent, plan.cores) as server:
        address, key = server.process.grpc_address, server.keys.secret
        targets = make_targets(address, server.http_address, key, gives_ids=plan.gives_ids)
        # One sequence of bodies for the whole run, so that no id comes twice.
        bodies_of = {name: number_bodies(target.bodies) for name, target in targets.items()}
        acknowledged = 0
        for _, scenario, generator in _list_runs(plan, SCENARIOS):
            on_progress(f"{scenario.rpc} over {scenario.door}, {scenario.callers} callers, {generator}")
            target = targets[scenario.door, scenario.rpc]
            bodies = bodies_of[scenario.door, scenario.rpc]
            warm_up = run_load(target, scenario.callers, _WARM_UP_S, bodies)
            server.wait_until_loaded()
            cpu_before = read_cpu_seconds(server.pid)
            load = run_with(generator, target, scenario.callers, plan.seconds, bodies, warm_up)
            cpu_while_acked = read_cpu_seconds(server.pid)
            loaded_in_s = load.seconds + server.wait_until_loaded()
            cpu_s = read_cpu_seconds(server.pid) - cpu_before
            acknowledged += (warm_up.calls + load.calls) * target.events_a_call
            if (stored := server.count_events()) != acknowledged:
                raise IngestError(f"{acknowledged} events were acknowledged and {stored} are stored")
            measure = describe_load("millimetric", scenario, target, load, cpu_s)
            measure.server_cores = (cpu_while_acked - cpu_before) / load.seconds
            measure.loaded_a_second = load.calls * target.events_a_call / loaded_in_s
            measures.append(measure)
    return take_medians(measures)


def measure_baseline(kind: str, plan: Plan, on_progress: OnProgress) -> list[Measure]:
    """Load a server that does less: what remains is the price of our own work."""
    measures = []
    with _baseline(kind, plan) as (pid, address):
        targets = make_targets(address, "", "", gives_ids=plan.gives_ids)
        for _, scenario, generator in _list_runs(plan, BASELINES):
            on_progress(f"baseline {kind}: {scenario.rpc}, {scenario.callers} callers, {generator}")
            target = targets[scenario.door, scenario.rpc]
            warm_up = run_load(target, scenario.callers, _WARM_UP_S)
            cpu_before = read_cpu_seconds(pid)
            bodies = number_bodies(target.bodies)
            load = run_with(generator, target, scenario.callers, plan.seconds, bodies, warm_up)
            name = "parse" if kind == "parse" else "parse + commit"
            measures.append(describe_load(name, scenario, target, load, read_cpu_seconds(pid) - cpu_before))
    return take_medians(measures)


def count_runs(plan: Plan, *, with_baselines: bool) -> int:
    """How many loads a whole run makes."""
    runs = len(_list_runs(plan, SCENARIOS))
    return runs + 2 * len(_list_runs(plan, BASELINES)) if with_baselines else runs


def take_medians(measures: Sequence[Measure]) -> list[Measure]:
    """One line for each scenario: the median of each figure over the repeats."""
    groups: dict[tuple[str, str, str, int, str], list[Measure]] = {}
    for measure in measures:
        name = (measure.server, measure.door, measure.rpc, measure.callers, measure.generator)
        groups.setdefault(name, []).append(measure)
    return [_take_median(group) for group in groups.values()]


def _take_median(group: Sequence[Measure]) -> Measure:
    figures = {}
    for name in Measure.__struct_fields__:
        values = [getattr(one, name) for one in group]
        if all(isinstance(value, float) for value in values):
            figures[name] = statistics.median(values)
    errors = sum(one.errors for one in group)
    return msgspec.structs.replace(group[0], **figures, errors=errors, repeats=len(group))


@contextlib.contextmanager
def _baseline(kind: str, plan: Plan) -> Iterator[tuple[int, str]]:
    with temporary_data_dir(plan.data_parent) as folder:
        arguments = [kind, str(folder / "baseline.db")] if kind == "commit" else [kind]
        with helper_process("bench.baseline", arguments, plan.cores) as (pid, words):
            yield pid, f"127.0.0.1:{words[0]}"


def _list_runs(plan: Plan, scenarios: Sequence[Scenario]) -> list[tuple[int, Scenario, str]]:
    """Each scenario by each generator, the whole list as often as asked. h2load sends one body: only without ids."""
    wants_h2load = plan.generator in ("h2load", "both") and not plan.gives_ids and h2load.is_installed()
    runs = []
    for repeat in range(plan.repeats):
        for scenario in scenarios:
            if plan.generator != "h2load" or not wants_h2load or scenario.rpc == "Batch":
                runs.append((repeat, scenario, "python"))
            if wants_h2load and scenario.rpc == "Track":
                runs.append((repeat, scenario, "h2load"))
    return runs


def run_with(
    generator: str, target: Target, callers: int, seconds: float, bodies: Iterator[bytes], warm_up: Load
) -> Load:
    """Load a target by the named generator; h2load is told a number of calls, by what the warm-up reached."""
    if generator == "h2load":
        return h2load.run_h2load(target, callers, max(int(warm_up.calls / warm_up.seconds * seconds), callers))
    return run_load(target, callers, seconds, bodies)


def describe_load(server: str, scenario: Scenario, target: Target, load: Load, cpu_s: float) -> Measure:
    """Turn a load into the figures of its line. Raises IngestError if a call failed or none was made."""
    if load.errors or not load.calls:
        what = f"{scenario.rpc} over {scenario.door} with {scenario.callers} callers on {server}"
        raise IngestError(f"{what}: {load.errors} calls failed, {load.calls} did not; first: {load.first_error}")
    events = load.calls * target.events_a_call
    return Measure(
        server=server,
        door=scenario.door,
        rpc=scenario.rpc,
        callers=scenario.callers,
        generator=load.generator,
        p50_ms=load.quantile_ms(0.5),
        p99_ms=load.quantile_ms(0.99),
        max_ms=load.max_ms,
        calls_a_second=load.calls / load.seconds,
        events_a_second=load.calls * target.events_a_call / load.seconds,
        loaded_a_second=None,
        server_cpu_s_per_10k_events=cpu_s / events * 10_000,
        server_cores=cpu_s / load.seconds,
        generator_cores=load.generator_cpu_s / load.seconds,
        errors=load.errors,
    )
