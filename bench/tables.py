"""Figures as tables: which columns a reader needs, and in which units."""

from collections.abc import Sequence

import rich.table

from bench.chaos import Chaos
from bench.enrich import EnrichResult
from bench.fuzz import Fuzz
from bench.ingest import Measure
from bench.outage import Outage, Phase
from bench.paced import Answers
from bench.process import Figure
from bench.reading import Measure as ReadMeasure
from bench.reading import Reads, Round
from bench.results import Table
from bench.sharing import Sharing
from bench.soak import Soak
from bench.syncs import WAYS, Syncs

_ANSWERS = ("calls", "errors", "p50 ms", "p99 ms", "max ms")
_FUZZ = ("door", "inputs", "seconds", "answers by status or code", "events stored")
_WHO = ("server", "door", "RPC", "callers", "load by")


def to_rich(table: Table) -> rich.table.Table:
    """The table for a terminal."""
    shown = rich.table.Table(title=table.caption, title_justify="left")
    for name in table.head:
        shown.add_column(name)
    for row in table.rows:
        shown.add_row(*row)
    return shown


def make_ingest_tables(measures: Sequence[Measure]) -> list[Table]:
    """The main table, and how many times more a call costs here than in a server that does less."""
    columns = ("p50 ms", "p99 ms", "max ms", "calls/s", "events/s acked", "events/s loaded")
    costs = ("CPU s / 10,000 events", "server cores", "generator cores", "errors")
    rows = [
        (
            *_tell_who(one),
            f"{one.p50_ms:.2f}",
            f"{one.p99_ms:.2f}",
            f"{one.max_ms:.0f}",
            f"{one.calls_a_second:.0f}",
            f"{one.events_a_second:.0f}",
            "-" if one.loaded_a_second is None else f"{one.loaded_a_second:.0f}",
            f"{one.server_cpu_s_per_10k_events:.3f}",
            f"{one.server_cores:.2f}",
            f"{one.generator_cores:.2f}",
            str(one.errors),
        )
        for one in measures
    ]
    tables = [Table("Acknowledged as durable; medians of the rounds.", (*_WHO, *columns, *costs), rows)]
    ratios = _make_ratio_rows(measures)
    head = ("against", "RPC", "callers", "load by", "p50 ratio", "calls/s ratio", "CPU ratio")
    return [*tables, Table("Millimetric over gRPC as a multiple of the baselines.", head, ratios)] if ratios else tables


def make_server_tables(measures: Sequence[Measure]) -> list[Table]:
    """One table: latency, throughput and CPU of each of grpcio's servers."""
    head = ("server", "RPC", "callers", "load by", "p50 ms", "p99 ms", "calls/s", "CPU µs / call", "server cores")
    rows = [
        (
            f"grpc {one.server}",
            one.rpc,
            str(one.callers),
            one.generator,
            f"{one.p50_ms:.2f}",
            f"{one.p99_ms:.2f}",
            f"{one.calls_a_second:.0f}",
            f"{one.server_cores / one.calls_a_second * 1e6:.0f}",
            f"{one.server_cores:.2f}",
        )
        for one in sorted(measures, key=lambda one: (one.rpc != "Track", one.callers, one.server))
    ]
    return [Table("The same handlers, journal, loader and engine behind both; medians of the rounds.", head, rows)]


def make_enrich_tables(results: Sequence[EnrichResult]) -> list[Table]:
    """Totals, and the steps in the order in which they run."""
    head = ("stream", "events a request", "requests", "µs / event", "events/s on a core")
    rows = [
        (
            one.stream,
            str(one.events_a_request),
            str(one.requests),
            f"{one.total_us:.1f}",
            f"{one.events_a_second:.0f}",
        )
        for one in results
    ]
    steps = list(results[0].steps_us)
    columns = [f"{one.stream} {one.events_a_request}" for one in results]
    step_rows = [(step, *(f"{one.steps_us[step]:.2f}" for one in results)) for step in steps]
    return [
        Table("From the bytes of a request to finished rows; medians of the requests.", head, rows),
        Table("Microseconds per event and step.", ("step", *columns), step_rows),
    ]


