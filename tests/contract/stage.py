"""A server, its projects and its doors: makes calls of cases, and looks what is stored."""

import contextlib
import resource
from collections.abc import Iterator
from typing import Any, Self

import httpx

from contract.case_files import CaseCall
from contract.doors import Answer, Doors, WireCall
from contract.fillers import Fillers
from contract.projects import Registry, Tenant
from support.server_process import ServerProcess

# What no answer may hold: traces, and the names of files and modules.
_LEAKS = ("Traceback", 'File "', ".py", "millimetric_server", "sqlite", "clickhouse", "/dev/shm", " at 0x")


class Stage:
    """One server as the cases use it."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.registry = Registry(server)
        self.doors = Doors(server.grpc_address, server.base_url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.doors.close()
        self.registry.close()

    def call(self, door: str, call: CaseCall, tenant: Tenant, fillers: Fillers) -> Answer:
        """Make a call of a case; whatever comes back must hold nothing of the server's inside."""
        answer = self.doors.send(door, _fill(call, tenant, fillers))
        assert_no_leak(answer)
        return answer

    def read_rows(self, tenant: Tenant) -> list[dict[str, Any]]:
        """All events of a project, newest first. Also those whose write was not answered or was refused."""
        self._load_everything()
        call = WireCall("Query", tenant.keys["rk"], request={"limit": 1000})
        answer = self.doors.send("rest", call)
        assert answer.http_status == 200, answer
        rows: list[dict[str, Any]] = answer.response["rows"]
        return rows

    def count_waiting(self) -> int:
        """How many events wait in the journal: all that a server without a store has."""
        lines = httpx.get(self.server.metrics_url).text.splitlines()
        return sum(int(float(line.split()[1])) for line in lines if line.startswith("millimetric_journal_events{"))

    @contextlib.contextmanager
    def full_disk(self) -> Iterator[None]:
        """While this lasts the server can't write to any file."""
        assert self.server.process is not None
        pid = self.server.process.pid
        before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            yield
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, before)

    def _load_everything(self) -> None:
        """Where something waits, load an event that came after it: the journal is loaded in order."""
        if self.count_waiting() == 0:
            return
        call = WireCall("Track", self.registry.keys["other_sk"], request={"event": "last", "ack": "stored"})
        assert self.doors.send("rest", call).http_status == 202


def make_fillers(tenant: Tenant, stage: Stage) -> Fillers:
    """The names that a case may fill in."""
    others = {
        "project": tenant.project_id,
        "other_project": stage.registry.other.project_id,
        "foreign_project": stage.registry.foreign.project_id,
    }
    return Fillers({**tenant.keys, **others})


def assert_no_leak(answer: Answer) -> None:
    """Check that an answer tells nothing of the server's inside."""
    found = [leak for leak in _LEAKS if leak in answer.raw]
    assert not found, (found, answer.raw)


def _fill(call: CaseCall, tenant: Tenant, fillers: Fillers) -> WireCall:
    headers = fillers.fill(call.headers) | ({"origin": call.origin} if call.origin else {})
    return WireCall(
        rpc=call.rpc,
        key=None if call.key == "none" else tenant.keys.get(call.key) or fillers.fill(call.key),
        headers=headers,
        request=None if call.request is None else fillers.fill(call.request),
        request_json=fillers.fill(call.request_json),
        raw_body=None if call.raw_body is None else fillers.fill(call.raw_body).encode("latin-1"),
        is_gzipped=call.is_gzipped,
        http_method=call.http_method,
    )
