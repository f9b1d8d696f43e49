"""The operational routes: /healthz, /readyz, and /metrics if a token protects it."""

import asyncio
import hmac
from typing import Any

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from millimetric_server.api.errors import AppError, Reason
from millimetric_server.doors.deps import StatusDeps

_JSON = "application/json"


class HealthPages:
    """Operational GETs. Health needs no key and shows nothing of a project's events; metrics need a token."""

    def __init__(self, status: StatusDeps, metrics_token: str = "") -> None:
        self._status = status
        self._metrics_token = metrics_token
        self.is_ending = False
        self.routes = [Route("/healthz", self._check_life), Route("/readyz", self._check_readiness)]
        if metrics_token:
            self.routes.append(Route("/metrics", self._show_metrics))

    async def _check_life(self, _request: Request) -> Response:
        return Response(b'{"ok":true}', media_type=_JSON)

    async def _check_readiness(self, _request: Request) -> Response:
        is_ready = self._status.is_ready and not self.is_ending
        body: dict[str, Any] = {
            "ready": is_ready,
            "journal": "ok" if self._status.journal.is_accepting else "refuses",
            "clickhouse": self._describe_clickhouse(),
        }
        if dead := self._status.dead:
            body["dead"] = dead
        if why := self._status.journal.refusals:
            body["why"] = why
        return Response(msgspec.json.encode(body), 200 if is_ready else 503, media_type=_JSON)

    def _describe_clickhouse(self) -> str:
        if self._status.loader.failing_since is not None:
            return "away"
        return "ok" if self._status.store.is_current else "preparing"

    async def _show_metrics(self, request: Request) -> Response:
        self._check_token(request.headers.get("authorization", ""))
        return Response(await asyncio.to_thread(generate_latest), headers={"content-type": CONTENT_TYPE_LATEST})

    def _check_token(self, authorization: str) -> None:
        scheme, _, sent = authorization.partition(" ")
        if not sent or scheme.lower() != "bearer":
            raise AppError(Reason.MISSING_BEARER_TOKEN, "send `Authorization: Bearer <MILLIMETRIC_METRICS_TOKEN>`")
        if not hmac.compare_digest(sent.strip().encode("latin-1", "replace"), self._metrics_token.encode()):
            raise AppError(Reason.INVALID_API_KEY, "this is not the server's MILLIMETRIC_METRICS_TOKEN")
