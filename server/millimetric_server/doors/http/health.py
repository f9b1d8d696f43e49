"""What operations ask: /healthz, /readyz, and /metrics where a token protects it."""

import asyncio
import hmac
from typing import Any

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from millimetric_server.api.call import Deps
from millimetric_server.api.errors import AppError, Reason
from millimetric_server.doors.http.response import Request, Response


class HealthDoor:
    """Answers operational GETs. Health needs no key and shows nothing of a project's events; metrics need a token."""

    def __init__(self, deps: Deps, metrics_token: str = "") -> None:
        self._deps = deps
        self._metrics_token = metrics_token
        self.is_ending = False
        self.routes = {
            "/healthz": self._check_life,
            "/readyz": self._check_readiness,
        }
        if metrics_token:
            self.routes["/metrics"] = self._show_metrics

    async def answer(self, request: Request) -> Response | AppError:
        """Answer one of `routes`."""
        if request.path == "/metrics" and (error := self._check_token(request)) is not None:
            return error
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
        if why := self._deps.journal.refusals:
            body["why"] = why
        return Response(200 if is_ready else 503, msgspec.json.encode(body))

    def _describe_clickhouse(self) -> str:
        if self._deps.loader.failing_since is not None:
            return "away"
        return "ok" if self._deps.store.is_current else "preparing"

    def _check_token(self, request: Request) -> AppError | None:
        scheme, _, sent = request.headers.get("authorization", "").partition(" ")
        if not sent or scheme.lower() != "bearer":
            return AppError(Reason.MISSING_BEARER_TOKEN, "send `Authorization: Bearer <MILLIMETRIC_METRICS_TOKEN>`")
        if not hmac.compare_digest(sent.strip().encode("latin-1", "replace"), self._metrics_token.encode()):
            return AppError(Reason.INVALID_API_KEY, "this is not the server's MILLIMETRIC_METRICS_TOKEN")
        return None

    async def _show_metrics(self) -> Response:
        text = await asyncio.to_thread(generate_latest)
        return Response(200, text, CONTENT_TYPE_LATEST.encode())
