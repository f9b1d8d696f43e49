import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from millimetric.v1 import attribution_pb2 as _attribution_pb2
from millimetric.v1 import event_pb2 as _event_pb2
from millimetric.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FilterOp(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FILTER_OP_UNSPECIFIED: _ClassVar[FilterOp]
    FILTER_OP_EQ: _ClassVar[FilterOp]
    FILTER_OP_NE: _ClassVar[FilterOp]
    FILTER_OP_GT: _ClassVar[FilterOp]
    FILTER_OP_GE: _ClassVar[FilterOp]
    FILTER_OP_LT: _ClassVar[FilterOp]
    FILTER_OP_LE: _ClassVar[FilterOp]
    FILTER_OP_IN: _ClassVar[FilterOp]
    FILTER_OP_CONTAINS: _ClassVar[FilterOp]
    FILTER_OP_EXISTS: _ClassVar[FilterOp]

class Metric(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    METRIC_UNSPECIFIED: _ClassVar[Metric]
    METRIC_COUNT: _ClassVar[Metric]
    METRIC_UNIQUES: _ClassVar[Metric]

class MeasureKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MEASURE_KIND_UNSPECIFIED: _ClassVar[MeasureKind]
    MEASURE_KIND_COUNT: _ClassVar[MeasureKind]
    MEASURE_KIND_UNIQUES: _ClassVar[MeasureKind]
    MEASURE_KIND_USERS: _ClassVar[MeasureKind]
    MEASURE_KIND_SESSIONS: _ClassVar[MeasureKind]
    MEASURE_KIND_SUM: _ClassVar[MeasureKind]
    MEASURE_KIND_AVG: _ClassVar[MeasureKind]
    MEASURE_KIND_MIN: _ClassVar[MeasureKind]
    MEASURE_KIND_MAX: _ClassVar[MeasureKind]
    MEASURE_KIND_P50: _ClassVar[MeasureKind]
    MEASURE_KIND_P90: _ClassVar[MeasureKind]
    MEASURE_KIND_P99: _ClassVar[MeasureKind]
    MEASURE_KIND_BOUNCE_RATE: _ClassVar[MeasureKind]
    MEASURE_KIND_SESSION_SECONDS: _ClassVar[MeasureKind]
    MEASURE_KIND_EVENTS_PER_SESSION: _ClassVar[MeasureKind]
    MEASURE_KIND_CONVERSION_RATE: _ClassVar[MeasureKind]

class Compare(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMPARE_UNSPECIFIED: _ClassVar[Compare]
    COMPARE_PREVIOUS_PERIOD: _ClassVar[Compare]
    COMPARE_PREVIOUS_YEAR: _ClassVar[Compare]

class Interval(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INTERVAL_UNSPECIFIED: _ClassVar[Interval]
    INTERVAL_HOUR: _ClassVar[Interval]
    INTERVAL_DAY: _ClassVar[Interval]
    INTERVAL_WEEK: _ClassVar[Interval]
    INTERVAL_MONTH: _ClassVar[Interval]

class Breakdown(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BREAKDOWN_UNSPECIFIED: _ClassVar[Breakdown]
    BREAKDOWN_SOURCE_MEDIUM: _ClassVar[Breakdown]
    BREAKDOWN_SOURCE: _ClassVar[Breakdown]

class Period(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PERIOD_UNSPECIFIED: _ClassVar[Period]
    PERIOD_DAY: _ClassVar[Period]
    PERIOD_WEEK: _ClassVar[Period]

class AttributionModel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ATTRIBUTION_MODEL_UNSPECIFIED: _ClassVar[AttributionModel]
    ATTRIBUTION_MODEL_FIRST_TOUCH: _ClassVar[AttributionModel]
    ATTRIBUTION_MODEL_LAST_TOUCH: _ClassVar[AttributionModel]
    ATTRIBUTION_MODEL_LAST_NON_DIRECT: _ClassVar[AttributionModel]
    ATTRIBUTION_MODEL_LINEAR: _ClassVar[AttributionModel]
    ATTRIBUTION_MODEL_POSITION_BASED: _ClassVar[AttributionModel]
    ATTRIBUTION_MODEL_TIME_DECAY: _ClassVar[AttributionModel]

class AttributionDimension(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ATTRIBUTION_DIMENSION_UNSPECIFIED: _ClassVar[AttributionDimension]
    ATTRIBUTION_DIMENSION_SOURCE: _ClassVar[AttributionDimension]
    ATTRIBUTION_DIMENSION_SOURCE_MEDIUM: _ClassVar[AttributionDimension]
    ATTRIBUTION_DIMENSION_CAMPAIGN: _ClassVar[AttributionDimension]
    ATTRIBUTION_DIMENSION_LANDING_PATH: _ClassVar[AttributionDimension]

class ExportFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EXPORT_FORMAT_UNSPECIFIED: _ClassVar[ExportFormat]
    EXPORT_FORMAT_NDJSON: _ClassVar[ExportFormat]
    EXPORT_FORMAT_CSV: _ClassVar[ExportFormat]
    EXPORT_FORMAT_PARQUET: _ClassVar[ExportFormat]
FILTER_OP_UNSPECIFIED: FilterOp
FILTER_OP_EQ: FilterOp
FILTER_OP_NE: FilterOp
FILTER_OP_GT: FilterOp
FILTER_OP_GE: FilterOp
FILTER_OP_LT: FilterOp
FILTER_OP_LE: FilterOp
FILTER_OP_IN: FilterOp
FILTER_OP_CONTAINS: FilterOp
FILTER_OP_EXISTS: FilterOp
METRIC_UNSPECIFIED: Metric
METRIC_COUNT: Metric
METRIC_UNIQUES: Metric
MEASURE_KIND_UNSPECIFIED: MeasureKind
MEASURE_KIND_COUNT: MeasureKind
MEASURE_KIND_UNIQUES: MeasureKind
MEASURE_KIND_USERS: MeasureKind
MEASURE_KIND_SESSIONS: MeasureKind
MEASURE_KIND_SUM: MeasureKind
MEASURE_KIND_AVG: MeasureKind
MEASURE_KIND_MIN: MeasureKind
MEASURE_KIND_MAX: MeasureKind
MEASURE_KIND_P50: MeasureKind
MEASURE_KIND_P90: MeasureKind
MEASURE_KIND_P99: MeasureKind
MEASURE_KIND_BOUNCE_RATE: MeasureKind
MEASURE_KIND_SESSION_SECONDS: MeasureKind
MEASURE_KIND_EVENTS_PER_SESSION: MeasureKind
MEASURE_KIND_CONVERSION_RATE: MeasureKind
COMPARE_UNSPECIFIED: Compare
COMPARE_PREVIOUS_PERIOD: Compare
COMPARE_PREVIOUS_YEAR: Compare
INTERVAL_UNSPECIFIED: Interval
INTERVAL_HOUR: Interval
INTERVAL_DAY: Interval
INTERVAL_WEEK: Interval
INTERVAL_MONTH: Interval
BREAKDOWN_UNSPECIFIED: Breakdown
BREAKDOWN_SOURCE_MEDIUM: Breakdown
BREAKDOWN_SOURCE: Breakdown
PERIOD_UNSPECIFIED: Period
PERIOD_DAY: Period
PERIOD_WEEK: Period
ATTRIBUTION_MODEL_UNSPECIFIED: AttributionModel
ATTRIBUTION_MODEL_FIRST_TOUCH: AttributionModel
ATTRIBUTION_MODEL_LAST_TOUCH: AttributionModel
ATTRIBUTION_MODEL_LAST_NON_DIRECT: AttributionModel
ATTRIBUTION_MODEL_LINEAR: AttributionModel
ATTRIBUTION_MODEL_POSITION_BASED: AttributionModel
ATTRIBUTION_MODEL_TIME_DECAY: AttributionModel
ATTRIBUTION_DIMENSION_UNSPECIFIED: AttributionDimension
ATTRIBUTION_DIMENSION_SOURCE: AttributionDimension
ATTRIBUTION_DIMENSION_SOURCE_MEDIUM: AttributionDimension
ATTRIBUTION_DIMENSION_CAMPAIGN: AttributionDimension
ATTRIBUTION_DIMENSION_LANDING_PATH: AttributionDimension
EXPORT_FORMAT_UNSPECIFIED: ExportFormat
EXPORT_FORMAT_NDJSON: ExportFormat
EXPORT_FORMAT_CSV: ExportFormat
EXPORT_FORMAT_PARQUET: ExportFormat

class Filter(_message.Message):
    __slots__ = ("column", "op", "values")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    column: str
    op: FilterOp
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, column: _Optional[str] = ..., op: _Optional[_Union[FilterOp, str]] = ..., values: _Optional[_Iterable[str]] = ...) -> None: ...

class FilterTree(_message.Message):
    __slots__ = ("filter",)
    FILTER_FIELD_NUMBER: _ClassVar[int]
    AND_FIELD_NUMBER: _ClassVar[int]
    OR_FIELD_NUMBER: _ClassVar[int]
    NOT_FIELD_NUMBER: _ClassVar[int]
    filter: Filter
    def __init__(self, filter: _Optional[_Union[Filter, _Mapping]] = ..., **kwargs) -> None: ...

class QueryRequest(_message.Message):
    __slots__ = ("project", "to", "event", "source", "medium", "user_id", "anonymous_id", "filter", "limit", "page_token", "where")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    MEDIUM_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ANONYMOUS_ID_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    project: str
    to: _timestamp_pb2.Timestamp
    event: str
    source: str
    medium: str
    user_id: str
    anonymous_id: str
    filter: _containers.RepeatedCompositeFieldContainer[Filter]
    limit: int
    page_token: str
    where: FilterTree
    def __init__(self, project: _Optional[str] = ..., to: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., event: _Optional[str] = ..., source: _Optional[str] = ..., medium: _Optional[str] = ..., user_id: _Optional[str] = ..., anonymous_id: _Optional[str] = ..., filter: _Optional[_Iterable[_Union[Filter, _Mapping]]] = ..., limit: _Optional[int] = ..., page_token: _Optional[str] = ..., where: _Optional[_Union[FilterTree, _Mapping]] = ..., **kwargs) -> None: ...

class QueryResponse(_message.Message):
    __slots__ = ("rows", "next_page_token")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[_event_pb2.StoredEvent]
    next_page_token: str
    def __init__(self, rows: _Optional[_Iterable[_Union[_event_pb2.StoredEvent, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class TailRequest(_message.Message):
    __slots__ = ("project", "event", "source", "medium", "user_id", "anonymous_id", "filter", "where")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    MEDIUM_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ANONYMOUS_ID_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    project: str
    event: str
    source: str
    medium: str
    user_id: str
    anonymous_id: str
    filter: _containers.RepeatedCompositeFieldContainer[Filter]
    where: FilterTree
    def __init__(self, project: _Optional[str] = ..., event: _Optional[str] = ..., source: _Optional[str] = ..., medium: _Optional[str] = ..., user_id: _Optional[str] = ..., anonymous_id: _Optional[str] = ..., filter: _Optional[_Iterable[_Union[Filter, _Mapping]]] = ..., where: _Optional[_Union[FilterTree, _Mapping]] = ...) -> None: ...

class TailResponse(_message.Message):
    __slots__ = ("row", "missed")
    ROW_FIELD_NUMBER: _ClassVar[int]
    MISSED_FIELD_NUMBER: _ClassVar[int]
    row: _event_pb2.StoredEvent
    missed: int
    def __init__(self, row: _Optional[_Union[_event_pb2.StoredEvent, _Mapping]] = ..., missed: _Optional[int] = ...) -> None: ...

class Measure(_message.Message):
    __slots__ = ("kind", "property", "event")
    KIND_FIELD_NUMBER: _ClassVar[int]
    PROPERTY_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    kind: MeasureKind
    property: str
    event: str
    def __init__(self, kind: _Optional[_Union[MeasureKind, str]] = ..., property: _Optional[str] = ..., event: _Optional[str] = ...) -> None: ...

class StatsRequest(_message.Message):
    __slots__ = ("project", "to", "metrics", "metric", "event", "filter", "where", "group_by", "interval", "timezone", "fill", "compare", "compare_from", "compare_to", "limit", "include_bots")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    GROUP_BY_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    TIMEZONE_FIELD_NUMBER: _ClassVar[int]
    FILL_FIELD_NUMBER: _ClassVar[int]
    COMPARE_FIELD_NUMBER: _ClassVar[int]
    COMPARE_FROM_FIELD_NUMBER: _ClassVar[int]
    COMPARE_TO_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_BOTS_FIELD_NUMBER: _ClassVar[int]
    project: str
    to: _timestamp_pb2.Timestamp
    metrics: _containers.RepeatedCompositeFieldContainer[Measure]
    metric: Metric
    event: str
    filter: _containers.RepeatedCompositeFieldContainer[Filter]
    where: FilterTree
    group_by: _containers.RepeatedScalarFieldContainer[str]
    interval: Interval
    timezone: str
    fill: bool
    compare: Compare
    compare_from: _timestamp_pb2.Timestamp
    compare_to: _timestamp_pb2.Timestamp
    limit: int
    include_bots: bool
    def __init__(self, project: _Optional[str] = ..., to: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., metrics: _Optional[_Iterable[_Union[Measure, _Mapping]]] = ..., metric: _Optional[_Union[Metric, str]] = ..., event: _Optional[str] = ..., filter: _Optional[_Iterable[_Union[Filter, _Mapping]]] = ..., where: _Optional[_Union[FilterTree, _Mapping]] = ..., group_by: _Optional[_Iterable[str]] = ..., interval: _Optional[_Union[Interval, str]] = ..., timezone: _Optional[str] = ..., fill: _Optional[bool] = ..., compare: _Optional[_Union[Compare, str]] = ..., compare_from: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., compare_to: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., limit: _Optional[int] = ..., include_bots: _Optional[bool] = ..., **kwargs) -> None: ...

class StatsResponse(_message.Message):
    __slots__ = ("rows", "truncated")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[StatsRow]
    truncated: bool
    def __init__(self, rows: _Optional[_Iterable[_Union[StatsRow, _Mapping]]] = ..., truncated: _Optional[bool] = ...) -> None: ...

class StatsRow(_message.Message):
    __slots__ = ("event_name", "source", "medium", "campaign", "country", "device_type", "browser", "os", "path", "bucket", "value", "hostname", "referrer_host", "utm_content", "utm_term", "session_source", "session_medium", "session_campaign", "landing_path", "exit_path", "first_source", "first_medium", "first_campaign", "properties", "measures", "previous")
    class PropertiesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class MeasuresEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class PreviousEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    EVENT_NAME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    MEDIUM_FIELD_NUMBER: _ClassVar[int]
    CAMPAIGN_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    DEVICE_TYPE_FIELD_NUMBER: _ClassVar[int]
    BROWSER_FIELD_NUMBER: _ClassVar[int]
    OS_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    REFERRER_HOST_FIELD_NUMBER: _ClassVar[int]
    UTM_CONTENT_FIELD_NUMBER: _ClassVar[int]
    UTM_TERM_FIELD_NUMBER: _ClassVar[int]
    SESSION_SOURCE_FIELD_NUMBER: _ClassVar[int]
    SESSION_MEDIUM_FIELD_NUMBER: _ClassVar[int]
    SESSION_CAMPAIGN_FIELD_NUMBER: _ClassVar[int]
    LANDING_PATH_FIELD_NUMBER: _ClassVar[int]
    EXIT_PATH_FIELD_NUMBER: _ClassVar[int]
    FIRST_SOURCE_FIELD_NUMBER: _ClassVar[int]
    FIRST_MEDIUM_FIELD_NUMBER: _ClassVar[int]
    FIRST_CAMPAIGN_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    MEASURES_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    event_name: str
    source: str
    medium: str
    campaign: str
    country: str
    device_type: str
    browser: str
    os: str
    path: str
    bucket: str
    value: int
    hostname: str
    referrer_host: str
    utm_content: str
    utm_term: str
    session_source: str
    session_medium: str
    session_campaign: str
    landing_path: str
    exit_path: str
    first_source: str
    first_medium: str
    first_campaign: str
    properties: _containers.ScalarMap[str, str]
    measures: _containers.ScalarMap[str, float]
    previous: _containers.ScalarMap[str, float]
    def __init__(self, event_name: _Optional[str] = ..., source: _Optional[str] = ..., medium: _Optional[str] = ..., campaign: _Optional[str] = ..., country: _Optional[str] = ..., device_type: _Optional[str] = ..., browser: _Optional[str] = ..., os: _Optional[str] = ..., path: _Optional[str] = ..., bucket: _Optional[str] = ..., value: _Optional[int] = ..., hostname: _Optional[str] = ..., referrer_host: _Optional[str] = ..., utm_content: _Optional[str] = ..., utm_term: _Optional[str] = ..., session_source: _Optional[str] = ..., session_medium: _Optional[str] = ..., session_campaign: _Optional[str] = ..., landing_path: _Optional[str] = ..., exit_path: _Optional[str] = ..., first_source: _Optional[str] = ..., first_medium: _Optional[str] = ..., first_campaign: _Optional[str] = ..., properties: _Optional[_Mapping[str, str]] = ..., measures: _Optional[_Mapping[str, float]] = ..., previous: _Optional[_Mapping[str, float]] = ...) -> None: ...

class SourcesRequest(_message.Message):
    __slots__ = ("project", "to", "breakdown", "limit", "include_bots")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    BREAKDOWN_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_BOTS_FIELD_NUMBER: _ClassVar[int]
    project: str
    to: _timestamp_pb2.Timestamp
    breakdown: Breakdown
    limit: int
    include_bots: bool
    def __init__(self, project: _Optional[str] = ..., to: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., breakdown: _Optional[_Union[Breakdown, str]] = ..., limit: _Optional[int] = ..., include_bots: _Optional[bool] = ..., **kwargs) -> None: ...

class SourcesResponse(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[SourcesRow]
    def __init__(self, rows: _Optional[_Iterable[_Union[SourcesRow, _Mapping]]] = ...) -> None: ...

class SourcesRow(_message.Message):
    __slots__ = ("source", "medium", "events", "uniques", "paid_share")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    MEDIUM_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    UNIQUES_FIELD_NUMBER: _ClassVar[int]
    PAID_SHARE_FIELD_NUMBER: _ClassVar[int]
    source: str
    medium: str
    events: int
    uniques: int
    paid_share: float
    def __init__(self, source: _Optional[str] = ..., medium: _Optional[str] = ..., events: _Optional[int] = ..., uniques: _Optional[int] = ..., paid_share: _Optional[float] = ...) -> None: ...

class FunnelStep(_message.Message):
    __slots__ = ("event", "filter", "where")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    event: str
    filter: _containers.RepeatedCompositeFieldContainer[Filter]
    where: FilterTree
    def __init__(self, event: _Optional[str] = ..., filter: _Optional[_Iterable[_Union[Filter, _Mapping]]] = ..., where: _Optional[_Union[FilterTree, _Mapping]] = ...) -> None: ...

class FunnelRequest(_message.Message):
    __slots__ = ("project", "to", "window_seconds", "steps", "group_by", "limit", "include_bots")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    WINDOW_SECONDS_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    GROUP_BY_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_BOTS_FIELD_NUMBER: _ClassVar[int]
    project: str
    to: _timestamp_pb2.Timestamp
    window_seconds: int
    steps: _containers.RepeatedCompositeFieldContainer[FunnelStep]
    group_by: str
    limit: int
    include_bots: bool
    def __init__(self, project: _Optional[str] = ..., to: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., window_seconds: _Optional[int] = ..., steps: _Optional[_Iterable[_Union[FunnelStep, _Mapping]]] = ..., group_by: _Optional[str] = ..., limit: _Optional[int] = ..., include_bots: _Optional[bool] = ..., **kwargs) -> None: ...

class FunnelResponse(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[FunnelRow]
    def __init__(self, rows: _Optional[_Iterable[_Union[FunnelRow, _Mapping]]] = ...) -> None: ...

class FunnelRow(_message.Message):
    __slots__ = ("group", "step", "event", "visitors", "rate_from_previous", "rate_from_first", "median_seconds")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    VISITORS_FIELD_NUMBER: _ClassVar[int]
    RATE_FROM_PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    RATE_FROM_FIRST_FIELD_NUMBER: _ClassVar[int]
    MEDIAN_SECONDS_FIELD_NUMBER: _ClassVar[int]
    group: str
    step: int
    event: str
    visitors: int
    rate_from_previous: float
    rate_from_first: float
    median_seconds: float
    def __init__(self, group: _Optional[str] = ..., step: _Optional[int] = ..., event: _Optional[str] = ..., visitors: _Optional[int] = ..., rate_from_previous: _Optional[float] = ..., rate_from_first: _Optional[float] = ..., median_seconds: _Optional[float] = ...) -> None: ...

class RetentionRequest(_message.Message):
    __slots__ = ("project", "to", "first_event", "return_event", "period", "periods", "include_bots", "timezone")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    FIRST_EVENT_FIELD_NUMBER: _ClassVar[int]
    RETURN_EVENT_FIELD_NUMBER: _ClassVar[int]
    PERIOD_FIELD_NUMBER: _ClassVar[int]
    PERIODS_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_BOTS_FIELD_NUMBER: _ClassVar[int]
    TIMEZONE_FIELD_NUMBER: _ClassVar[int]
    project: str
    to: _timestamp_pb2.Timestamp
    first_event: str
    return_event: str
    period: Period
    periods: int
    include_bots: bool
    timezone: str
    def __init__(self, project: _Optional[str] = ..., to: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., first_event: _Optional[str] = ..., return_event: _Optional[str] = ..., period: _Optional[_Union[Period, str]] = ..., periods: _Optional[int] = ..., include_bots: _Optional[bool] = ..., timezone: _Optional[str] = ..., **kwargs) -> None: ...

class RetentionResponse(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[RetentionRow]
    def __init__(self, rows: _Optional[_Iterable[_Union[RetentionRow, _Mapping]]] = ...) -> None: ...

class RetentionRow(_message.Message):
    __slots__ = ("cohort", "visitors", "returned")
    COHORT_FIELD_NUMBER: _ClassVar[int]
    VISITORS_FIELD_NUMBER: _ClassVar[int]
    RETURNED_FIELD_NUMBER: _ClassVar[int]
    cohort: str
    visitors: int
    returned: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, cohort: _Optional[str] = ..., visitors: _Optional[int] = ..., returned: _Optional[_Iterable[int]] = ...) -> None: ...

class Conversion(_message.Message):
    __slots__ = ("event", "filter", "where")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    event: str
    filter: _containers.RepeatedCompositeFieldContainer[Filter]
    where: FilterTree
    def __init__(self, event: _Optional[str] = ..., filter: _Optional[_Iterable[_Union[Filter, _Mapping]]] = ..., where: _Optional[_Union[FilterTree, _Mapping]] = ...) -> None: ...

class AttributionRequest(_message.Message):
    __slots__ = ("project", "to", "conversion", "value", "models", "lookback_days", "dimension", "limit", "include_bots")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    CONVERSION_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    MODELS_FIELD_NUMBER: _ClassVar[int]
    LOOKBACK_DAYS_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    INCLUDE_BOTS_FIELD_NUMBER: _ClassVar[int]
    project: str
    to: _timestamp_pb2.Timestamp
    conversion: Conversion
    value: str
    models: _containers.RepeatedScalarFieldContainer[AttributionModel]
    lookback_days: int
    dimension: AttributionDimension
    limit: int
    include_bots: bool
    def __init__(self, project: _Optional[str] = ..., to: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., conversion: _Optional[_Union[Conversion, _Mapping]] = ..., value: _Optional[str] = ..., models: _Optional[_Iterable[_Union[AttributionModel, str]]] = ..., lookback_days: _Optional[int] = ..., dimension: _Optional[_Union[AttributionDimension, str]] = ..., limit: _Optional[int] = ..., include_bots: _Optional[bool] = ..., **kwargs) -> None: ...

class AttributionResponse(_message.Message):
    __slots__ = ("rows", "conversions", "value", "truncated")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    CONVERSIONS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[AttributionRow]
    conversions: int
    value: float
    truncated: bool
    def __init__(self, rows: _Optional[_Iterable[_Union[AttributionRow, _Mapping]]] = ..., conversions: _Optional[int] = ..., value: _Optional[float] = ..., truncated: _Optional[bool] = ...) -> None: ...

class AttributionRow(_message.Message):
    __slots__ = ("model", "source", "medium", "campaign", "landing_path", "conversions", "value", "share", "touches")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    MEDIUM_FIELD_NUMBER: _ClassVar[int]
    CAMPAIGN_FIELD_NUMBER: _ClassVar[int]
    LANDING_PATH_FIELD_NUMBER: _ClassVar[int]
    CONVERSIONS_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    TOUCHES_FIELD_NUMBER: _ClassVar[int]
    model: AttributionModel
    source: str
    medium: str
    campaign: str
    landing_path: str
    conversions: float
    value: float
    share: float
    touches: int
    def __init__(self, model: _Optional[_Union[AttributionModel, str]] = ..., source: _Optional[str] = ..., medium: _Optional[str] = ..., campaign: _Optional[str] = ..., landing_path: _Optional[str] = ..., conversions: _Optional[float] = ..., value: _Optional[float] = ..., share: _Optional[float] = ..., touches: _Optional[int] = ...) -> None: ...

class ExportRequest(_message.Message):
    __slots__ = ("project", "to", "event", "source", "medium", "user_id", "anonymous_id", "filter", "format", "where")
    PROJECT_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    MEDIUM_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ANONYMOUS_ID_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    WHERE_FIELD_NUMBER: _ClassVar[int]
    project: str
    to: _timestamp_pb2.Timestamp
    event: str
    source: str
    medium: str
    user_id: str
    anonymous_id: str
    filter: _containers.RepeatedCompositeFieldContainer[Filter]
    format: ExportFormat
    where: FilterTree
    def __init__(self, project: _Optional[str] = ..., to: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., event: _Optional[str] = ..., source: _Optional[str] = ..., medium: _Optional[str] = ..., user_id: _Optional[str] = ..., anonymous_id: _Optional[str] = ..., filter: _Optional[_Iterable[_Union[Filter, _Mapping]]] = ..., format: _Optional[_Union[ExportFormat, str]] = ..., where: _Optional[_Union[FilterTree, _Mapping]] = ..., **kwargs) -> None: ...

class ExportResponse(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...
