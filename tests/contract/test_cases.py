"""Every case file through every door: the answer, and what is stored afterwards."""

import contextlib
import time
from dataclasses import replace

import pytest

from contract.case_files import WRITES, Case, Wanted, load_cases
from contract.doors import Answer
from contract.fillers import Fillers
from contract.matching import compare, find_differences
from contract.projects import Tenant
from contract.stage import Stage, make_fillers

_EVENTUALLY_S = 30

PARAMETERS = [pytest.param(case, door, id=f"{case.name}-{door}") for case in load_cases() for door in case.doors]


@pytest.mark.parametrize(("case", "door"), PARAMETERS)
def test_case(case: Case, door: str, request: pytest.FixtureRequest) -> None:
    prefix = "troubled_" if case.situation else ""
    stage: Stage = request.getfixturevalue(f"{prefix}stage")
    tenant: Tenant = request.getfixturevalue(f"{prefix}tenants")[request.node.nodeid]
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
    deadline = time.monotonic() + _EVENTUALLY_S
    while True:
        answer = stage.call(door, case.call, tenant, fillers)
        is_done = not case.is_eventual or not find_differences(answer, _fill_want(case, fillers), door)
        if is_done or time.monotonic() > deadline:
            return answer
        time.sleep(0.05)


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
