"""What the guards work with."""

from dataclasses import dataclass

from millimetric_server.control.directory import Directory
from millimetric_server.shares.limiter import Limiter


@dataclass(frozen=True, slots=True)
class GuardDeps:
    """What the guards work with."""

    directory: Directory
    limiter: Limiter
    key_pepper: bytes
