"""The same event_id with other content: counted and logged for the operator, without a word of the content."""

import httpx

from contract.doors import WireCall
from contract.projects import Tenant
from contract.stage import Stage
from support.waiting import wait_until

_METRIC = "millimetric_event_id_conflicts_total "


def _count_conflicts(stage: Stage) -> float:
    lines = httpx.get(stage.server.metrics_url).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(_METRIC))


def _track(stage: Stage, tenant: Tenant, event: str, **request: str) -> bool:
    call = WireCall("Track", tenant.keys["sk"], request={"event": event, "event_id": "e1", **request})
    return bool(stage.doors.send("rest", call).response["duplicate"])


def test_a_conflict_is_counted_and_logged(stage: Stage, tenant: Tenant) -> None:
    before = _count_conflicts(stage)
    assert not _track(stage, tenant, "signup")
    assert _track(stage, tenant, "signup")
    assert _count_conflicts(stage) == before
    assert _track(stage, tenant, "login")
    assert _count_conflicts(stage) == before + 1
    wait_until(
        lambda: any(tenant.project_id in line and " WARNING " in line for line in stage.server.log.splitlines()),
        "the log has the conflict",
    )
