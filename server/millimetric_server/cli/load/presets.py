"""What files of other products mean: which of their names is which of ours, and a hook for what no table says.

docs/loading.md shows these tables; a test compares them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from millimetric_server.cli.load import preset_fixes as fixes
from millimetric_server.cli.load.preset_fixes import PAGEVIEW, Record, Shaped, find


@dataclass(frozen=True, slots=True)
class Preset:
    """How one product writes events.

    `fields` say for each of our fields where it may stand, the first place that holds something counts; dots lead into
    objects. Objects named in `properties` become our properties, without names that begin with `omits`. `fix` changes
    the event afterwards, or leaves it out (None).
    """

    name: str
    title: str
    file: str
    fields: Mapping[str, tuple[str, ...]]
    events: Mapping[str, str] = field(default_factory=dict)
    properties: tuple[str, ...] = ()
    omits: str = "\0"
    fix: Callable[[Shaped, Record], Shaped | None] | None = None
    expand: Callable[[Record], Iterator[Record]] | None = None
    is_log: bool = False

    def shape(self, record: Record) -> Iterator[Shaped]:
        """Make the events of a record: one, unless the product writes whole visits."""
        for one in self.expand(record) if self.expand is not None else (record,):
            shaped = self._shape_one(one)
            if (done := shaped if self.fix is None else self.fix(shaped, one)) is not None:
                yield done

    def _shape_one(self, record: Record) -> Shaped:
        shaped: Shaped = {}
        for name, places in self.fields.items():
            value = next((found for place in places if (found := find(record, place)) not in (None, "")), None)
            if value is None:
                continue
            if name.startswith("context."):
                shaped.setdefault("context", {})[name.removeprefix("context.")] = str(value)
            else:
                shaped[name] = value if name == "timestamp" else str(value)
        if "event" in shaped:
            shaped["event"] = self.events.get(shaped["event"], shaped["event"])
        properties = {
            name: value
            for place in self.properties
            if isinstance(inner := find(record, place), Mapping)
            for name, value in inner.items()
            if not name.startswith(self.omits)
        }
        if properties:
            shaped["properties"] = properties
        return shaped


_PRESETS = (
    Preset(
        "posthog",
        "PostHog",
        "events of a batch export or the API, as NDJSON or a JSON array",
        {
            "event": ("event",),
            "event_id": ("uuid", "id"),
            "timestamp": ("timestamp",),
            "anonymous_id": ("properties.$device_id", "distinct_id"),
            "user_id": ("properties.$user_id",),
            "session_id": ("properties.$session_id",),
            "url": ("properties.$current_url",),
            "path": ("properties.$pathname",),
            "referrer": ("properties.$referrer",),
            "context.ip": ("properties.$ip", "ip"),
            "context.user_agent": ("properties.$raw_user_agent", "properties.$user_agent"),
        },
        properties=("properties",),
        omits="$",
        fix=fixes.fix_posthog,
    ),
    Preset(
        "segment",
        "Segment",
        "messages as they are archived, as NDJSON",
        {
            "event": ("event",),
            "event_id": ("messageId", "message_id"),
            "timestamp": ("timestamp", "originalTimestamp", "receivedAt"),
            "anonymous_id": ("anonymousId", "anonymous_id"),
            "user_id": ("userId", "user_id"),
            "url": ("context.page.url", "properties.url"),
            "path": ("context.page.path", "properties.path"),
            "referrer": ("context.page.referrer", "properties.referrer"),
            "context.ip": ("context.ip",),
            "context.user_agent": ("context.userAgent",),
        },
        properties=("properties", "traits"),
        fix=fixes.fix_segment,
    ),
    Preset(
        "ga4",
        "Google Analytics 4",
        "the BigQuery export, `events_*`, as NDJSON",
        {
            "event": ("event_name",),
            "timestamp": ("event_timestamp",),
            "anonymous_id": ("user_pseudo_id",),
            "user_id": ("user_id",),
        },
        events={"page_view": PAGEVIEW},
        fix=fixes.fix_ga4,
    ),
    Preset(
        "plausible",
        "Plausible",
        "the table `events_v2` of a server of one's own, as NDJSON or CSV",
        {
            "event": ("name",),
            "timestamp": ("timestamp",),
            "anonymous_id": ("user_id",),
            "session_id": ("session_id",),
            "path": ("pathname",),
            "referrer": ("referrer",),
        },
        events={"pageview": PAGEVIEW},
        fix=fixes.fix_plausible,
    ),
    Preset(
        "umami",
        "Umami",
        "the table `website_event`, as CSV or NDJSON",
        {
            "event": ("event_name",),
            "event_id": ("event_id",),
            "timestamp": ("created_at",),
            "anonymous_id": ("session_id",),
            "session_id": ("visit_id",),
            "user_id": ("distinct_id",),
            "path": ("url_path",),
        },
        fix=fixes.fix_umami,
    ),
    Preset(
        "matomo",
        "Matomo",
        "visits of the API method `Live.getLastVisitsDetails`, as a JSON array",
        {
            "timestamp": ("action.timestamp", "visit.serverTimestamp"),
            "anonymous_id": ("visit.visitorId",),
            "user_id": ("visit.userId",),
            "session_id": ("visit.idVisit",),
            "url": ("action.url",),
        },
        fix=fixes.fix_matomo,
        expand=fixes.expand_matomo,
    ),
    Preset(
        "snowplow",
        "Snowplow",
        "the table `atomic.events`, as NDJSON, CSV or TSV with a header",
        {
            "event": ("event_name", "event"),
            "event_id": ("event_id",),
            "timestamp": ("derived_tstamp", "collector_tstamp"),
            "anonymous_id": ("domain_userid", "network_userid"),
            "user_id": ("user_id",),
            "session_id": ("domain_sessionid",),
            "url": ("page_url",),
            "referrer": ("page_referrer",),
            "context.ip": ("user_ipaddress",),
            "context.user_agent": ("useragent",),
        },
        events={"page_view": PAGEVIEW},
        properties=("unstruct_event.data.data",),
    ),
    Preset(
        "accesslog",
        "Access log",
        "the combined or common format of nginx, Apache and Caddy",
        {
            "timestamp": ("time",),
            "referrer": ("referrer",),
            "context.ip": ("ip",),
            "context.user_agent": ("agent",),
        },
        fix=fixes.fix_access_log,
        is_log=True,
    ),
)
PRESETS: Mapping[str, Preset] = {preset.name: preset for preset in _PRESETS}
