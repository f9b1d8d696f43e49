"""Every way a call can fail: its reason, and how it is reported, as the protos say (error_reason.proto)."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import grpc

from millimetric.v1.error_reason_pb2 import ErrorReason
from millimetric_server.api.options import read_reason


class Reason(StrEnum):
    """The words of millimetric.v1.ErrorReason, in lower case as REST says them."""

    INVALID_PAYLOAD = "invalid_payload"
    INVALID_PARAMS = "invalid_params"
    INVALID_GROUP_BY = "invalid_group_by"
    MISSING_BEARER_TOKEN = "missing_bearer_token"  # noqa: S105 - a word, not a secret
    MALFORMED_API_KEY = "malformed_api_key"
    INVALID_API_KEY = "invalid_api_key"
    KEY_KIND_MISMATCH = "key_kind_mismatch"
    ORIGIN_NOT_ALLOWED = "origin_not_allowed"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    FORGET_REQUIRES_SECRET_KEY = "forget_requires_secret_key"  # noqa: S105 - a word, not a secret
    KEY_KIND_NOT_ALLOWED = "key_kind_not_allowed"
    NOT_FOUND = "not_found"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    RATE_LIMITED = "rate_limited"
    FORGET_FAILED = "forget_failed"
    INTERNAL_ERROR = "internal_error"
    UPSTREAM_FAILED = "upstream_failed"
    OVERLOADED = "overloaded"
    DEADLINE_EXCEEDED = "deadline_exceeded"


@dataclass(frozen=True, slots=True)
class Failure:
    """How a reason is reported: its gRPC code, its HTTP status over REST, its log level."""

    code: grpc.StatusCode
    http_status: int
    log_level: int
    is_retryable: bool


_ENDING_RETRY_S = 5.0
_CODE = grpc.StatusCode
# What an operator should see of a call that failed; everything else is the caller's business and stays at debug level.
_LOG_LEVELS = {
    Reason.INVALID_API_KEY: logging.INFO,
    Reason.KEY_KIND_MISMATCH: logging.INFO,
    Reason.ORIGIN_NOT_ALLOWED: logging.INFO,
    Reason.PAYLOAD_TOO_LARGE: logging.INFO,
    Reason.UPSTREAM_FAILED: logging.WARNING,
    Reason.OVERLOADED: logging.WARNING,
    Reason.FORGET_FAILED: logging.ERROR,
    Reason.INTERNAL_ERROR: logging.ERROR,
}


def _read_failure(reason: Reason) -> Failure:
    told = read_reason(ErrorReason.DESCRIPTOR.values_by_name[f"ERROR_REASON_{reason.name}"].GetOptions())
    level = _LOG_LEVELS.get(reason, logging.DEBUG)
    return Failure(grpc.StatusCode[told.code], told.http_status, level, told.is_retryable)


FAILURES: Mapping[Reason, Failure] = {reason: _read_failure(reason) for reason in Reason}


@dataclass(frozen=True, slots=True)
class Violation:
    """What is wrong with one field: its path, such as `events[3].url`, and a sentence."""

    field: str
    message: str


class AppError(Exception):
    """A call failed for a planned reason. Everything in it may be shown to the caller.

    `code` and `http_status` replace those of the table where a protocol has a more specific one for the same reason.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        violations: Sequence[Violation] = (),
        retry_after_s: float | None = None,
        code: grpc.StatusCode | None = None,
        http_status: int | None = None,
        **metadata: str | Sequence[str],
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.violations = tuple(violations)
        self.retry_after_s = retry_after_s
        self.metadata = metadata
        self.code = code or self.failure.code
        self.own_http_status = http_status

    @property
    def failure(self) -> Failure:
        """The reason's row of the table."""
        return FAILURES[self.reason]


def invalid_payload(violations: Sequence[Violation]) -> AppError:
    """Make the error for a body that does not validate; it names each field."""
    return AppError(Reason.INVALID_PAYLOAD, _summarise(violations), violations=violations)


def make_ending() -> AppError:
    """Make the error for a call that arrives, or is still running, when the server shuts down."""
    return AppError(Reason.OVERLOADED, "the server is shutting down", retry_after_s=_ENDING_RETRY_S)


def invalid_params(field: str, message: str) -> AppError:
    """Make the error for a query parameter that does not validate."""
    violation = Violation(field, message)
    return AppError(Reason.INVALID_PARAMS, _summarise((violation,)), violations=(violation,))


def no_such_method(message: str = "this server has no such method") -> AppError:
    """Make the error for a method that is not served: not_found over REST, UNIMPLEMENTED over the RPC protocols."""
    return AppError(Reason.NOT_FOUND, message, code=_CODE.UNIMPLEMENTED)


def no_such_service() -> AppError:
    """Make the error for a path of our package that names no known service."""
    return AppError(Reason.NOT_FOUND, "there is no such service", code=_CODE.UNIMPLEMENTED, http_status=404)


def wrong_verb(allowed: Sequence[str]) -> AppError:
    """Make the error for a known route that is called with another HTTP method."""
    verbs = " or ".join(allowed)
    return AppError(Reason.NOT_FOUND, f"this route only accepts {verbs}", code=_CODE.UNKNOWN, http_status=405)


def wrong_content_type(allowed: Sequence[str]) -> AppError:
    """Make the error for a body of a kind that the route does not read."""
    violation = Violation("content-type", f"must be {' or '.join(allowed)}")
    return AppError(
        Reason.INVALID_PAYLOAD, _summarise((violation,)), violations=(violation,), code=_CODE.UNKNOWN, http_status=415
    )


def unsupported_encoding(field: str, allowed: Sequence[str]) -> AppError:
    """Make the error for a compression that this server does not read."""
    violation = Violation(field, f"must be {', '.join(allowed)} or identity")
    return AppError(Reason.INVALID_PAYLOAD, _summarise((violation,)), violations=(violation,), code=_CODE.UNIMPLEMENTED)


def deadline_passed() -> AppError:
    """Make the answer to a call whose deadline has passed."""
    message = "the call's deadline has passed; a write may have been stored: retry it with the same event_id"
    return AppError(Reason.DEADLINE_EXCEEDED, message)


def _summarise(violations: Sequence[Violation]) -> str:
    first = f"{violations[0].field}: {violations[0].message}"
    return first if len(violations) == 1 else f"{first} (and {len(violations) - 1} more)"
