"""The messages of millimetric/v1/query_service.proto. Made by `make generate`: don't edit it."""

from collections.abc import Mapping

from msgspec import UNSET, UnsetType, field

from millimetric_server.api.message import Instant, Message, WireEnum
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


class MeasureKind(WireEnum):
    """What a column of Stats measures."""

    UNSPECIFIED = ""
    COUNT = "count"
    UNIQUES = "uniques"
    USERS = "users"
    SESSIONS = "sessions"
    SUM = "sum"
    AVG = "avg"
    MIN = "min"
    MAX = "max"
    P50 = "p50"
    P90 = "p90"
    P99 = "p99"
    BOUNCE_RATE = "bounce_rate"
    SESSION_SECONDS = "session_seconds"
    EVENTS_PER_SESSION = "events_per_session"
    CONVERSION_RATE = "conversion_rate"


class Compare(WireEnum):
    """What Stats compares each figure with."""

    UNSPECIFIED = ""
    PREVIOUS_PERIOD = "previous_period"
    PREVIOUS_YEAR = "previous_year"


class Interval(WireEnum):
    """The length of a bucket."""

    UNSPECIFIED = ""
    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class Breakdown(WireEnum):
    """How Sources groups visits."""

    UNSPECIFIED = ""
    SOURCE_MEDIUM = "source_medium"
    SOURCE = "source"


class Period(WireEnum):
    """The length of a retention period."""

    UNSPECIFIED = ""
    DAY = "day"
    WEEK = "week"


class AttributionModel(WireEnum):
    """How a conversion is credited to the visits before it, its touches."""

    UNSPECIFIED = ""
    FIRST_TOUCH = "first_touch"
    LAST_TOUCH = "last_touch"
    LAST_NON_DIRECT = "last_non_direct"
    LINEAR = "linear"
    POSITION_BASED = "position_based"
    TIME_DECAY = "time_decay"


class AttributionDimension(WireEnum):
    """What the rows of Attribution are."""

    UNSPECIFIED = ""
    SOURCE = "source"
    SOURCE_MEDIUM = "source_medium"
    CAMPAIGN = "campaign"
    LANDING_PATH = "landing_path"


class ExportFormat(WireEnum):
    """How an export is written."""

    UNSPECIFIED = ""
    NDJSON = "ndjson"
    CSV = "csv"
    PARQUET = "parquet"


class Filter(Message):
    """A condition on a column or a property. Over REST: `filter=COLUMN OP VALUE`, such as `filter=country in DE,AT`."""

    column: str = ""
    op: FilterOp = FilterOp.UNSPECIFIED
    values: list[str] = field(default_factory=list)


class QueryResponse(Message):
    """A page of events."""

    rows: list[StoredEvent]
    next_page_token: str | UnsetType = UNSET


class TailResponse(Message):
    """The next event, or a sign of life."""

    row: StoredEvent | UnsetType = UNSET
    missed: int = 0


class Measure(Message):
    """A column of Stats. Over REST it is written as a text: `metrics=count,sum(properties.amount_cents)`."""

    kind: MeasureKind = MeasureKind.UNSPECIFIED
    property: str = ""
    event: str = ""


class SourcesRequest(Message):
    """The visits to count."""

    project: str | None = None
    from_: Instant | None = field(default=None, name="from")
    to: Instant | None = None
    breakdown: Breakdown = Breakdown.UNSPECIFIED
    limit: int | None = None
    include_bots: bool = False


class SourcesRow(Message):
    """One source of visits."""

    source: str
    medium: str | UnsetType = UNSET
    events: int = 0
    uniques: int = 0
    paid_share: float = 0.0


class FunnelRow(Message):
    """One step of one group."""

    group: str | UnsetType = UNSET
    step: int = 0
    event: str = ""
    visitors: int = 0
    rate_from_previous: float = 0.0
    rate_from_first: float = 0.0
    median_seconds: float = 0.0


class RetentionRequest(Message):
    """The retention to compute."""

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


class AttributionRow(Message):
    """What one channel brought by one model."""

    model: AttributionModel
    source: str | UnsetType = UNSET
    medium: str | UnsetType = UNSET
    campaign: str | UnsetType = UNSET
    landing_path: str | UnsetType = UNSET
    conversions: float = 0.0
    value: float = 0.0
    share: float = 0.0
    touches: int = 0


