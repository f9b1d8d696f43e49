"""Asks handlers directly, over a real store: what a door does, without the door."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from integration.stores import Engine
from millimetric_server.api.call import Call, Deps, Rpc
from millimetric_server.api.messages import Message
from millimetric_server.control.records import Environment, Key, KeyKind, Project
from millimetric_server.doors.boundary import wait_blocking
from millimetric_server.rpcs import HANDLERS
from millimetric_server.server_secrets import ServerSecrets
from millimetric_server.shares.limiter import Limiter

RPCS: dict[type[Message], Rpc] = {rpc.request: rpc for rpc in HANDLERS}
_CREATED = datetime(2026, 1, 1, tzinfo=UTC)
_NOT_USED: Any = None


@dataclass(frozen=True)
class Asker:
    """Asks about any project of an engine at one moment."""

    engine: Engine
    now_us: int

    def ask(self, project_id: str, request: Message) -> Any:
        """Validate and answer a request. Raises AppError."""
        rpc = RPCS[type(request)]
        call = Call(rpc, "test", {}, "192.0.2.1", lambda: request, self.now_us, "request")
        call.project = Project(project_id, "default", project_id, _CREATED)
        call.key = Key(
            "01234567", KeyKind.SECRET, Environment.LIVE, "default", project_id, b"", label="", created_at=_CREATED
        )
        call.request = rpc.validate(request, call)
        return wait_blocking(rpc.handler(call, self._offer()))

    def _offer(self) -> Deps:
        return Deps(
            directory=_NOT_USED,
            secrets=ServerSecrets(ip_salt=b"s" * 32, identity_key=b"i" * 32, key_pepper=b"p" * 32),
            limiter=Limiter({}),
            journal=self.engine.journal,
            erasures=self.engine.erasures,
            loader=self.engine.loader,
            store=self.engine.store,
            countries=_NOT_USED,
            trusted_proxies=(),
            read_clock_us=lambda: self.now_us,
        )
