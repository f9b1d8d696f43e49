"""The case files cover the whole contract: every reason, every method, in words that agree with each other."""

from contract.case_files import load_cases
from millimetric.v1 import error_reason_pb2, ingest_service_pb2, privacy_service_pb2, query_service_pb2
from millimetric_server.api.call import Streaming
from support.rpcs import RPCS

# Of MCP, which is not served yet, of a fault, which test_internal_error makes, and of deadlines (test_connect_wires).
_ELSEWHERE = {"key_kind_not_allowed", "internal_error", "deadline_exceeded"}
_CASES = load_cases()


def test_every_reason_has_a_case() -> None:
    names = error_reason_pb2.ErrorReason.keys()
    reasons = {name.removeprefix("ERROR_REASON_").lower() for name in names} - {"unspecified"}
    assert {case.want.reason for case in _CASES} - {""} == reasons - _ELSEWHERE


def test_a_reason_has_one_code_and_one_status() -> None:
    """But where a protocol has a word of its own: unknown methods, verbs, kinds of body, compressions."""
    told: dict[str, set[tuple[str, int]]] = {}
    for case in _CASES:
        if case.want.reason and case.want.code not in ("UNIMPLEMENTED", "UNKNOWN"):
            told.setdefault(case.want.reason, set()).add((case.want.code, case.want.http_status))
    assert {reason: pairs for reason, pairs in told.items() if len(pairs) > 1} == {}


def test_every_method_has_cases_that_succeed_and_fail() -> None:
    told = {(case.call.rpc, case.want.code == "OK") for case in _CASES}
    for rpc in RPCS:
        if rpc.streaming is not Streaming.NONE:  # a case has one answer: tests/integration has theirs
            continue
        assert (rpc.name, True) in told, rpc.name
        assert (rpc.name, False) in told, rpc.name


def test_every_method_of_the_protos_has_a_case() -> None:
    modules = (ingest_service_pb2, privacy_service_pb2, query_service_pb2)
    services = [service for module in modules for service in module.DESCRIPTOR.services_by_name.values()]
    methods = {method.name for service in services for method in service.methods}
    assert methods <= {case.call.rpc for case in _CASES}
