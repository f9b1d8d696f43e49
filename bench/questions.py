"""What `reads` asks: one line a question, with the RPC that answers and the time that it is meant to take."""

from collections.abc import Sequence
from typing import NamedTuple

from bench.history import DAY_S
from millimetric_server.api.messages import (
    AttributionRequest,
    Conversion,
    Filter,
    FilterOp,
    FunnelRequest,
    FunnelStep,
    Instant,
    Interval,
    Measure,
    MeasureKind,
    Message,
    Metric,
    Period,
    QueryRequest,
    RetentionRequest,
    SourcesRequest,
    StatsRequest,
)

_STATS_LIMIT = 1000
_REVENUE = (Measure(MeasureKind.SUM, property="properties.value"),)
_VISITS = (Measure(MeasureKind.SESSIONS), Measure(MeasureKind.BOUNCE_RATE), Measure(MeasureKind.SESSION_SECONDS))
_SHOP = ("product_view", "add_to_cart", "checkout", "purchase")


class Question(NamedTuple):
    """A request, and the milliseconds that half of its answers are meant to stay under."""

    name: str
    rpc: str
    request: Message
    aim_ms: float | None = None


def list_questions(end_s: int) -> Sequence[Question]:
    """All questions about a history that ends then. Each says from when, so that no answer hangs on the clock."""

    def days_ago(days: int) -> Instant:
        return Instant((end_s - days * DAY_S) * 1_000_000)

    def stats(metric: Metric, groups: Sequence[str] = (), timezone: str = "UTC") -> StatsRequest:
        return StatsRequest(
            from_=days_ago(90),
            metric=metric,
            group_by=list(groups),
            interval=Interval.DAY,
            timezone=timezone,
            limit=_STATS_LIMIT,
        )

    def measure(
        days: int, event: str, measures: Sequence[Measure], *groups: str, interval: Interval = Interval.UNSPECIFIED
    ) -> StatsRequest:
        return StatsRequest(
            from_=days_ago(days), event=event, metrics=list(measures), group_by=list(groups), interval=interval
        )

    def funnel(*events: str) -> FunnelRequest:
        steps = [FunnelStep(event) for event in events]
        return FunnelRequest(from_=days_ago(30), window_seconds=DAY_S, steps=steps)

    def retention(first_event: str) -> RetentionRequest:
        return RetentionRequest(
            from_=days_ago(63), to=days_ago(0), first_event=first_event, period=Period.WEEK, periods=8
        )

    large_orders = [Filter("properties.value", FilterOp.GT, ["100"])]
    by_source = ["source"]
    return (
        Question("Stats, by day and source, 90 days", "Stats", stats(Metric.COUNT, by_source), 30),
        Question("Stats, the same in Europe/Berlin", "Stats", stats(Metric.COUNT, by_source, "Europe/Berlin")),
        Question("Stats, the same in Asia/Kolkata", "Stats", stats(Metric.COUNT, by_source, "Asia/Kolkata")),
        Question("Stats, uniques by day and source, 90 days", "Stats", stats(Metric.UNIQUES, by_source), 60),
        Question("Stats, uniques by day, 90 days", "Stats", stats(Metric.UNIQUES), 60),
        Question("Query, the first page", "Query", QueryRequest(limit=100), 60),
        Question(
            "Query, purchases over 100, 30 days",
            "Query",
            QueryRequest(from_=days_ago(30), event="purchase", filter=large_orders, limit=100),
        ),
        Question(
            "Stats, signups by session_source, 30 days", "Stats", measure(30, "signup", (), "session_source"), 150
        ),
        Question(
            "Stats, revenue by first_source, 30 days", "Stats", measure(30, "purchase", _REVENUE, "first_source"), 250
        ),
        Question(
            "Stats, revenue by day, 90 days", "Stats", measure(90, "purchase", _REVENUE, interval=Interval.DAY), 150
        ),
        Question(
            "Stats, visits, bounces and length by day, 90 days",
            "Stats",
            measure(90, "", _VISITS, interval=Interval.DAY),
            60,
        ),
        Question(
            "Attribution, six models, 30 days",
            "Attribution",
            AttributionRequest(from_=days_ago(30), conversion=Conversion("purchase"), value="properties.value"),
            600,
        ),
        Question("Sources, 30 days", "Sources", SourcesRequest(from_=days_ago(30)), 100),
        Question("Funnel, 4 steps, 30 days", "Funnel", funnel(*_SHOP), 250),
        Question("Funnel, 4 steps from $pageview, 30 days", "Funnel", funnel("$pageview", *_SHOP[1:])),
        Question("Retention, 8 weeks, any event", "Retention", retention("")),
        Question("Retention, 8 weeks after signup", "Retention", retention("signup")),
    )


def find_emptiness(response: Message) -> str:
    """Say what an answer lacks that the history has; nothing if it is as full as it should be."""
    rows = getattr(response, "rows", [])
    if not rows:
        return "the answer has no rows"
    if getattr(response, "truncated", False) is True:
        return "the answer is cut short"
    for row in rows:
        for name in ("value", "events", "visitors"):
            if getattr(row, name, 1) == 0:
                return f"an answer's row has no {name}"
    if hasattr(rows[0], "returned") and not any(sum(row.returned) for row in rows):
        return "nobody came back"
    return ""
