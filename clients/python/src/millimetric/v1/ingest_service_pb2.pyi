import datetime

from google.api import annotations_pb2 as _annotations_pb2
from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from millimetric.v1 import event_pb2 as _event_pb2
from millimetric.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Ack(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACK_UNSPECIFIED: _ClassVar[Ack]
    ACK_DURABLE: _ClassVar[Ack]
    ACK_STORED: _ClassVar[Ack]

class DropReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DROP_REASON_UNSPECIFIED: _ClassVar[DropReason]
    DROP_REASON_OPT_OUT: _ClassVar[DropReason]
    DROP_REASON_OLDER_THAN_RETENTION: _ClassVar[DropReason]
    DROP_REASON_ERASED: _ClassVar[DropReason]

class BatchMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BATCH_MODE_UNSPECIFIED: _ClassVar[BatchMode]
    BATCH_MODE_ALL_OR_NOTHING: _ClassVar[BatchMode]
    BATCH_MODE_PER_EVENT: _ClassVar[BatchMode]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_STORED: _ClassVar[Outcome]
    OUTCOME_DUPLICATE: _ClassVar[Outcome]
    OUTCOME_REJECTED: _ClassVar[Outcome]
    OUTCOME_DROPPED: _ClassVar[Outcome]
ACK_UNSPECIFIED: Ack
ACK_DURABLE: Ack
ACK_STORED: Ack
DROP_REASON_UNSPECIFIED: DropReason
DROP_REASON_OPT_OUT: DropReason
DROP_REASON_OLDER_THAN_RETENTION: DropReason
DROP_REASON_ERASED: DropReason
BATCH_MODE_UNSPECIFIED: BatchMode
BATCH_MODE_ALL_OR_NOTHING: BatchMode
BATCH_MODE_PER_EVENT: BatchMode
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_STORED: Outcome
OUTCOME_DUPLICATE: Outcome
OUTCOME_REJECTED: Outcome
OUTCOME_DROPPED: Outcome

class TrackRequest(_message.Message):
    __slots__ = ("event", "event_id", "timestamp", "anonymous_id", "user_id", "session_id", "url", "path", "referrer", "properties", "properties_json", "context", "ack")
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
    ACK_FIELD_NUMBER: _ClassVar[int]
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
    ack: Ack
    def __init__(self, event: _Optional[str] = ..., event_id: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., anonymous_id: _Optional[str] = ..., user_id: _Optional[str] = ..., session_id: _Optional[str] = ..., url: _Optional[str] = ..., path: _Optional[str] = ..., referrer: _Optional[str] = ..., properties: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., properties_json: _Optional[str] = ..., context: _Optional[_Union[_event_pb2.EventContext, _Mapping]] = ..., ack: _Optional[_Union[Ack, str]] = ...) -> None: ...

class TrackResponse(_message.Message):
    __slots__ = ("ok", "event_id", "anonymous_id", "session_id", "duplicate", "dropped")
    OK_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    ANONYMOUS_ID_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    ok: bool
    event_id: str
    anonymous_id: str
    session_id: str
    duplicate: bool
    dropped: DropReason
    def __init__(self, ok: _Optional[bool] = ..., event_id: _Optional[str] = ..., anonymous_id: _Optional[str] = ..., session_id: _Optional[str] = ..., duplicate: _Optional[bool] = ..., dropped: _Optional[_Union[DropReason, str]] = ...) -> None: ...

class BatchRequest(_message.Message):
    __slots__ = ("events", "mode", "ack")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_event_pb2.Event]
    mode: BatchMode
    ack: Ack
    def __init__(self, events: _Optional[_Iterable[_Union[_event_pb2.Event, _Mapping]]] = ..., mode: _Optional[_Union[BatchMode, str]] = ..., ack: _Optional[_Union[Ack, str]] = ...) -> None: ...

class BatchResponse(_message.Message):
    __slots__ = ("ok", "count", "duplicates", "outcomes", "dropped", "dropped_count")
    OK_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    DROPPED_COUNT_FIELD_NUMBER: _ClassVar[int]
    ok: bool
    count: int
    duplicates: int
    outcomes: _containers.RepeatedCompositeFieldContainer[EventOutcome]
    dropped: DropReason
    dropped_count: int
    def __init__(self, ok: _Optional[bool] = ..., count: _Optional[int] = ..., duplicates: _Optional[int] = ..., outcomes: _Optional[_Iterable[_Union[EventOutcome, _Mapping]]] = ..., dropped: _Optional[_Union[DropReason, str]] = ..., dropped_count: _Optional[int] = ...) -> None: ...

class EventOutcome(_message.Message):
    __slots__ = ("outcome", "event_id", "reason", "field_errors")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    FIELD_ERRORS_FIELD_NUMBER: _ClassVar[int]
    outcome: Outcome
    event_id: str
    reason: str
    field_errors: _containers.RepeatedCompositeFieldContainer[FieldError]
    def __init__(self, outcome: _Optional[_Union[Outcome, str]] = ..., event_id: _Optional[str] = ..., reason: _Optional[str] = ..., field_errors: _Optional[_Iterable[_Union[FieldError, _Mapping]]] = ...) -> None: ...

class FieldError(_message.Message):
    __slots__ = ("field", "message")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    field: str
    message: str
    def __init__(self, field: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class IdentifyRequest(_message.Message):
    __slots__ = ("anonymous_id", "user_id", "traits", "traits_json", "event_id", "timestamp", "context", "ack")
    ANONYMOUS_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TRAITS_FIELD_NUMBER: _ClassVar[int]
    TRAITS_JSON_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    anonymous_id: str
    user_id: str
    traits: _struct_pb2.Struct
    traits_json: str
    event_id: str
    timestamp: _timestamp_pb2.Timestamp
    context: _event_pb2.EventContext
    ack: Ack
    def __init__(self, anonymous_id: _Optional[str] = ..., user_id: _Optional[str] = ..., traits: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., traits_json: _Optional[str] = ..., event_id: _Optional[str] = ..., timestamp: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., context: _Optional[_Union[_event_pb2.EventContext, _Mapping]] = ..., ack: _Optional[_Union[Ack, str]] = ...) -> None: ...

class IdentifyResponse(_message.Message):
    __slots__ = ("ok", "dropped")
    OK_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    ok: bool
    dropped: DropReason
    def __init__(self, ok: _Optional[bool] = ..., dropped: _Optional[_Union[DropReason, str]] = ...) -> None: ...

class TrackStreamRequest(_message.Message):
    __slots__ = ("sequence", "event")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    event: _event_pb2.Event
    def __init__(self, sequence: _Optional[int] = ..., event: _Optional[_Union[_event_pb2.Event, _Mapping]] = ...) -> None: ...

class TrackStreamResponse(_message.Message):
    __slots__ = ("sequence", "outcome")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    outcome: EventOutcome
    def __init__(self, sequence: _Optional[int] = ..., outcome: _Optional[_Union[EventOutcome, _Mapping]] = ...) -> None: ...