class ExportResponse(Message):
    """A piece of the file; the concatenated pieces are the file. Over REST the body is the file itself."""

    data: bytes


class FilterTree(Message):
    """Conditions that are joined by and, or and not."""

    filter: Filter | None = None
    and_: list["FilterTree"] = field(default_factory=list, name="and")
    or_: list["FilterTree"] = field(default_factory=list, name="or")
    not_: "FilterTree | None" = field(default=None, name="not")


class StatsRow(Message):
    """The figures of one group and bucket. Only the requested group columns are set."""

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
    hostname: str | UnsetType = UNSET
    referrer_host: str | UnsetType = UNSET
    utm_content: str | UnsetType = UNSET
    utm_term: str | UnsetType = UNSET
    session_source: str | UnsetType = UNSET
    session_medium: str | UnsetType = UNSET
    session_campaign: str | UnsetType = UNSET
    landing_path: str | UnsetType = UNSET
    exit_path: str | UnsetType = UNSET
    first_source: str | UnsetType = UNSET
    first_medium: str | UnsetType = UNSET
    first_campaign: str | UnsetType = UNSET
    properties: Mapping[str, str] | UnsetType = UNSET
    measures: Mapping[str, float] | UnsetType = UNSET
    previous: Mapping[str, float] | UnsetType = UNSET


class SourcesResponse(Message):
    """Sources, most events first."""

    rows: list[SourcesRow]


class FunnelResponse(Message):
    """How many visitors reached each step."""

    rows: list[FunnelRow]


class RetentionResponse(Message):
    """Cohorts by periods."""

    rows: list[RetentionRow]


class AttributionResponse(Message):
    """What each channel brought, model by model."""

    rows: list[AttributionRow]
    conversions: int
    value: float
    truncated: bool | UnsetType = UNSET


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
    where: FilterTree | None = None


class TailRequest(Message):
    """Which events to follow. All conditions must hold, as in QueryRequest."""

    project: str | None = None
    event: str | None = None
    source: str | None = None
    medium: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    filter: list[Filter] = field(default_factory=list)
    where: FilterTree | None = None


class StatsRequest(Message):
    """What to count."""

    project: str | None = None
    from_: Instant | None = field(default=None, name="from")
    to: Instant | None = None
    metrics: list[Measure] = field(default_factory=list)
    metric: Metric = Metric.UNSPECIFIED
    event: str | None = None
    filter: list[Filter] = field(default_factory=list)
    where: FilterTree | None = None
    group_by: list[str] = field(default_factory=list)
    interval: Interval = Interval.UNSPECIFIED
    timezone: str | None = None
    fill: bool = False
    compare: Compare = Compare.UNSPECIFIED
    compare_from: Instant | None = None
    compare_to: Instant | None = None
    limit: int | None = None
    include_bots: bool = False


class StatsResponse(Message):
    """Figures, largest first; with an interval, by bucket."""

    rows: list[StatsRow]
    truncated: bool | UnsetType = UNSET


class FunnelStep(Message):
    """A step of a funnel."""

    event: str = ""
    filter: list[Filter] = field(default_factory=list)
    where: FilterTree | None = None


class Conversion(Message):
    """The events that are conversions."""

    event: str | None = None
    filter: list[Filter] = field(default_factory=list)
    where: FilterTree | None = None


class ExportRequest(Message):
    """The events to write; absent fields do not restrict them, as in Query."""

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
    where: FilterTree | None = None


class FunnelRequest(Message):
    """The funnel to compute."""

    project: str | None = None
    from_: Instant | None = field(default=None, name="from")
    to: Instant | None = None
    window_seconds: int | None = None
    steps: list[FunnelStep] = field(default_factory=list)
    group_by: str | None = None
    limit: int | None = None
    include_bots: bool = False


class AttributionRequest(Message):
    """The conversions to credit."""

    project: str | None = None
    from_: Instant | None = field(default=None, name="from")
    to: Instant | None = None
    conversion: Conversion | None = None
    value: str | None = None
    models: list[AttributionModel] = field(default_factory=list)
    lookback_days: int | None = None
    dimension: AttributionDimension = AttributionDimension.UNSPECIFIED
    limit: int | None = None
    include_bots: bool = False
