"""The benchmarks' command line."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench import h2load, tables
from bench.machine import Machine, describe_machine, share_cores
from bench.results import Table, write_results

_CONSOLE = Console() if sys.stdout.isatty() else Console(width=160)
_data_dir = click.option(
    "--data-dir",
    default="./var/bench",
    show_default=True,
    help="Folder for the servers' data; emptied afterwards. On a real disk, else the durable commit costs nothing.",
)
_seconds = click.option(
    "--seconds",
    type=click.FloatRange(0.5, 300),
    default=5.0,
    show_default=True,
    help="Length of each load, after a warm-up.",
)
_repeats = click.option(
    "--repeats", type=click.IntRange(1, 20), default=3, show_default=True, help="Rounds; the medians are shown."
)
_cores = click.option(
    "--server-cores",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Cores of the server; the load generator gets the next one.",
)
_generator = click.option(
    "--generator",
    type=click.Choice(["python", "h2load", "both"]),
    default="python",
    show_default=True,
    help="Who makes the load. h2load (Debian: nghttp2-client) costs less CPU and sends one and the same event.",
)
_save = click.option("--save/--no-save", default=True, help="Write bench/results/ and docs/benchmarks.md.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    r"""Measure Millimetric on this machine, over loopback only.

    Every command starts what it needs, ends it, and takes a bounded time: about
    (lines of its table) x (repeats) x (seconds). Figures of a busy machine say little:
    the load average stands beside them, and the medians of several rounds are shown.

    \b
      python -m bench ingest               writes over gRPC and REST, with baselines
      python -m bench enrich               from a request's bytes to finished rows
      python -m bench grpc-servers         grpcio's threaded server against grpc.aio
    """


@main.command()
@_data_dir
@_seconds
@_repeats
@_cores
@_generator
@_save
@click.option("--ids/--no-ids", default=False, help="Whether events carry an event_id, so that each is looked up.")
@click.option("--baselines/--no-baselines", default=True, help="Also measure servers that only parse and answer.")
def ingest(*, ids: bool, baselines: bool, save: bool, **options: Any) -> None:
    """Track and Batch, acknowledged as durable, with all guards and enrichment on.

    Afterwards Stats must count exactly what was acknowledged, or the run fails.
    """
    from bench.ingest import count_runs, measure_baseline, measure_server

    plan, machine = _make_plan(gives_ids=ids, **options), describe_machine()
    with _Steps("ingest", count_runs(plan, with_baselines=baselines)) as advance:
        measures = measure_server(plan, advance)
        if baselines:
            measures += measure_baseline("parse", plan, advance) + measure_baseline("commit", plan, advance)
    name = "ingest-with-ids" if ids else "ingest"
    _finish(name, machine, tables.make_ingest_tables(measures), measures, save=save)


@main.command()
@_seconds
@_save
@click.option(
    "--geoip-db", default="", help="A country database (.mmdb). Without one, `locate` answers nothing, at no cost."
)
def enrich(*, seconds: float, save: bool, geoip_db: str) -> None:
    """From a request's bytes to finished rows, on one core: µs per event, and per step."""
    from bench.enrich import measure
    from millimetric_server.enrich.geo import CountryReader

    machine, results = describe_machine(), []
    find_country = CountryReader(Path(geoip_db) if geoip_db else None).country
    runs = [(stream, events) for stream in ("warm", "cold") for events in (100, 1000)]
    os.sched_setaffinity(0, share_cores().generator)
    with _Steps("enrich", len(runs)) as advance:
        for stream, events in runs:
            advance(f"{stream}, requests of {events}")
            results.append(measure(stream, events, seconds, find_country))
    _finish("enrich", machine, tables.make_enrich_tables(results), results, save=save)


@main.command("grpc-servers")
@_data_dir
@_seconds
@_repeats
@_cores
@_generator
@_save
def grpc_servers(*, save: bool, **options: Any) -> None:
    """Grpcio's threaded server against grpc.aio on uvloop, our handlers and the durable commit behind both."""
    from bench.compare_grpc_servers import KINDS, SCENARIOS, measure_servers

    plan, machine = _make_plan(gives_ids=False, **options), describe_machine()
    with _Steps("grpc-servers", len(KINDS) * len(SCENARIOS) * plan.repeats) as advance:
        measures = measure_servers(plan, advance)
    _finish("grpc-servers", machine, tables.make_server_tables(measures), measures, save=save)


def _make_plan(
    *, seconds: float, repeats: int, data_dir: str, server_cores: int, generator: str, gives_ids: bool
) -> Any:
    from bench.ingest import Plan

    cores = share_cores(server_cores)
    if not cores.are_apart:
        _CONSOLE.print("[yellow]Server and load generator share a core: latencies are those of both.")
    if generator != "python" and not h2load.is_installed():
        raise click.ClickException("h2load is not installed; on Debian: apt-get install nghttp2-client")
    os.sched_setaffinity(0, cores.generator)
    return Plan(seconds, repeats, data_dir, cores, gives_ids, generator)


class _Steps:
    """A progress bar over a known number of steps."""

    def __init__(self, name: str, total: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=_CONSOLE,
            transient=True,
        )
        self._task = self._progress.add_task(name, total=total)

    def __enter__(self) -> Callable[[str], None]:
        self._progress.start()
        return self._advance

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def _advance(self, what: str) -> None:
        self._progress.update(self._task, description=what, advance=1)


def _finish(name: str, machine: Machine, shown: Sequence[Table], data: Any, *, save: bool) -> None:
    for table in shown:
        _CONSOLE.print(tables.to_rich(table))
    load_after = round(os.getloadavg()[0], 2)
    _CONSOLE.print(f"load average {machine.load_before} before, {load_after} after")
    if save:
        path = write_results(name, machine, load_after, shown, data)
        _CONSOLE.print(f"written: bench/results/{path.name} and .json")


if __name__ == "__main__":
    main(prog_name="python -m bench")
