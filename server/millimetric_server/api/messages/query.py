"""The messages of proto/millimetric/v1/query_service.proto."""

from msgspec import UNSET, UnsetType, field

from millimetric_server.api.messages.base import Instant, Message, WireEnum
from millimetric_server.api.messages.event import StoredEvent


class FilterOp(WireEnum):
    """How a filter compares."""

    UNSPECIFIED = ""
    EQ = "eq"
    NE = "ne"
    GT = "gt"
    GE = "ge"
    LT = "lt"
    LE = "le"
    IN = "in"
    CONTAINS = "contains"
    EXISTS = "exists"


class Metric(WireEnum):
    """What Stats measures."""

    UNSPECIFIED = ""
    COUNT = "count"
    UNIQUES = "uniques"


class Interval(WireEnum):
    """How long a bucket is."""

    UNSPECIFIED = ""
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Breakdown(WireEnum):
    """How Sources divides."""

    UNSPECIFIED = ""
    SOURCE_MEDIUM = "source_medium"
    SOURCE = "source"


class Filter(Message):
    """A condition on a column or a property."""

    column: str = ""
    op: FilterOp = FilterOp.UNSPECIFIED
    values: list[str] = field(default_factory=list)


class QueryRequest(Message):
    """Which events to read."""

    project: str | None = None
    from_: Instant | None = field(default=None, name="from")
    to: Instant | None = None
    event: str | None = None
    source: str | None = None
    medium: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    filter: list[Filter] = field(default_factory=list)
    limit: int | None = None
    page_token: str | None = None


class QueryResponse(Message):
    """A page of events."""

    rows: list[StoredEvent]
    next_page_token: str | UnsetType = UNSET


class StatsRequest(Message):
    """What to count."""

    project: str | None = None
    from_: Instant | None = field(default=None, name="from")
    to: Instant | None = None
    metric: Metric = Metric.UNSPECIFIED
    event: str | None = None
    filter: list[Filter] = field(default_factory=list)
    group_by: list[str] = field(default_factory=list)
    interval: Interval = Interval.UNSPECIFIED
    timezone: str | None = None
    limit: int | None = None
    include_bots: bool = False


class StatsRow(Message):
    """One figure. Of the group columns only those that were asked for are set."""

    event_name: str | UnsetType = UNSET
    source: str | UnsetType = UNSET
    medium: str | UnsetType = UNSET
    campaign: str | UnsetType = UNSET
    country: str | UnsetType = UNSET
    device_type: str | UnsetType = UNSET
    browser: str | UnsetType = UNSET
    os: str | UnsetType = UNSET
    path: str | UnsetType = UNSET
    bucket: str | UnsetType = UNSET
    value: int = 0


class StatsResponse(Message):
    """Figures, largest first, or by bucket when there is an interval."""

    rows: list[StatsRow]
    truncated: bool | UnsetType = UNSET


class SourcesRequest(Message):
    """Which visits."""

    project: str | None = None
    from_: Instant | None = field(default=None, name="from")
    to: Instant | None = None
    breakdown: Breakdown = Breakdown.UNSPECIFIED
    limit: int | None = None
    include_bots: bool = False


class SourcesRow(Message):
    """One source of visits."""

    source: str
    medium: str | UnsetType
    events: int
    uniques: int
    paid_share: float


class SourcesResponse(Message):
    """Sources, most events first."""

    rows: list[SourcesRow]


class FunnelStep(Message):
    """A step of a funnel."""

    event: str = ""
    filter: list[Filter] = field(default_factory=list)


class FunnelRequest(Message):
    """Which funnel."""

    project: str | None = None
    from_: Instant | None = field(default=None, name="from")
    to: Instant | None = None
    window_seconds: int | None = None
    steps: list[FunnelStep] = field(default_factory=list)
    group_by: str | None = None
    limit: int | None = None
    include_bots: bool = False


class FunnelRow(Message):
    """One step of one group."""

    group: str | UnsetType
    step: int
    event: str
    visitors: int
    rate_from_previous: float
    rate_from_first: float
    median_seconds: float


class FunnelResponse(Message):
    """How far visitors came."""

    rows: list[FunnelRow]


class Period(WireEnum):
    """How long a period of retention is."""

    UNSPECIFIED = ""
    DAY = "day"
    WEEK = "week"


class RetentionRequest(Message):
    """Who came, and who came back."""

    project: str | None = None
    from_: Instant | None = field(default=None, name="from")
    to: Instant | None = None
    first_event: str | None = None
    return_event: str | None = None
    period: Period = Period.UNSPECIFIED
    periods: int | None = None
    include_bots: bool = False
    timezone: str | None = None


class RetentionRow(Message):
    """One cohort."""

    cohort: str
    visitors: int
    returned: list[int]


class RetentionResponse(Message):
    """Cohorts by periods."""

    rows: list[RetentionRow]


class ExportFormat(WireEnum):
    """How an export is written."""

    UNSPECIFIED = ""
    NDJSON = "ndjson"
    CSV = "csv"
    PARQUET = "parquet"


class ExportRequest(Message):
    """Which events to write."""

    project: str | None = None
    from_: Instant | None = field(default=None, name="from")
    to: Instant | None = None
    event: str | None = None
    source: str | None = None
    medium: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    filter: list[Filter] = field(default_factory=list)
    format: ExportFormat = ExportFormat.UNSPECIFIED


class ExportResponse(Message):
    """A piece of the file."""

    data: bytes
