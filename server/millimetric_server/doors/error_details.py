"""A planned error as google.rpc details, for gRPC and Connect alike."""

import re
from collections.abc import Sequence

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message as ProtoMessage
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from millimetric_server.api.errors import AppError, Violation

DOMAIN = "millimetric"
# Beside the bad events of a batch, which take at most 2.5 kB (every other one of 1,000).
_VIOLATIONS_BYTES_MAX = 3000
_VIOLATION_BYTES = 8  # tags and lengths
_EVENT = re.compile(r"events\[(\d+)\]")


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


def shorten(error: AppError) -> AppError:
    """The same error, small enough for trailers: clients of gRPC take 8 KiB of metadata unless told otherwise.

    Where not all violations have room, `bad_events` in the metadata still names every event that has one: `0-2,7`.
    """
    bytes_left = _VIOLATIONS_BYTES_MAX
    kept: list[Violation] = []
    for violation in error.violations:
        bytes_left -= len(violation.field.encode()) + len(violation.message.encode()) + _VIOLATION_BYTES
        if bytes_left < 0 and kept:
            break
        kept.append(violation)
    if len(kept) == len(error.violations):
        return error
    indexes = {int(match[1]) for one in error.violations if (match := _EVENT.match(one.field))}
    named = {"bad_events": _write_ranges(sorted(indexes))} if indexes else {}
    return AppError(
        error.reason,
        error.message,
        violations=kept,
        retry_after_s=error.retry_after_s,
        code=error.code,
        http_status=error.own_http_status,
        **error.metadata,
        **named,
    )


def _write_ranges(numbers: Sequence[int]) -> str:
    """`0-2,7` for 0, 1, 2 and 7."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(f"{first}" if first == last else f"{first}-{last}" for first, last in ranges)


def make_status(error: AppError) -> Status:
    """The whole error as gRPC and gRPC-Web carry it beside code and message."""
    status = Status(code=error.code.value[0], message=error.message)
    for detail in make_details(shorten(error)):
        status.details.add().Pack(detail)
    return status
