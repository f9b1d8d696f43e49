"""What /metrics shows (Prometheus)."""

import functools
import time
from collections.abc import Iterable

from prometheus_client import REGISTRY, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from millimetric_server.call import Deps

_REQUESTS = Counter("millimetric_requests", "Calls by outcome.", ("rpc", "door", "reason"))
_SECONDS = Histogram(
    "millimetric_request_seconds",
    "Time from the door to the answer, the durable commit included.",
    ("rpc", "door"),
    buckets=(0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30),
)


def count_request(rpc: str, door: str, reason: str, seconds: float) -> None:
    """Count a finished call."""
    counter, histogram = _find_children(rpc, door, reason)
    counter.inc()
    histogram.observe(seconds)


@functools.cache
def _find_children(rpc: str, door: str, reason: str) -> tuple[Counter, Histogram]:
    return _REQUESTS.labels(rpc, door, reason), _SECONDS.labels(rpc, door)


class ServerCollector(Collector):
    """Reads the journal's, the loader's and the control plane's state when /metrics is asked."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps

    def register(self) -> None:
        """Show these metrics from now on."""
        REGISTRY.register(self)

    def unregister(self) -> None:
        """Show them no more."""
        REGISTRY.unregister(self)

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics as they are now."""
        backlog = self._deps.journal.measure_backlog()
        loader = self._deps.loader
        stale_since = self._deps.directory.is_stale_since
        gauges = (
            ("journal_events", "Events that wait for ClickHouse.", backlog.rows),
            ("journal_bytes", "Their size.", backlog.bytes),
            (
                "store_failing_seconds",
                "How long ClickHouse has refused events; 0 is well.",
                _age(loader.failing_since),
            ),
            (
                "directory_stale_seconds",
                "How long the control database has been away; 0 is well.",
                _age(stale_since),
            ),
        )
        for name, text, value in gauges:
            yield GaugeMetricFamily(f"millimetric_{name}", text, value)
        counters = (
            ("events_loaded", "Events that ClickHouse holds since the start.", loader.rows_loaded),
            ("events_erased", "Late replays of forgotten people that were kept out.", loader.rows_erased),
            ("event_id_conflicts", "Event ids sent again with other content.", self._deps.journal.conflicts),
        )
        for name, text, value in counters:
            yield CounterMetricFamily(f"millimetric_{name}", text, value)


def _age(since: float | None) -> float:
    return 0.0 if since is None else time.monotonic() - since
