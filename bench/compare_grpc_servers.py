"""Which of grpcio's servers carries our calls better, with the durable commit in the path (docs/adr/0002)."""

from collections.abc import Callable

from bench.ingest import Measure, Plan, Scenario, describe_load, make_targets, run_with, take_medians
from bench.load import run_load
from bench.machine import read_cpu_seconds
from bench.server import helper_process, temporary_data_dir
from bench.stream import number_bodies

KINDS = ("sync", "aio")
SCENARIOS = (Scenario("grpc", "Track", 1), Scenario("grpc", "Track", 32), Scenario("grpc", "Batch", 1))
_WARM_UP_S = 1.5


def measure_servers(plan: Plan, on_progress: Callable[[str], None]) -> list[Measure]:
    """Load both by turns, each a fresh process with the same journal, loader and engine behind it."""
    measures: list[Measure] = []
    for _ in range(plan.repeats):
        for kind in KINDS:
            measures += _measure_one(kind, plan, on_progress)
    return take_medians(measures)


def _measure_one(kind: str, plan: Plan, on_progress: Callable[[str], None]) -> list[Measure]:
    measures = []
    with (
        temporary_data_dir(plan.data_parent) as folder,
        helper_process("bench.grpc_doors", [kind, str(folder)], plan.cores) as (pid, (port, key)),
    ):
        targets = make_targets(f"127.0.0.1:{port}", "", key, gives_ids=plan.gives_ids)
        for scenario in SCENARIOS:
            generator = plan.generator if scenario.rpc == "Track" else "python"
            on_progress(f"grpc {kind}: {scenario.rpc}, {scenario.callers} callers, {generator}")
            target = targets[scenario.door, scenario.rpc]
            bodies = number_bodies(target.bodies)
            warm_up = run_load(target, scenario.callers, _WARM_UP_S, bodies)
            cpu_before = read_cpu_seconds(pid)
            load = run_with(generator, target, scenario.callers, plan.seconds, bodies, warm_up)
            measures.append(describe_load(kind, scenario, target, load, read_cpu_seconds(pid) - cpu_before))
    return measures
