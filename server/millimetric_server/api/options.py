"""Reads the protos' custom options (options.proto), with types, since the generated stubs give extensions none."""

from typing import Any

from google.protobuf.descriptor_pb2 import EnumValueOptions, FieldOptions, MethodOptions

from millimetric.v1 import options_pb2
from millimetric.v1.options_pb2 import FieldLimits, ReasonOptions, RpcOptions

_RPC: Any = options_pb2.rpc
_LIMITS: Any = options_pb2.limits
_REASON: Any = options_pb2.reason


def read_rpc(options: MethodOptions) -> RpcOptions:
    """Read what an RPC is beyond its messages."""
    rpc: RpcOptions = options.Extensions[_RPC]
    return rpc


def read_limits(options: FieldOptions) -> FieldLimits:
    """Read what is accepted in a field."""
    limits: FieldLimits = options.Extensions[_LIMITS]
    return limits


def read_reason(options: EnumValueOptions) -> ReasonOptions:
    """Read how an error reason is reported."""
    reason: ReasonOptions = options.Extensions[_REASON]
    return reason
