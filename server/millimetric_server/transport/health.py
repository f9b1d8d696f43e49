"""What operations ask: /healthz, /readyz, /metrics."""

import asyncio
from typing import Any

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from millimetric_server.call import Deps
from millimetric_server.transport.response import Request, Response


class HealthDoor:
    """Answers operational GETs. None of them needs a key or tells anything of a project's events."""

    def __init__(self, deps: Deps) -> None:
        self._deps = deps
        self.is_ending = False
        self.routes = {
            "/healthz": self._check_life,
            "/readyz": self._check_readiness,
            "/metrics": self._show_metrics,
        }

    async def answer(self, request: Request) -> Response:
        """Answer one of `routes`."""
        return await self.routes[request.path]()

    async def _check_life(self) -> Response:
        return Response(200, b'{"ok":true}')

    async def _check_readiness(self) -> Response:
        """Ready is: writes are taken and loaded. ClickHouse away does not change that, and is told."""
        is_accepting = self._deps.journal.is_accepting
        dead = [worker.name for worker in self._deps.workers if worker.has_died]
        is_ready = is_accepting and not dead and not self.is_ending
        body: dict[str, Any] = {
            "ready": is_ready,
            "journal": "ok" if is_accepting else "refuses",
            "clickhouse": self._describe_clickhouse(),
        }
        if dead:
            body["dead"] = dead
        return Response(200 if is_ready else 503, msgspec.json.encode(body))

    def _describe_clickhouse(self) -> str:
        if self._deps.loader.failing_since is not None:
            return "away"
        return "ok" if self._deps.store.is_current else "preparing"

    async def _show_metrics(self) -> Response:
        text = await asyncio.to_thread(generate_latest)
        return Response(200, text, CONTENT_TYPE_LATEST.encode())
