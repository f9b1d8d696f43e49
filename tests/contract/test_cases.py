"""Every case file through every door: the answer, and what is stored afterwards."""

import contextlib
import time
from dataclasses import replace
from functools import partial

import pytest

from contract.case_files import WRITES, Case, Wanted, load_cases
from contract.doors import Answer
from contract.fillers import Fillers
from contract.matching import compare, find_differences
from contract.projects import Tenant
from contract.stage import Stage, make_fillers
from support.waiting import PATIENCE_S

PARAMETERS = [pytest.param(case, door, id=f"{case.name}-{door}") for case in load_cases() for door in case.doors]


@pytest.mark.parametrize(("case", "door"), PARAMETERS)
def test_case(case: Case, door: str, request: pytest.FixtureRequest) -> None:
    stage: Stage = request.getfixturevalue("troubled_stage" if case.situation else "stage")
    share_or_create = partial(stage.registry.share, case.name) if _stores_nothing(case) else stage.registry.create
    tenant = share_or_create(case.rate_limits)
    fillers = make_fillers(tenant, stage)

    for call in case.before:
        for _ in range(call.times):
            first = stage.call(door, call, tenant, fillers)
            assert first.reason == call.reason, first
            fillers.answer = first.response
    with stage.full_disk() if case.situation == "disk_full" else contextlib.nullcontext():
        answer = _call_until_wanted(case, door, stage, tenant, fillers)

    differences = find_differences(answer, _fill_want(case, fillers), door)
    assert not differences, (differences, answer)
    _check_stored(case, stage, tenant, fillers)


def _call_until_wanted(case: Case, door: str, stage: Stage, tenant: Tenant, fillers: Fillers) -> Answer:
    def call() -> Answer:
        return stage.call(door, case.call, tenant, fillers)

    answer = call()
    if case.is_eventual:
        deadline = time.monotonic() + PATIENCE_S
        while find_differences(answer, _fill_want(case, fillers), door) and time.monotonic() < deadline:
            time.sleep(0.05)
            answer = call()
    return answer


def _stores_nothing(case: Case) -> bool:
    """Whether the doors can share a project, which must be as empty after each as before."""
    return not case.before and (case.want.code != "OK" or case.call.rpc not in WRITES)


def _fill_want(case: Case, fillers: Fillers) -> Wanted:
    return replace(case.want, response=fillers.fill(case.want.response))


def _check_stored(case: Case, stage: Stage, tenant: Tenant, fillers: Fillers) -> None:
    want = case.want
    stored = 0 if want.stored is None and want.code != "OK" and case.call.rpc in WRITES else want.stored
    if case.situation:
        assert stage.count_waiting() == 0
    elif stored is not None or want.rows:
        rows = stage.read_rows(tenant)
        assert stored is None or len(rows) == stored, rows
        differences = compare(rows, fillers.fill(want.rows), "rows") if want.rows else []
        assert not differences, differences
