from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor
RPC_FIELD_NUMBER: _ClassVar[int]
rpc: _descriptor.FieldDescriptor
LIMITS_FIELD_NUMBER: _ClassVar[int]
limits: _descriptor.FieldDescriptor
REASON_FIELD_NUMBER: _ClassVar[int]
reason: _descriptor.FieldDescriptor

class RpcOptions(_message.Message):
    __slots__ = ("get", "keys", "success_status", "rate_limit")
    GET_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    SUCCESS_STATUS_FIELD_NUMBER: _ClassVar[int]
    RATE_LIMIT_FIELD_NUMBER: _ClassVar[int]
    get: str
    keys: _containers.RepeatedScalarFieldContainer[str]
    success_status: int
    rate_limit: str
    def __init__(self, get: _Optional[str] = ..., keys: _Optional[_Iterable[str]] = ..., success_status: _Optional[int] = ..., rate_limit: _Optional[str] = ...) -> None: ...

class ReasonOptions(_message.Message):
    __slots__ = ("code", "http_status", "is_retryable")
    CODE_FIELD_NUMBER: _ClassVar[int]
    HTTP_STATUS_FIELD_NUMBER: _ClassVar[int]
    IS_RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    code: str
    http_status: int
    is_retryable: bool
    def __init__(self, code: _Optional[str] = ..., http_status: _Optional[int] = ..., is_retryable: _Optional[bool] = ...) -> None: ...

class FieldLimits(_message.Message):
    __slots__ = ("chars_max", "total_chars_max", "bytes_max", "items_min", "items_max", "value_min", "value_max", "value_absent")
    CHARS_MAX_FIELD_NUMBER: _ClassVar[int]
    TOTAL_CHARS_MAX_FIELD_NUMBER: _ClassVar[int]
    BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    ITEMS_MIN_FIELD_NUMBER: _ClassVar[int]
    ITEMS_MAX_FIELD_NUMBER: _ClassVar[int]
    VALUE_MIN_FIELD_NUMBER: _ClassVar[int]
    VALUE_MAX_FIELD_NUMBER: _ClassVar[int]
    VALUE_ABSENT_FIELD_NUMBER: _ClassVar[int]
    chars_max: int
    total_chars_max: int
    bytes_max: int
    items_min: int
    items_max: int
    value_min: int
    value_max: int
    value_absent: int
    def __init__(self, chars_max: _Optional[int] = ..., total_chars_max: _Optional[int] = ..., bytes_max: _Optional[int] = ..., items_min: _Optional[int] = ..., items_max: _Optional[int] = ..., value_min: _Optional[int] = ..., value_max: _Optional[int] = ..., value_absent: _Optional[int] = ...) -> None: ...
