"""The metrics of /metrics (Prometheus)."""

import functools
import time
from collections.abc import Iterable, Sequence

from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from millimetric_server.api.errors import AppError
from millimetric_server.doors.deps import StatusDeps
from millimetric_server.journal.ledger import Balance
from millimetric_server.shares.places import Places
from millimetric_server.store.inspection import Inspection
from millimetric_server.store.rollups import ROLLUPS

_REQUESTS = Counter("millimetric_requests", "Calls by outcome.", ("rpc", "door", "reason"))
_SECONDS = Histogram(
    "millimetric_request_seconds",
    "Time from receiving a call to answering it, including the durable commit.",
    ("rpc", "door"),
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30),
)


def count_call(rpc: str, door: str, error: AppError | None, began: float) -> None:
    """Count a finished call that began at this reading of time.perf_counter()."""
    counter, histogram = _find_children(rpc, door, "ok" if error is None else error.reason.value)
    counter.inc()
    histogram.observe(time.perf_counter() - began)


@functools.cache
def _find_children(rpc: str, door: str, reason: str) -> tuple[Counter, Histogram]:
    return _REQUESTS.labels(rpc, door, reason), _SECONDS.labels(rpc, door)


class ServerCollector(Collector):
    """Reads the journal's, the loader's and the control plane's state when /metrics is asked."""

    def __init__(self, status: StatusDeps) -> None:
        self._status = status

    def register(self) -> None:
        """Show these metrics from now on."""
        REGISTRY.register(self)

    def unregister(self) -> None:
        """Show them no more."""
        REGISTRY.unregister(self)

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics as they are now."""
        yield from _describe_balances(self._status.journal.load_balances())
        gauges = (
            ("journal_bytes", "Size of the waiting events.", self._status.journal.waiting_bytes),
            (
                "store_failing_seconds",
                "How long ClickHouse has not taken events; 0 when healthy.",
                _age(self._status.loader.failing_since),
            ),
            (
                "directory_stale_seconds",
                "How long the control database has been unreachable; 0 when healthy.",
                _age(self._status.directory.is_stale_since),
            ),
        )
        for name, text, value in gauges:
            yield GaugeMetricFamily(f"millimetric_{name}", text, value)
        yield from _describe_places(self._status.places)
        missed = CounterMetricFamily(
            "millimetric_followers_missed", "Events left out for followers (Tail) who were slow.", labels=("project",)
        )
        for project_id, events in self._status.followers.missed.items():
            missed.add_metric((project_id,), events)
        yield missed
        yield CounterMetricFamily(
            "millimetric_directory_looks",
            "Lookups in the control database for a key, project or origin that this server did not know.",
            self._status.directory.looks,
        )
        if self._status.loader.inspection is not None:
            yield from _describe_inspection(self._status.loader.inspection)
        yield CounterMetricFamily(
            "millimetric_event_id_conflicts",
            "Event ids that were sent again with different content.",
            self._status.journal.conflicts,
        )


def _describe_inspection(inspection: Inspection) -> Iterable[Metric]:
    found = inspection.findings
    broken = GaugeMetricFamily(
        "millimetric_store_broken_parts",
        "Parts that ClickHouse could not read and set aside; 0 when healthy.",
        labels=("table",),
    )
    for table in ("events", *(rollup.table for rollup in ROLLUPS)):
        broken.add_metric((table,), len(found.broken_parts.get(table, ())))
    yield broken
    wrong = GaugeMetricFamily(
        "millimetric_rollups_wrong",
        "Days and sessions whose roll-ups count events that are gone; 0 when healthy.",
        labels=("part",),
    )
    wrong.add_metric(("days",), len(found.lost_days))
    wrong.add_metric(("sessions",), sum(found.lost_sessions.values()))
    yield wrong
    yield CounterMetricFamily(
        "millimetric_rollups_rebuilt",
        "Days and sessions whose roll-ups differed from their events and were rebuilt.",
        inspection.rebuilt,
    )
    yield GaugeMetricFamily(
        "millimetric_store_inspected_timestamp_seconds",
        "When the last complete inspection ended (Unix time); 0 for never.",
        found.checked_at,
    )


def _describe_balances(balances: Sequence[Balance]) -> Iterable[Metric]:
    """The ledger: in each answer, received is the sum of all the others."""
    by_project: tuple[tuple[type[CounterMetricFamily | GaugeMetricFamily], str, str, str], ...] = (
        (CounterMetricFamily, "events_received", "Events of decoded requests.", "received"),
        (CounterMetricFamily, "events_stored", "Events that ClickHouse took.", "stored"),
        (CounterMetricFamily, "events_duplicate", "Events whose event_id was already known.", "duplicate"),
        (GaugeMetricFamily, "journal_events", "Events that wait for ClickHouse.", "journaled"),
        (GaugeMetricFamily, "dead_letters", "Events that ClickHouse refused, set aside in the journal.", "dead_letter"),
    )
    for family, name, text, field in by_project:
        metric = family(f"millimetric_{name}", text, labels=("project",))
        for balance in balances:
            metric.add_metric((balance.project_id,), getattr(balance, field))
        yield metric
    by_reason = (
        ("events_rejected", "Events that were refused, by reason.", "rejected"),
        ("events_dropped", "Events that were accepted and not stored, by reason.", "dropped"),
    )
    for name, text, field in by_reason:
        counter = CounterMetricFamily(f"millimetric_{name}", text, labels=("project", "reason"))
        for balance in balances:
            for reason, events in getattr(balance, field).items():
                counter.add_metric((balance.project_id, reason), events)
        yield counter


def _describe_places(places: Sequence[Places]) -> Iterable[Metric]:
    """The places that projects share: how many are taken, and whose calls got none."""
    taken = GaugeMetricFamily("millimetric_places_taken", "Places that are taken.", labels=("kind",))
    total = GaugeMetricFamily("millimetric_places", "Places that projects share.", labels=("kind",))
    refused = CounterMetricFamily(
        "millimetric_places_refused",
        "Calls that got no place, and were refused as `overloaded`.",
        labels=("kind", "project"),
    )
    for one in places:
        taken.add_metric((one.kind,), one.taken)
        total.add_metric((one.kind,), one.total)
        for project_id, calls in one.refused.items():
            refused.add_metric((one.kind, project_id), calls)
    yield from (taken, total, refused)


def _age(since: float | None) -> float:
    return 0.0 if since is None else time.monotonic() - since