def make_soak_tables(soak: Soak) -> list[Table]:
    """The process over the run, and what its callers saw."""
    first, last = (f"{which} {soak.window_s:.0f} s" for which in ("first", "last"))
    loaded = "never" if soak.loaded_after_s is None else f"{soak.loaded_after_s:.1f} s later"
    process = (
        f"The server's process, store {soak.store}, over {soak.seconds:.0f} s; medians of the samples after a warm-up "
        f"of {soak.warm_up_s:.0f} s, max of all. Anonymous memory grew by {soak.anonymous_mb_a_minute:.2f} MB a minute "
        "over the last two thirds."
    )
    calls = (
        f"What was sent meanwhile: {soak.acknowledged_events} events acknowledged; the journal was empty {loaded}, "
        f"and {'not all' if soak.faults else 'exactly those'} were counted."
    )
    rows = [
        (one.door, one.rpc, str(one.callers), f"{one.events_a_second:.0f}", *_tell_answers(one.answers))
        for one in soak.sent
    ]
    return [
        Table(process, ("figure", first, "median", last, "max"), [_tell_figure(one) for one in soak.figures]),
        Table(calls, ("door", "RPC", "callers", "events/s", *_ANSWERS), rows),
    ]


def make_chaos_tables(chaos: Chaos) -> list[Table]:
    """What was sent and stored, and the process of the second half."""
    counts = ", ".join(f"{table} {count}" for table, count in chaos.stored_events.items())
    sent = (
        f"{chaos.seconds:.0f} s with {chaos.kills} kills of the server and {chaos.outages} of ClickHouse. "
        f"{chaos.acknowledged_events} events acknowledged, {chaos.missing_events} of them missing, "
        f"{chaos.doubled_events} stored twice; stored in {counts}. Longest start after a kill "
        f"{chaos.longest_start_s:.1f} s, all loaded {chaos.caught_up_s:.1f} s after the end."
    )
    process = (
        "The server's process in the second half, without kills. Anonymous memory grew by "
        f"{chaos.anonymous_mb_a_minute:.2f} MB a minute."
    )
    rows = [(one.name, str(one.calls), str(one.sent_events), str(one.acknowledged_events)) for one in chaos.kinds]
    first, last = (f"{which} {chaos.window_s:.0f} s" for which in ("first", "last"))
    return [
        Table(sent, ("call", "calls", "events sent", "answered in time"), sorted(rows)),
        Table(process, ("figure", first, "median", last, "max"), [_tell_figure(one) for one in chaos.figures]),
    ]


def make_fuzz_tables(fuzz: Fuzz) -> list[Table]:
    """What each door answered to inputs that nobody would write."""
    rows = [
        (
            door.name,
            str(door.inputs),
            f"{door.seconds:.0f}",
            ", ".join(f"{answer}: {count}" for answer, count in door.answered.items()),
            str(door.stored_events),
        )
        for door in fuzz.doors
    ]
    return [Table("Good requests whose values, fields, bytes or headers were replaced.", _FUZZ, rows)]


def make_outage_tables(outage: Outage) -> list[Table]:
    """One line for each phase of both rounds."""
    caption = (
        "Track over gRPC while ClickHouse is up, away (killed, or a port that accepts and never answers) and back; "
        "calls by the phase in which they began."
    )
    columns = ("reads refused", "refused p50 ms", "refused max ms", "caught up s")
    rows = [_tell_phase(one) for one in outage.phases]
    return [Table(caption, ("ClickHouse", "phase", "seconds", *_ANSWERS, *columns), rows)]


def make_sharing_tables(sharing: Sharing) -> list[Table]:
    """One line for each phase, and what they come to."""
    caption = (
        "Track (100 a second) and light Stats of one project over gRPC, quiet and beside 50 callers of heavy Stats of "
        f"another. Busy p99 of Track: {sharing.track_p99_ratio:.2f} times the quiet one, by medians."
    )
    head = (
        "phase",
        "Track calls",
        "errors",
        "p50 ms",
        "p99 ms",
        "max ms",
        "Stats calls",
        "p50 ms",
        "max ms",
        "heavy reads",
    )
    rows = [
        (
            "busy" if one.is_busy else "quiet",
            *_tell_answers(one.track),
            str(one.stats_calls),
            f"{one.stats_p50_ms:.1f}",
            f"{one.stats_max_ms:.0f}",
            ", ".join(f"{count} {outcome}" for outcome, count in sorted(one.heavy.items())) or "-",
        )
        for one in sharing.phases
    ]
    return [Table(caption, head, rows)]


def make_reads_tables(reads: Reads) -> list[Table]:
    """The histories, and the questions about the largest one, with what they took about the one before it."""
    largest = reads.rounds[-1]
    smaller = {one.question: one for one in reads.rounds[0].measures} if len(reads.rounds) > 1 else {}
    engine = "the embedded engine" if reads.is_embedded else "a ClickHouse server"
    columns = ("events", "in all", "visitors", "sessions", "made in s", "events/s", "merged in s", "MB")
    histories = Table(
        f"The histories, in {engine}: events of the project that is asked about, and of all 21 projects.",
        (*columns, "parts of events", "parts of roll-ups"),
        [_tell_history(one) for one in reads.rounds],
    )
    before = f"p50 ms at {reads.rounds[0].history.events:,}" if smaller else "p50 ms before"
    head = (
        "question",
        "rows",
        "calls",
        before,
        "p50 ms",
        "p95 ms",
        "aim ms",
        "met",
        "growth",
        "SQL p50 ms",
        "over SQL",
    )
    caption = (
        f"One caller over gRPC, warm, at {largest.history.events:,} events. SQL: the same statements without a server; "
        "over SQL is meant to be at most 1.3."
    )
    rows = [_tell_read(one, smaller.get(one.question)) for one in largest.measures]
    return [histories, Table(caption, head, rows)]


