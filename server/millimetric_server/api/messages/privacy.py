"""The messages of millimetric/v1/privacy_service.proto. Made by `make generate`: don't edit it."""

from collections.abc import Mapping

from msgspec import UNSET, UnsetType

from millimetric_server.api.message import Instant, Message, WireEnum


class ErasureState(WireEnum):
    """The state of an erasure."""

    UNSPECIFIED = ""
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"


class ForgetRequest(Message):
    """The person to forget: exactly one of the two ids."""

    user_id: str | None = None
    anonymous_id: str | None = None


class ForgetResponse(Message):
    """The receipt."""

    ok: bool
    queued: bool
    erasure_id: str


class GetErasureRequest(Message):
    """The erasure to look up."""

    erasure_id: str | None = None


class GetErasureResponse(Message):
    """An erasure and what it removed."""

    erasure_id: str
    state: ErasureState
    requested_at: Instant
    completed_at: Instant | UnsetType = UNSET
    rows_removed: Mapping[str, int] | UnsetType = UNSET
    residual: int = 0
