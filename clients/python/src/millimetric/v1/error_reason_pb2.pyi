from millimetric.v1 import options_pb2 as _options_pb2
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_PAYLOAD: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_PARAMS: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_GROUP_BY: _ClassVar[ErrorReason]
    ERROR_REASON_MISSING_BEARER_TOKEN: _ClassVar[ErrorReason]
    ERROR_REASON_MALFORMED_API_KEY: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_API_KEY: _ClassVar[ErrorReason]
    ERROR_REASON_KEY_KIND_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_ORIGIN_NOT_ALLOWED: _ClassVar[ErrorReason]
    ERROR_REASON_INSUFFICIENT_SCOPE: _ClassVar[ErrorReason]
    ERROR_REASON_FORGET_REQUIRES_SECRET_KEY: _ClassVar[ErrorReason]
    ERROR_REASON_KEY_KIND_NOT_ALLOWED: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_PAYLOAD_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_RATE_LIMITED: _ClassVar[ErrorReason]
    ERROR_REASON_FORGET_FAILED: _ClassVar[ErrorReason]
    ERROR_REASON_INTERNAL_ERROR: _ClassVar[ErrorReason]
    ERROR_REASON_UPSTREAM_FAILED: _ClassVar[ErrorReason]
    ERROR_REASON_OVERLOADED: _ClassVar[ErrorReason]
    ERROR_REASON_DEADLINE_EXCEEDED: _ClassVar[ErrorReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_INVALID_PAYLOAD: ErrorReason
ERROR_REASON_INVALID_PARAMS: ErrorReason
ERROR_REASON_INVALID_GROUP_BY: ErrorReason
ERROR_REASON_MISSING_BEARER_TOKEN: ErrorReason
ERROR_REASON_MALFORMED_API_KEY: ErrorReason
ERROR_REASON_INVALID_API_KEY: ErrorReason
ERROR_REASON_KEY_KIND_MISMATCH: ErrorReason
ERROR_REASON_ORIGIN_NOT_ALLOWED: ErrorReason
ERROR_REASON_INSUFFICIENT_SCOPE: ErrorReason
ERROR_REASON_FORGET_REQUIRES_SECRET_KEY: ErrorReason
ERROR_REASON_KEY_KIND_NOT_ALLOWED: ErrorReason
ERROR_REASON_NOT_FOUND: ErrorReason
ERROR_REASON_PAYLOAD_TOO_LARGE: ErrorReason
ERROR_REASON_RATE_LIMITED: ErrorReason
ERROR_REASON_FORGET_FAILED: ErrorReason
ERROR_REASON_INTERNAL_ERROR: ErrorReason
ERROR_REASON_UPSTREAM_FAILED: ErrorReason
ERROR_REASON_OVERLOADED: ErrorReason
ERROR_REASON_DEADLINE_EXCEEDED: ErrorReason
