"""What Explain must look like: an event as in Track, and a rule set that there is."""

import msgspec

from millimetric_server.api.call import Call
from millimetric_server.api.errors import Violation, invalid_payload
from millimetric_server.api.messages import ExplainRequest
from millimetric_server.enrich.attribution import RULE_SETS
from millimetric_server.enrich.checked_event import CheckedEvent
from millimetric_server.ingest.check_event import check_event


class CheckedExplain(msgspec.Struct, frozen=True):
    """An Explain to carry out; an empty `rule_set` is the project's."""

    event: CheckedEvent
    rule_set: str


def validate_explain(request: ExplainRequest, call: Call) -> CheckedExplain:
    """Check an Explain. Raises AppError invalid_payload."""
    checked = check_event(request, call.received_at)
    problems = list(checked) if isinstance(checked, tuple) else []
    if request.rule_set and request.rule_set not in RULE_SETS:
        problems.append(Violation("rule_set", f"must be one of {', '.join(RULE_SETS)}"))
    if problems or isinstance(checked, tuple):
        raise invalid_payload(problems)
    return CheckedExplain(checked, request.rule_set or "")
