import datetime

from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from millimetric.v1 import event_pb2 as _event_pb2
from millimetric.v1 import ingest_service_pb2 as _ingest_service_pb2
from millimetric.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ExplainRequest(_message.Message):
    __slots__ = ("event", "event_id", "timestamp", "anonymous_id", "user_id", "session_id", "url", "path", "referrer", "properties", "properties_json", "context", "rule_set")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    ANONYMOUS_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    URL_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    REFERRER_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_JSON_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    RULE_SET_FIELD_NUMBER: _ClassVar[int]
    event: str
    event_id: str
    timestamp: _timestamp_pb2.Timestamp
    anonymous_id: str
    user_id: str
    session_id: str
    url: str
    path: str
    referrer: str
    properties: _struct_pb2.Struct
    properties_json: str
    context: _event_pb2.EventContext
    rule_set: str
    def __init__(self, event: _Optional[str] = ..., event_id: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., anonymous_id: _Optional[str] = ..., user_id: _Optional[str] = ..., session_id: _Optional[str] = ..., url: _Optional[str] = ..., path: _Optional[str] = ..., referrer: _Optional[str] = ..., properties: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., properties_json: _Optional[str] = ..., context: _Optional[_Union[_event_pb2.EventContext, _Mapping]] = ..., rule_set: _Optional[str] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("attribution", "device", "country", "redactions", "row", "dropped", "redaction_version")
    ATTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    REDACTIONS_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    REDACTION_VERSION_FIELD_NUMBER: _ClassVar[int]
    attribution: AttributionExplanation
    device: DeviceExplanation
    country: str
    redactions: _containers.RepeatedCompositeFieldContainer[Redaction]
    row: _event_pb2.StoredEvent
    dropped: _ingest_service_pb2.DropReason
    redaction_version: str
    def __init__(self, attribution: _Optional[_Union[AttributionExplanation, _Mapping]] = ..., device: _Optional[_Union[DeviceExplanation, _Mapping]] = ..., country: _Optional[str] = ..., redactions: _Optional[_Iterable[_Union[Redaction, _Mapping]]] = ..., row: _Optional[_Union[_event_pb2.StoredEvent, _Mapping]] = ..., dropped: _Optional[_Union[_ingest_service_pb2.DropReason, str]] = ..., redaction_version: _Optional[str] = ...) -> None: ...

class AttributionExplanation(_message.Message):
    __slots__ = ("rule_set", "rule_id", "source", "medium", "campaign", "confidence", "parameters", "page_host", "referrer_host", "passed_over")
    RULE_SET_FIELD_NUMBER: _ClassVar[int]
    RULE_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    MEDIUM_FIELD_NUMBER: _ClassVar[int]
    CAMPAIGN_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    PARAMETERS_FIELD_NUMBER: _ClassVar[int]
    PAGE_HOST_FIELD_NUMBER: _ClassVar[int]
    REFERRER_HOST_FIELD_NUMBER: _ClassVar[int]
    PASSED_OVER_FIELD_NUMBER: _ClassVar[int]
    rule_set: str
    rule_id: str
    source: str
    medium: str
    campaign: str
    confidence: str
    parameters: _containers.RepeatedCompositeFieldContainer[AttributionParameter]
    page_host: str
    referrer_host: str
    passed_over: _containers.RepeatedCompositeFieldContainer[PassedRule]
    def __init__(self, rule_set: _Optional[str] = ..., rule_id: _Optional[str] = ..., source: _Optional[str] = ..., medium: _Optional[str] = ..., campaign: _Optional[str] = ..., confidence: _Optional[str] = ..., parameters: _Optional[_Iterable[_Union[AttributionParameter, _Mapping]]] = ..., page_host: _Optional[str] = ..., referrer_host: _Optional[str] = ..., passed_over: _Optional[_Iterable[_Union[PassedRule, _Mapping]]] = ...) -> None: ...

class AttributionParameter(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class PassedRule(_message.Message):
    __slots__ = ("rule_id", "reason")
    RULE_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    rule_id: str
    reason: str
    def __init__(self, rule_id: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class DeviceExplanation(_message.Message):
    __slots__ = ("device_type", "browser", "os", "looks_like_bot", "is_bot")
    DEVICE_TYPE_FIELD_NUMBER: _ClassVar[int]
    BROWSER_FIELD_NUMBER: _ClassVar[int]
    OS_FIELD_NUMBER: _ClassVar[int]
    LOOKS_LIKE_BOT_FIELD_NUMBER: _ClassVar[int]
    IS_BOT_FIELD_NUMBER: _ClassVar[int]
    device_type: str
    browser: str
    os: str
    looks_like_bot: bool
    is_bot: bool
    def __init__(self, device_type: _Optional[str] = ..., browser: _Optional[str] = ..., os: _Optional[str] = ..., looks_like_bot: _Optional[bool] = ..., is_bot: _Optional[bool] = ...) -> None: ...

class Redaction(_message.Message):
    __slots__ = ("field", "removed")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    field: str
    removed: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, field: _Optional[str] = ..., removed: _Optional[_Iterable[str]] = ...) -> None: ...
