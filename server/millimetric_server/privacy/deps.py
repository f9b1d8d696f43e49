"""What the privacy RPCs work with."""

from collections.abc import Callable
from dataclasses import dataclass

from millimetric_server.journal.port import Erasures


@dataclass(frozen=True, slots=True)
class PrivacyDeps:
    """What the privacy RPCs work with; `notify_loader` says that there is an erasure to carry out."""

    erasures: Erasures
    notify_loader: Callable[[], None]
