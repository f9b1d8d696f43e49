"""GetErasure: how far an erasure is."""

from msgspec import UNSET

from millimetric_server.api.call import Call
from millimetric_server.api.errors import AppError, Reason
from millimetric_server.api.messages import ErasureState, GetErasureRequest, GetErasureResponse, Instant
from millimetric_server.api.pending import Pending
from millimetric_server.privacy.deps import PrivacyDeps


def check_get_erasure(request: GetErasureRequest, _call: Call) -> str:
    """Return the erasure's id; one that can't exist is not found later."""
    return request.erasure_id or ""


async def get_erasure(call: Call, erasure_id: str, deps: PrivacyDeps) -> GetErasureResponse:
    """Answer the erasure's state and figures. Raises AppError not_found, also for another project's."""
    erasure = await Pending(deps.erasures.find(call.project.project_id, erasure_id))
    if erasure is None:
        raise AppError(Reason.NOT_FOUND, "the project has no such erasure")
    return GetErasureResponse(
        erasure_id=erasure.erasure_id,
        state=ErasureState(erasure.stage.value),
        requested_at=Instant(erasure.requested_at),
        completed_at=UNSET if erasure.completed_at is None else Instant(erasure.completed_at),
        rows_removed=dict(erasure.rows_removed),
        residual=erasure.residual,
    )