def _tell_history(one: Round) -> tuple[str, ...]:
    history = one.history
    rolled_up = [str(count) for table, count in history.parts.items() if table != "events"]
    return (
        *(str(count) for count in (history.events, history.all_events, history.visitors, history.sessions)),
        f"{history.made_in_s:.1f}",
        f"{history.all_events / history.made_in_s:.0f}",
        f"{history.settled_in_s:.1f}",
        f"{history.megabytes:.0f}",
        str(history.parts.get("events", 0)),
        " + ".join(rolled_up),
    )


def _tell_read(one: ReadMeasure, smaller: ReadMeasure | None) -> tuple[str, ...]:
    has_aim = one.aim_ms is not None
    return (
        one.question,
        str(one.rows),
        str(one.calls),
        "-" if smaller is None else f"{smaller.p50_ms:.1f}",
        f"{one.p50_ms:.1f}",
        f"{one.p95_ms:.1f}",
        f"{one.aim_ms:.0f}" if has_aim else "-",
        ("yes" if one.p50_ms <= (one.aim_ms or 0) else "no") if has_aim else "-",
        "-" if smaller is None else f"{one.p50_ms / smaller.p50_ms:.1f}",
        f"{one.sql_p50_ms:.1f}",
        f"{one.ratio:.2f}",
    )


def _tell_answers(answers: Answers) -> tuple[str, ...]:
    times = (f"{answers.p50_ms:.2f}", f"{answers.p99_ms:.2f}", f"{answers.max_ms:.0f}")
    return str(answers.calls), str(answers.errors), *times


def _tell_figure(one: Figure) -> tuple[str, ...]:
    return one.name, *(f"{value:.{one.places}f}" for value in (one.first, one.median, one.last, one.highest))


def _tell_phase(one: Phase) -> tuple[str, ...]:
    reads = (one.read_p50_ms, one.read_max_ms)
    return (
        one.round,
        one.name,
        f"{one.seconds:.1f}",
        *_tell_answers(one.answers),
        str(one.reads_refused or "-"),
        *("-" if value is None else f"{value:.1f}" for value in reads),
        "-" if one.caught_up_s is None else f"{one.caught_up_s:.1f}",
    )


def make_sync_tables(syncs: Syncs) -> list[Table]:
    """One table: a block's milliseconds and an event's microseconds in each way to the disk."""
    plain = {cost.rows: cost.block_ms for cost in syncs.costs if cost.way == next(iter(WAYS))}
    rows = [
        (
            f"{cost.rows:,}",
            cost.way,
            WAYS[cost.way],
            f"{cost.block_ms:.1f}",
            f"{cost.event_us:.1f}",
            f"{cost.block_ms / plain[cost.rows]:.2f}",
            f"{cost.syncs_a_block:.1f}",
        )
        for cost in syncs.costs
    ]
    caption = (
        f"Inserting blocks, all views included; medians. One sync of a small file takes {syncs.disk_sync_ms:.2f} ms."
    )
    head = ("events a block", "way", "meaning", "ms / block", "µs / event", "ratio", "syncs / block")
    return [Table(caption, head, rows)]


def _tell_who(one: Measure) -> tuple[str, ...]:
    return one.server, one.door, one.rpc, str(one.callers), one.generator


def _make_ratio_rows(measures: Sequence[Measure]) -> list[tuple[str, ...]]:
    ours = {
        (one.rpc, one.callers, one.generator): one
        for one in measures
        if one.server == "millimetric" and one.door == "grpc"
    }
    rows: list[tuple[str, ...]] = []
    for base in measures:
        mine = ours.get((base.rpc, base.callers, base.generator))
        if base.server == "millimetric" or mine is None:
            continue
        rows.append(
            (
                base.server,
                base.rpc,
                str(base.callers),
                base.generator,
                f"{mine.p50_ms / base.p50_ms:.1f}",
                f"{mine.calls_a_second / base.calls_a_second:.2f}",
                f"{mine.server_cpu_s_per_10k_events / max(base.server_cpu_s_per_10k_events, 1e-6):.1f}",
            )
        )
    return rows
