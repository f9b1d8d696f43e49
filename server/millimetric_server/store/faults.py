"""Classifies ClickHouse's errors: it is unreachable, it refuses rows, or it fails; and describes them."""

import re
import threading
import time

from millimetric_server.api.errors import AppError, Reason, invalid_params
from millimetric_server.process.workers import StopWorkError

# ClickHouse's error codes that blame a row's values. For any other error the rows wait.
_ROW_FAULTS = {
    6: "CANNOT_PARSE_TEXT",
    26: "CANNOT_PARSE_QUOTED_STRING",
    27: "CANNOT_PARSE_INPUT_ASSERTION_FAILED",
    38: "CANNOT_PARSE_DATE",
    41: "CANNOT_PARSE_DATETIME",
    44: "ILLEGAL_COLUMN",
    53: "TYPE_MISMATCH",
    69: "ARGUMENT_OUT_OF_BOUND",
    70: "CANNOT_CONVERT_TYPE",
    72: "CANNOT_PARSE_NUMBER",
    117: "INCORRECT_DATA",
    131: "TOO_LARGE_STRING_SIZE",
    321: "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE",
    349: "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN",
    395: "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO",
    407: "DECIMAL_OVERFLOW",
    469: "VIOLATED_CONSTRAINT",
}
_THROW_IF = 395
# What our own checks inside of statements say (see fence.py and insert_lock.py).
FENCED = "another process has claimed the journal of this server"
INSERTS_LOCKED = "another server is changing the schema or roll-ups"
# What ClickHouse says to a set-up that is wrong, by its code.
_SET_UP_FAULTS = {
    **dict.fromkeys(
        (192, 193, 194, 516),
        "ClickHouse refuses the user or the password: correct them in MILLIMETRIC_CLICKHOUSE_URL",
    ),
    **dict.fromkeys(
        (291, 497),
        "ClickHouse's user lacks a privilege that the server needs: grant it all on MILLIMETRIC_CLICKHOUSE_DATABASE",
    ),
    **dict.fromkeys(
        (46, 50, 62, 115),
        "ClickHouse does not understand a statement of this server: its version is too old or too new, see "
        "docs/operations.md",
    ),
    243: "ClickHouse's disk is full: make room",
}
# What a read took too much of, by ClickHouse's code.
_READ_LIMITS = {
    158: "read too many rows",
    159: "took too long",
    160: "would take too long",
    241: "needed too much memory",
    307: "read too many bytes",
    396: "returned too many rows",
}
# The end of a message, since what stands before may quote a row. Over HTTP version and address follow.
_IN_A_VIEW = re.compile(
    r": while pushing to view [^\s'\"]+\. \([A-Z_]+\)(?: \(version [^)]*\))?(?: \(for url [^)]*\))?\s*$"
)
_RETRY_S = 1.0


class StoreUnavailableError(Exception):
    """ClickHouse did not answer, or failed internally. The text is for the log only."""


class InsertsLockedError(StoreUnavailableError):
    """Another server keeps inserts out of the database for a while: nothing was stored."""

    def __init__(self) -> None:
        super().__init__(INSERTS_LOCKED)


class FencedError(StopWorkError):
    """Another process has claimed the journal that this one loads."""

    def __init__(self) -> None:
        super().__init__(
            f"{FENCED}. It was started on a copy of the data folder, or on the folder after it moved; only one of the "
            "two may run, so stop the other permanently. After a restore: ClickHouse is newer than the journal; "
            "restore both as of one moment, or move journal.db away (docs/operations.md)."
        )


class RowsRefusedError(Exception):
    """ClickHouse refused rows for what they hold, and took none of them.

    `reason` is its name for that and may be shown; `message` may quote the rows.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.message = message


class NoRoomError(Exception):
    """A temporary file can't be written."""


class Outage:
    """A circuit breaker: while ClickHouse does not answer, reads fail at once, except one per second that tries."""

    def __init__(self, try_s: float) -> None:
        self._try_s = try_s  # how long a try may take
        self._lock = threading.Lock()
        self._is_away = False
        self._next_try_at = 0.0

    def may_try(self) -> bool:
        """Tell whether to ask ClickHouse now."""
        with self._lock:
            now = time.monotonic()
            if self._is_away and now < self._next_try_at:
                return False
            self._next_try_at = now + self._try_s  # while this one tries, no other has to
            return True

    def note(self, *, has_answered: bool) -> None:
        """Remember how the last attempt went."""
        with self._lock:
            self._is_away = not has_answered
            self._next_try_at = time.monotonic() + _RETRY_S


def name_row_fault(error: Exception) -> str | None:
    """ClickHouse's name for what is wrong with a row, or None if the error blames no row.

    A view's refusal blames none: the events are in by then, and only the same block may be sent again.
    """
    if _IN_A_VIEW.search(str(error)) or _name_check(error):
        return None
    return _ROW_FAULTS.get(getattr(error, "code", None) or 0)


def name_read_limit(error: BaseException | None) -> str | None:
    """Describe the limit that a read exceeded, or None if it failed for another reason."""
    return _READ_LIMITS.get(getattr(error, "code", None) or 0)


def make_too_much(limit: str) -> AppError:
    """Make the error for a read that exceeds a limit."""
    return invalid_params("from", f"the query {limit}: use a shorter range, or name an event or a filter")


def make_abandoned() -> AppError:
    """Make the error for a cancelled call; only the log and the metrics see it."""
    return AppError(Reason.UPSTREAM_FAILED, "the caller did not wait for the answer")


def make_not_ready() -> AppError:
    """Make the error for a read before the migration is complete: roll-ups may be partly filled."""
    message = "the analytics store is not ready: its schema is being migrated, or it is down; try again"
    return AppError(Reason.UPSTREAM_FAILED, message)


def is_fenced(error: Exception) -> bool:
    """Tell whether ClickHouse refused a statement because this run is not the server's newest."""
    return _name_check(error) == FENCED


def is_locked(error: Exception) -> bool:
    """Tell whether ClickHouse refused a statement because another server keeps inserts out."""
    return _name_check(error) == INSERTS_LOCKED


def _name_check(error: Exception) -> str:
    """Which of our own checks failed, or nothing. Rows can't forge it, because they are quoted later in the text."""
    if getattr(error, "code", None) != _THROW_IF:
        return ""
    text = str(error).partition("DB::Exception: ")[2]
    return next((check for check in (FENCED, INSERTS_LOCKED) if text.startswith(check)), "")


def describe_fault(error: Exception) -> str:
    """A line for the log. Errors about values are described by name only, because their text quotes the values."""
    return (
        _name_check(error)
        or _SET_UP_FAULTS.get(getattr(error, "code", None) or 0)
        or _ROW_FAULTS.get(getattr(error, "code", None) or 0)
        or (str(error).splitlines() or [type(error).__name__])[0][:500]
    )
