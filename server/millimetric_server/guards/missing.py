"""A refusal that a lookup in the control database may overturn."""

from millimetric_server.api.errors import AppError, Reason
from millimetric_server.control.misses import Sought


class MissingError(AppError):
    """The call named something that the directory lacks; another process may just have created it."""

    def __init__(self, sought: Sought, reason: Reason, message: str) -> None:
        super().__init__(reason, message)
        self.sought = sought
