"""The benchmarks' command line."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)

from bench import h2load, tables
from bench.machine import Cores, Machine, describe_machine, share_cores
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
    """Measure Millimetric on this machine, over loopback only.

    Every command starts what it needs, ends it, and takes a bounded time: about
    (lines of its table) x (repeats) x (seconds). Figures of a busy machine say little:
    the load average stands beside them, and the medians of several rounds are shown.

    \b
      python -m bench ingest               writes over gRPC and REST, with baselines
      python -m bench enrich               from a request's bytes to finished rows
      python -m bench grpc-servers         grpcio's threaded server against grpc.aio
      python -m bench soak                 memory, files and the journal over a long run
      python -m bench outage               what callers see while ClickHouse is away
      python -m bench chaos                impatient callers, outages and kills
      python -m bench fuzz                 inputs that nobody would write
      python -m bench reads                questions about ten million events
      python -m bench sharing              what one project's heavy reads cost another
      python -m bench syncs                what it costs that ClickHouse's copy is on the disk
    """  # noqa: D301 - \b is click's mark for a block that is not wrapped


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


@main.command()
@click.option(
    "--minutes",
    type=click.FloatRange(0.2, 60),
    default=10.0,
    show_default=True,
    help="Length of the load. A leak shows only in a run of many minutes.",
)
@_data_dir
@click.option(
    "--store",
    type=click.Choice(["chdb", "http"]),
    default="chdb",
    show_default=True,
    help="The embedded engine, whose memory is the server's, or a ClickHouse server in a process of its own.",
)
@_cores
@_save
def soak(*, minutes: float, data_dir: str, store: str, server_cores: int, save: bool) -> None:
    """Run a mixed load of about 2,900 events a second for minutes, and watch the server's process.

    Track over gRPC and REST and Batch with ids, with pauses, so that the loader keeps up. Every
    5 s a sample: memory, open files, threads, what waits in the journal, its size on disk, CPU.

    Fails if a call fails, the journal does not become empty, Stats does not count exactly what was
    acknowledged or the ledger of /metrics does not add up. Memory and files are for you to judge:
    anonymous memory that still grows in the last two thirds is the sign of a leak.
    """
    from bench.soak import Plan, SoakError, count_samples, measure

    plan, machine = Plan(minutes, store, data_dir, _take_cores(server_cores)), describe_machine()
    try:
        with _Steps("soak", count_samples(plan)) as advance:
            result = measure(plan, advance)
    except SoakError as error:
        raise click.ClickException(str(error)) from error
    name = "soak" if store == "chdb" else f"soak-{store}"
    _finish(name, machine, tables.make_soak_tables(result), result, save=save, faults=result.faults)


@main.command()
@click.option(
    "--away-s",
    type=click.FloatRange(1, 300),
    default=30.0,
    show_default=True,
    help="Seconds for which ClickHouse is away, in each of the two rounds.",
)
@_data_dir
@_cores
@_save
def outage(*, away_s: float, data_dir: str, server_cores: int, save: bool) -> None:
    """Take ClickHouse away under 400 Track calls a second, and bring it back.

    First it is killed after 10 s and started again; then a server starts against a port that
    accepts connections and never answers, until ClickHouse takes its place. After each return the
    load runs for 10 s more. Takes about 60 s and twice --away-s.

    Fails if a call fails, a read is not refused while ClickHouse is away, or Stats does not count
    exactly what was acknowledged.
    """
    from bench.outage import STEPS, Plan, measure

    plan, machine = Plan(away_s, data_dir, _take_cores(server_cores)), describe_machine()
    with _Steps("outage", STEPS) as advance:
        result = measure(plan, advance)
    _finish("outage", machine, tables.make_outage_tables(result), result, save=save, faults=result.faults)


@main.command()
@click.option(
    "--minutes", type=click.FloatRange(0.5, 120), default=30.0, show_default=True, help="Length of the whole run."
)
@_data_dir
@_cores
@_save
def chaos(*, minutes: float, data_dir: str, server_cores: int, save: bool) -> None:
    """Call impatiently at every door while ClickHouse comes and goes and the server is killed.

    Eight callers make Track, Batch, TrackStream and Funnel calls over REST, Connect, gRPC-Web and
    gRPC, with deadlines of 1 to 50 ms or hanging up at a random moment, and repeat half of those
    that got no answer. ClickHouse is killed every few seconds; in the first half of the run the
    server too (-9), every 40 s. In the second half its memory and files are watched.

    Fails if an acknowledged event is missing, one is stored twice, the five tables or the ledger
    differ, or the server's log has a fault in it.
    """
    from bench.chaos import Plan, count_steps, measure

    plan, machine = Plan(minutes, data_dir, _take_cores(server_cores)), describe_machine()
    with _Steps("chaos", count_steps(plan)) as advance:
        result = measure(plan, advance)
    _finish("chaos", machine, tables.make_chaos_tables(result), result, save=save, faults=result.faults)


@main.command()
@click.option(
    "--inputs", type=click.IntRange(1000, 10_000_000), default=50_000, show_default=True, help="Inputs for each door."
)
@click.option(
    "--door",
    "doors",
    multiple=True,
    type=click.Choice(["rest", "connect", "grpc", "http"]),
    default=["rest", "connect", "grpc", "http"],
    help="Only this door; may be given more than once. http is the port as bytes.",
)
@_data_dir
@_cores
@_save
def fuzz(*, inputs: int, doors: tuple[str, ...], data_dir: str, server_cores: int, save: bool) -> None:
    """Throw tampered requests at each door of a real server. About 5 minutes a door.

    Fails if one is answered with a fault (a 5xx of ours, INTERNAL, UNKNOWN), an answer tells
    something of the server's inside, or Stats does not count what was answered as stored.
    """
    from bench.fuzz import Plan, count_steps, measure

    plan, machine = Plan(inputs, doors, data_dir, _take_cores(server_cores)), describe_machine()
    with _Steps("fuzz", count_steps(plan)) as advance:
        result = measure(plan, advance)
    _finish("fuzz", machine, tables.make_fuzz_tables(result), result, save=save, faults=result.faults)


@main.command()
@click.option(
    "--events",
    type=click.IntRange(20_000, 100_000_000),
    default=10_000_000,
    show_default=True,
    help="Events of the project that is asked about. Twenty smaller ones have a sixth as many together.",
)
@_data_dir
@click.option(
    "--repeats",
    type=click.IntRange(10, 1000),
    default=50,
    show_default=True,
    help="Calls of each question, in 3 rounds that each begin with 5 to warm up; fewer of one that takes over 30 s.",
)
@click.option(
    "--keep",
    default="",
    help="A folder where the histories stay: the next run with it uses them. Otherwise they go.",
)
@click.option(
    "--embedded/--clickhouse", "is_embedded", default=True, help="The embedded engine, or a ClickHouse server."
)
@click.option("--growth/--no-growth", "with_growth", default=True, help="Also measure at a tenth of the events, first.")
@_save
def reads(*, save: bool, data_dir: str, **options: Any) -> None:
    """Ask Stats, Query, Sources, Funnel and Retention about 120 days of one project among others.

    The history is made inside ClickHouse, in minutes, and its merges end before anything is
    measured. Then one caller asks a real server over gRPC; when it has stopped, the statements of
    the same questions run without it, with the same client and settings; three times in turn.
    "Over SQL" is the ratio of the medians. Server and engine have all cores. Takes some minutes.

    Fails if Stats does not count exactly what was made, an answer is empty, or the answer over
    gRPC is not what its SQL gives without a server. A missed aim is shown, and no failure.
    """
    from bench.progress import Meter
    from bench.reading import Plan, ReadsError, measure

    plan, machine = Plan(data_parent=data_dir, **options), describe_machine()
    try:
        with Meter(_CONSOLE) as show:
            result = measure(plan, show)
    except ReadsError as error:
        raise click.ClickException(str(error)) from error
    for name in result.skipped:
        _CONSOLE.print(f"skipped, the server has no such RPC yet: {name}")
    name = "reads" if plan.is_embedded else "reads-clickhouse"
    _finish(name, machine, tables.make_reads_tables(result), result, save=save)


@main.command()
@_data_dir
@click.option(
    "--blocks",
    type=click.IntRange(8, 1000),
    default=48,
    show_default=True,
    help="Blocks of each size and way; a third of it of the largest size.",
)
@_save
def syncs(*, data_dir: str, blocks: int, save: bool) -> None:
    """Insert blocks of 1, 1,000 and 20,000 events, by each way in which their rows may reach the disk.

    Embedded engine, all views. The ways take turns block by block, so that other work on the
    machine meets all of them. Takes about a minute.
    """
    from bench.syncs import SIZES, measure

    machine = describe_machine()
    with _Steps("syncs", len(SIZES)) as advance:
        result = measure(data_dir, blocks, advance)
    _finish("syncs", machine, tables.make_sync_tables(result), result, save=save)


@main.command()
@click.option(
    "--events",
    type=click.IntRange(20_000, 100_000_000),
    default=3_000_000,
    show_default=True,
    help="Events of the project with the heavy reads.",
)
@click.option("--seconds", type=click.FloatRange(2, 300), default=15.0, show_default=True, help="Length of each phase.")
@_data_dir
@_repeats
@_save
def sharing(*, save: bool, data_dir: str, **options: Any) -> None:
    """Ask 50 heavy questions of one project at a time, and watch another project's Track and light Stats.

    Quiet and busy phases take turns on one server with the embedded engine, which has all cores:
    100 Track calls a second and a Stats every half second over gRPC. Aims: the busy p99 of Track
    is within 2 times of the quiet one, and each light Stats is answered within 2 s.
    """
    from bench.progress import Meter
    from bench.sharing import Plan, measure

    plan, machine = Plan(data_parent=data_dir, **options), describe_machine()
    with Meter(_CONSOLE) as show:
        result = measure(plan, show)
    _finish("sharing", machine, tables.make_sharing_tables(result), result, save=save)


def _make_plan(
    *, seconds: float, repeats: int, data_dir: str, server_cores: int, generator: str, gives_ids: bool
) -> Any:
    from bench.ingest import Plan

    cores = _take_cores(server_cores)
    if generator != "python" and not h2load.is_installed():
        raise click.ClickException("h2load is not installed; on Debian: apt-get install nghttp2-client")
    return Plan(seconds, repeats, data_dir, cores, gives_ids, generator)


def _take_cores(server_cores: int) -> Cores:
    """Share the cores out, and stay on the generator's from now on."""
    cores = share_cores(server_cores)
    if not cores.are_apart:
        _CONSOLE.print("[yellow]Server and load generator share a core: latencies are those of both.")
    os.sched_setaffinity(0, cores.generator)
    return cores


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


def _finish(
    name: str, machine: Machine, shown: Sequence[Table], data: Any, *, save: bool, faults: Sequence[str] = ()
) -> None:
    """Show the tables and write them; figures of a run that failed are shown only."""
    for table in shown:
        _CONSOLE.print(tables.to_rich(table))
    load_after = round(os.getloadavg()[0], 2)
    _CONSOLE.print(f"load average {machine.load_before} before, {load_after} after")
    if faults:
        raise click.ClickException("\n  ".join(("the run failed", *faults)))
    if save:
        path = write_results(name, machine, load_after, shown, data)
        _CONSOLE.print(f"written: bench/results/{path.name} and .json")


if __name__ == "__main__":
    main(prog_name="python -m bench")
