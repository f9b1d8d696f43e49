"""A planned error as google.rpc details, for gRPC and Connect alike."""

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message as ProtoMessage
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from millimetric_server.errors import AppError

DOMAIN = "millimetric"


def make_details(error: AppError) -> list[ProtoMessage]:
    """ErrorInfo always; BadRequest where fields are wrong; RetryInfo where waiting helps."""
    metadata = {name: value if isinstance(value, str) else ",".join(value) for name, value in error.metadata.items()}
    details: list[ProtoMessage] = [ErrorInfo(reason=error.reason.name, domain=DOMAIN, metadata=metadata)]
    if error.violations:
        details.append(
            BadRequest(
                field_violations=[
                    BadRequest.FieldViolation(field=one.field, description=one.message) for one in error.violations
                ]
            )
        )
    if error.retry_after_s is not None:
        delay = Duration()
        delay.FromMicroseconds(round(error.retry_after_s * 1e6))
        details.append(RetryInfo(retry_delay=delay))
    return details


def make_status(error: AppError) -> Status:
    """The whole error as gRPC and gRPC-Web carry it beside code and message."""
    status = Status(code=error.code.value[0], message=error.message)
    for detail in make_details(error):
        status.details.add().Pack(detail)
    return status
