"""Slots for concurrent streams, reads and the like, which all projects share.

So a project may take one more only while it holds fewer than are free (times a ratio, see Places). Alone it gets half
of them, and the more projects hold many, the fewer each gets. A project that holds none gets one as long as any is
free (docs/adr/0017).
"""

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from millimetric_server.api.errors import AppError, Reason

SHARE_PERCENT = 50
_RETRY_AFTER_S = 2.0


class Places:
    """Places of one kind. Any thread may call any method.

    `share_percent` is how many of them one project gets while no other holds any; 100 turns this off.
    """

    def __init__(self, kind: str, total: int, share_percent: int = SHARE_PERCENT) -> None:
        self.kind = kind  # a plural in snake_case
        self.total = total
        self._share = share_percent
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        self._taken = 0
        self._refused: Counter[str] = Counter()
        self.on_change: Callable[[int], None] = lambda _taken: None  # provides for the holders of places

    @property
    def taken(self) -> int:
        """How many are held now, by all projects."""
        return self._taken

    @property
    def refused(self) -> Mapping[str, int]:
        """How many calls of each project that took a place found none, since the start."""
        with self._lock:
            return dict(self._refused)

    def take(self, project_id: str) -> bool:
        """Take a place for the project if it may have one; the caller must give it back."""
        with self._lock:
            free = self.total - self._taken
            is_within_share = self._held[project_id] * (100 - self._share) < free * self._share
            if free <= 0 or not is_within_share:
                return False
            self._held[project_id] += 1
            self._taken += 1
            self._refused.setdefault(project_id, 0)  # a counter that begins at 0 shows its first step
            self.on_change(self._taken)
            return True

    def give_back(self, project_id: str) -> None:
        """Give one place of the project back."""
        with self._lock:
            self._taken -= 1
            self._held[project_id] -= 1
            if not self._held[project_id]:
                del self._held[project_id]
            self.on_change(self._taken)

    def refuse(self, project_id: str) -> AppError:
        """Count and make the refusal of a call that found no place. Nothing of it was carried out."""
        with self._lock:
            self._refused[project_id] += 1
        message = f"the project has too many {self.kind.replace('_', ' ')} at the same time: try again later"
        return AppError(Reason.OVERLOADED, message, retry_after_s=_RETRY_AFTER_S)

    @contextlib.contextmanager
    def hold(self, project_id: str) -> Iterator[None]:
        """Hold a place inside the `with` block. Raises AppError overloaded."""
        if not self.take(project_id):
            raise self.refuse(project_id)
        try:
            yield
        finally:
            self.give_back(project_id)
