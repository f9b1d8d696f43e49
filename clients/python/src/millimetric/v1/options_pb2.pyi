from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor
RPC_FIELD_NUMBER: _ClassVar[int]
rpc: _descriptor.FieldDescriptor
REASON_FIELD_NUMBER: _ClassVar[int]
reason: _descriptor.FieldDescriptor

class RpcOptions(_message.Message):
    __slots__ = ("get",)
    GET_FIELD_NUMBER: _ClassVar[int]
    get: str
    def __init__(self, get: _Optional[str] = ...) -> None: ...

class ReasonOptions(_message.Message):
    __slots__ = ("code", "http_status", "is_retryable")
    CODE_FIELD_NUMBER: _ClassVar[int]
    HTTP_STATUS_FIELD_NUMBER: _ClassVar[int]
    IS_RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    code: str
    http_status: int
    is_retryable: bool
    def __init__(self, code: _Optional[str] = ..., http_status: _Optional[int] = ..., is_retryable: _Optional[bool] = ...) -> None: ...
