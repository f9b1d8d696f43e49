"""Asks handlers directly, over a real store: what a door does, without the door."""

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from integration.stores import Engine
from millimetric_server.api.call import Call
from millimetric_server.api.messages import Message
from millimetric_server.api.rpc import AnyRpc
from millimetric_server.control.records import Environment, Key, KeyKind, Project
from millimetric_server.doors.boundary import wait_blocking
from millimetric_server.enrich.client_ip import NO_PROXIES
from millimetric_server.ingest.deps import IngestDeps
from millimetric_server.journal.owed import Owed
from millimetric_server.privacy.deps import PrivacyDeps
from millimetric_server.reads.deps import ReadDeps
from millimetric_server.rpcs import make_rpcs

_CREATED = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Asker:
    """Asks about any project of an engine at one moment."""

    engine: Engine
    now_us: int

    def ask(self, project_id: str, request: Message) -> Any:
        """Check and answer a request. Raises AppError."""
        rpc = self._rpcs[type(request)]
        call = Call(rpc, "test", {}, "192.0.2.1", self.now_us, "request")
        call.project = Project(project_id, "default", project_id, _CREATED)
        call.key = Key(
            "01234567", KeyKind.SECRET, Environment.LIVE, "default", project_id, b"", label="", created_at=_CREATED
        )
        with Owed(self.engine.journal, project_id, rpc.count(request), lambda _failure: None) as call.owed:
            return wait_blocking(rpc.handler(call, rpc.check(request, call), rpc.deps))

    @cached_property
    def _rpcs(self) -> dict[type[Message], AnyRpc]:
        rpcs = make_rpcs(
            IngestDeps(self.engine.journal, self.engine.loader, lambda _ip: "", b"s" * 32, b"i" * 32, NO_PROXIES),
            PrivacyDeps(self.engine.erasures, self.engine.loader.notify),
            ReadDeps(self.engine.store, b"p" * 32),
        )
        return {rpc.request: rpc for rpc in rpcs}
