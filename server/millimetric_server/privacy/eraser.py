"""Carries out erasures: removes a person's events and rebuilds the days and sessions they touched.

Every step can be repeated: what is touched is kept in the journal before the first row goes.
"""

import logging
import time

from millimetric_server.journal.blocks import Leadership
from millimetric_server.journal.erasures import DEAD_LETTERS, Erasure, ErasurePlan, ErasureStage
from millimetric_server.journal.port import Erasures
from millimetric_server.store.clickhouse import ClickHouse
from millimetric_server.store.rollups import (
    ROLLUPS,
    SESSIONS,
    WAIT_FOR_DELETION,
    build_rollup_statement,
    rebuild,
    split_ids,
)
from millimetric_server.store.statements import read_statement

log = logging.getLogger(__name__)

# The person's events that were received before the request, or are older than it.
MATCH_USER = "(user_id = {user_id:String} OR (user_id = '' AND anonymous_id IN {devices:Array(String)}))"
MATCH_DEVICE = "anonymous_id = {anonymous_id:String}"
MATCH = (
    "project_id = {project:String} AND (received_at <= fromUnixTimestamp64Micro({asked:Int64}) "
    "OR timestamp < fromUnixTimestamp64Micro({asked:Int64})) AND "
)


def run_erasure(store: ClickHouse, erasures: Erasures, lead: Leadership, erasure: Erasure) -> None:
    """Carry out one erasure, from its beginning or from where it was interrupted.

    Raises StoreUnavailableError, LeadershipLostError.

    Runs on the loader's thread, so that no block is inserted between a deletion and its rebuild.
    """
    plan = erasure.plan
    if erasure.stage is ErasureStage.QUEUED:
        plan = _make_plan(store, erasure)
        erasures.plan(lead, erasure, plan)
    removed = {DEAD_LETTERS: erasures.remove_dead_letters(lead, erasure)}
    if not plan.rows_before["events"]:
        erasures.finish(lead, erasure, dict.fromkeys(plan.rows_before, 0) | removed, 0, time.time_ns() // 1000)
        return
    match = MATCH + (MATCH_USER if erasure.user_id else MATCH_DEVICE)
    parameters = _parameters(erasure, plan.devices)
    store.command(read_statement("forget.delete_events").replace("%MATCH%", match), parameters, **WAIT_FOR_DELETION)
    rebuild(store, erasure.project_id, plan.days, plan.sessions)
    after = _count_rollups(store, erasure.project_id, plan)
    ((_, _, residual),) = store.query(read_statement("forget.touched").replace("%MATCH%", match), parameters)
    after["events"] = residual
    store.sync()
    removed |= {table: plan.rows_before[table] - after[table] for table in plan.rows_before}
    erasures.finish(lead, erasure, removed, residual, time.time_ns() // 1000)
    log.info("erasure %s: done, %d events removed, residual %d", erasure.erasure_id, removed["events"], residual)


def _make_plan(store: ClickHouse, erasure: Erasure) -> ErasurePlan:
    devices: tuple[str, ...] = ()
    match = MATCH + (MATCH_USER if erasure.user_id else MATCH_DEVICE)
    if erasure.user_id:
        found = store.query(
            read_statement("forget.linked_devices"),
            {"project": erasure.project_id, "user_id": erasure.user_id},
        )
        devices = tuple(device for (device,) in found)
    ((days, sessions, events),) = store.query(
        read_statement("forget.touched").replace("%MATCH%", match), _parameters(erasure, devices)
    )
    plan = ErasurePlan(devices, tuple(days), tuple(sessions))
    return ErasurePlan(
        devices,
        plan.days,
        plan.sessions,
        {"events": events, **_count_rollups(store, erasure.project_id, plan)},
    )


def _count_rollups(store: ClickHouse, project_id: str, plan: ErasurePlan) -> dict[str, int]:
    counts = {}
    for rollup in ROLLUPS:
        statement = build_rollup_statement("forget.count", rollup)
        ids = plan.sessions if rollup is SESSIONS else plan.days
        found = (store.query(statement, {"project": project_id, rollup.part: chunk}) for chunk in split_ids(ids))
        counts[rollup.table] = sum(count for ((count,),) in found)
    return counts


def _parameters(erasure: Erasure, devices: tuple[str, ...]) -> dict[str, object]:
    return {
        "project": erasure.project_id,
        "user_id": erasure.user_id,
        "anonymous_id": erasure.anonymous_id,
        "devices": list(devices),
        "asked": erasure.requested_at,
    }
