"""What the journal and the loader raise reaches callers as a reason of the API, and nothing else does."""

import pytest

from millimetric_server.api.errors import AppError, Reason
from millimetric_server.doors.failures import translate
from millimetric_server.journal.errors import JournalFullError, JournalUnavailableError, LeadershipLostError
from millimetric_server.loading.errors import EventsDelayedError, EventsRefusedError


@pytest.mark.parametrize(
    ("failure", "reason", "retry_after_s"),
    [
        (JournalFullError("the journal is full", 5.0), Reason.OVERLOADED, 5.0),
        (JournalUnavailableError("the journal is not writable", 1.0), Reason.OVERLOADED, 1.0),
        (EventsDelayedError(), Reason.UPSTREAM_FAILED, None),
        (EventsRefusedError(), Reason.UPSTREAM_FAILED, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_planned_failure_becomes_a_reason(failure: Exception, reason: Reason, retry_after_s: float | None) -> None:
    error = translate(failure)
    assert isinstance(error, AppError)
    assert (error.reason, error.message, error.retry_after_s) == (reason, str(failure), retry_after_s)


@pytest.mark.parametrize("failure", [ValueError("secret"), LeadershipLostError(), AppError(Reason.NOT_FOUND, "none")])
def test_anything_else_stays_what_it_is(failure: Exception) -> None:
    assert translate(failure) is failure
