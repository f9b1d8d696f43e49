"""The messages of proto/millimetric/v1/privacy_service.proto."""

from collections.abc import Mapping

from msgspec import UnsetType

from millimetric_server.api.messages.base import Instant, Message, WireEnum


class ErasureState(WireEnum):
    """How far an erasure is."""

    UNSPECIFIED = ""
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"


class ForgetRequest(Message):
    """Whom to forget: exactly one of the two."""

    user_id: str | None = None
    anonymous_id: str | None = None


class ForgetResponse(Message):
    """The receipt."""

    ok: bool
    queued: bool
    erasure_id: str


class GetErasureRequest(Message):
    """Which erasure."""

    erasure_id: str | None = None


class GetErasureResponse(Message):
    """An erasure and what it removed."""

    erasure_id: str
    state: ErasureState
    requested_at: Instant
    completed_at: Instant | UnsetType
    rows_removed: Mapping[str, int]
    residual: int
