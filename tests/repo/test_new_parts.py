"""An RPC, an error reason and a guard made by the lists in CONTRIBUTING alone, in a copy of the repository, work."""

import grpc
import httpx
import pytest

from integration.reads import bearer, read_reason
from repo.doc_files import read_section
from repo.scratch_copy import Edit, ScratchCopy, shorten
from support.server_process import ServerProcess

_RPCS = "server/millimetric_server/rpcs.py"
_READS, _GUARDS = "server/millimetric_server/reads/", "server/millimetric_server/guards/"
_RPC = (
    Edit(
        "proto/millimetric/v1/query_service.proto",
        "service QueryService {\n",
        """\
  // The names of a project's events.
  rpc EventNames(EventNamesRequest) returns (EventNamesResponse) {
    option idempotency_level = NO_SIDE_EFFECTS;
    option (google.api.http) = {get: "/v1/event-names"};
    option (rpc) = {
      keys: "sk"
      keys: "rk"
      keys: "ak"
    };
  }
""",
    ),
    Edit(
        "proto/millimetric/v1/query_service.proto",
        "// A step of a funnel.\n",
        """\
message EventNamesRequest {
  // The project, with an account key; other keys have one project and may leave it out.
  string project = 1;
  // Names, 1 to 100. Absent: 20.
  optional int32 limit = 2 [(limits) = {
    value_min: 1
    value_max: 100
    value_absent: 20
  }];
}

// The names, in their order.
message EventNamesResponse {
  // One row per name.
  repeated string names = 1;
}

// A step of a funnel.
""",
    ),
    Edit(_RPCS, "    BatchResponse,\n", "    EventNamesRequest,\n    EventNamesResponse,\n"),
    Edit(
        _RPCS,
        "from millimetric_server.reads.deps import ReadDeps\n",
        "from millimetric_server.reads.event_names import event_names, validate_event_names\n",
    ),
    Edit(
        _RPCS,
        "    rpcs = (\n",
        '        UnaryRpc(_QUERY, "EventNames", _READERS, EventNamesRequest, EventNamesResponse,\n'
        "                 validate_event_names, event_names, reads, is_read=True),\n",
    ),
)
_REASON = (
    Edit(
        "proto/millimetric/v1/error_reason.proto",
        "  ERROR_REASON_UNSPECIFIED = 0;\n",
        """\
  // The project's events are not wanted for now.
  ERROR_REASON_PROJECT_PAUSED = 20 [(reason) = {
    code: "FAILED_PRECONDITION"
    http_status: 409
  }];
""",
    ),
    Edit(
        "server/millimetric_server/api/errors.py",
        '    DEADLINE_EXCEEDED = "deadline_exceeded"\n',
        '    PROJECT_PAUSED = "project_paused"\n',
    ),
)
_GUARD = (
    Edit(
        f"{_GUARDS}caller.py",
        "from millimetric_server.guards.deps import GuardDeps\n",
        "from millimetric_server.guards.pause import check_pause\n",
    ),
    Edit(
        f"{_GUARDS}caller.py",
        "    check_origin,  # before the message: the body of a foreign page is not looked at\n",
        "    check_pause,\n",
    ),
)
_FILES = {
    f"{_GUARDS}pause.py": '''\
"""The pause: projects whose events are not wanted for now."""

from millimetric_server.api.call import Call
from millimetric_server.api.errors import AppError, Reason
from millimetric_server.guards.deps import GuardDeps


def check_pause(call: Call, _deps: GuardDeps) -> None:
    """Raise AppError project_paused."""
    if call.project.name == "paused":
        raise AppError(Reason.PROJECT_PAUSED, "this project is paused")
''',
    f"{_READS}event_names.py": '''\
"""EventNames: the names of a project's events."""

from millimetric.v1 import query_service_pb2
from millimetric_server.api.call import Call
from millimetric_server.api.limits import list_limits
from millimetric_server.api.messages import EventNamesRequest, EventNamesResponse
from millimetric_server.api.pending import Pending
from millimetric_server.reads.bounds import check_number
from millimetric_server.reads.deps import ReadDeps
from millimetric_server.store.statements import read_statement

_LIMITS = list_limits(query_service_pb2.EventNamesRequest)


def validate_event_names(request: EventNamesRequest, _call: Call) -> int:
    """Check an EventNames. Raises AppError invalid_params."""
    return check_number("limit", request.limit, _LIMITS)


async def event_names(call: Call, limit: int, deps: ReadDeps) -> EventNamesResponse:
    """Answer the names of the project's events."""
    parameters = {"project": call.project.project_id, "limit": limit}
    rows = await Pending(deps.store.reads.run(read_statement("event_names.list"), parameters, call.cancellation))
    return EventNamesResponse([name for (name,) in rows])
''',
    f"{_READS}sql/event_names.list.sql": """\
-- The names of a project's events. Parameters: project, limit. Reads the project's daily roll-up.
SELECT DISTINCT event FROM daily_rollup WHERE project_id = {project:String} ORDER BY event LIMIT {limit:UInt32}
""",
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> ScratchCopy:
    """The repository with the three, and all that `make generate` makes of it."""
    copy = ScratchCopy(tmp_path_factory.mktemp("copy") / "millimetric")
    copy.edit(_RPC + _REASON + _GUARD, _FILES)
    return copy


@pytest.mark.parametrize(
    ("heading", "places"),
    [
        ("Add an RPC", ["proto/millimetric/v1", "reads/", "sql/<rpc>.<query>.sql", shorten(_RPCS)]),
        ("Add an error reason", [shorten(edit.path) for edit in _REASON]),
        ("Add a guard", ["guards/", shorten(_GUARD[0].path)]),
    ],
)
def test_the_list_names_every_file_that_was_edited(heading: str, places: list[str]) -> None:
    steps = read_section("CONTRIBUTING.md", heading)
    assert [place for place in places if f"`{place}`" not in steps] == []


def test_every_door_serves_the_rpc(copy: ScratchCopy) -> None:
    with ServerProcess(environ=dict(copy.environ)) as server:
        keys = server.create_project("rpc")
        for name in ("signup", "purchase"):
            event = {"event": name, "ack": "stored"}
            sent = httpx.post(f"{server.base_url}/v1/track", json=event, headers=bearer(keys.secret), timeout=60)
            assert sent.status_code == 202, sent.text
        headers, path = bearer(keys.read), "millimetric.v1.QueryService/EventNames"
        asked = httpx.get(f"{server.base_url}/v1/event-names", headers=headers, timeout=60)
        assert asked.json() == {"names": ["purchase", "signup"]}
        asked = httpx.post(f"{server.base_url}/{path}", json={"limit": 1}, headers=headers, timeout=60)
        assert asked.json() == {"names": ["purchase"]}
        refused = httpx.get(f"{server.base_url}/v1/event-names?limit=101", headers=headers, timeout=60)
        assert (refused.status_code, refused.json()["error"]) == (400, "invalid_params")
        refused = httpx.get(f"{server.base_url}/v1/event-names", headers=bearer(keys.public), timeout=60)
        assert refused.json()["error"] == "insufficient_scope"
        with grpc.insecure_channel(server.grpc_address) as channel:
            ask = channel.unary_unary(f"/{path}", bytes, bytes)
            answer = ask(b"", timeout=60, metadata=(("authorization", headers["Authorization"]),))
        assert answer == b"\x0a\x08purchase\x0a\x06signup"


def test_every_door_tells_the_guard_s_reason(copy: ScratchCopy) -> None:
    with ServerProcess(environ=dict(copy.environ)) as server:
        keys = server.create_project("paused")
        refused = httpx.post(
            f"{server.base_url}/v1/track", json={"event": "a"}, headers=bearer(keys.secret), timeout=60
        )
        assert (refused.status_code, refused.json()["error"]) == (409, "project_paused")
        metadata = (("authorization", bearer(keys.secret)["Authorization"]),)
        with grpc.insecure_channel(server.grpc_address) as channel:
            track = channel.unary_unary("/millimetric.v1.IngestService/Track", bytes, bytes)
            with pytest.raises(grpc.RpcError) as raised:
                track(b"", timeout=60, metadata=metadata)
        assert raised.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert read_reason(raised.value) == "PROJECT_PAUSED"


def test_the_row_is_typed_and_the_pages_know_the_parts(copy: ScratchCopy) -> None:
    copy.run("python", "-m", "mypy", "server/millimetric_server/rpcs.py", "server/millimetric_server/reads")
    assert "EventNames" in (copy.root / "docs/api/reference.md").read_text("utf-8")
    assert "project_paused" in (copy.root / "docs/api/errors.md").read_text("utf-8")
    copy.run_tests("repo/test_messages.py", "repo/test_generated_pages.py")
