"""One follower: a bounded queue between the server and a caller who may be slow."""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from millimetric_server.api.errors import make_ending
from millimetric_server.api.messages import TailResponse
from millimetric_server.following.followed_row import FollowedRow
from millimetric_server.process.workers import complete, make_promise

# Some large batches, which are handed out faster than they can be sent.
QUEUE_ROWS_MAX = 4000
QUEUE_BYTES_MAX = 4 * 1024 * 1024
BEAT_AFTER_S = 15.0
Meets = Callable[[FollowedRow], bool]


class Follower:
    """Offered rows on one side; on the other take() what is there, read_on() when that is nothing, close() at the end.

    A row that finds the queue full is left out and counted; the count goes with the next message.
    """

    format = None  # no file

    def __init__(self, project_id: str, meets: Meets, on_close: Callable[["Follower"], None]) -> None:
        self.project_id = project_id
        self.meets = meets
        self._on_close = on_close
        self._lock = threading.Lock()
        self._queue: deque[tuple[FollowedRow, int]] = deque()  # each with what was missed before it
        self._bytes = 0
        self._missed = 0  # behind the queue
        self._taken_at = time.monotonic()
        self._is_beat_due = self._is_ending = self._is_closed = False
        self._waiting: Future[None] | None = None

    def offer(self, row: FollowedRow) -> bool:
        """Queue a row; False if it is left out, because there is no room."""
        with self._lock:
            if self._is_closed or self._is_ending:
                return True
            has_room = len(self._queue) < QUEUE_ROWS_MAX and self._bytes < QUEUE_BYTES_MAX
            if has_room:
                self._queue.append((row, self._missed))
                self._bytes += row.size
                self._missed = 0
            else:
                self._missed += 1
        if has_room:
            self._wake()
        return has_room

    def miss(self, rows: int) -> None:
        """Count rows that are left out without having been offered."""
        with self._lock:
            self._missed += rows
        self._wake()

    def beat(self, now: float) -> None:
        """Give a sign of life if it is time for one. `now` is time.monotonic()."""
        with self._lock:
            self._is_beat_due = self._waiting is not None and now - self._taken_at >= BEAT_AFTER_S
            is_due = self._is_beat_due
        if is_due:
            self._wake()

    def take(self) -> TailResponse | None:
        """The next message; None when there is nothing to say."""
        with self._lock:
            if self._is_closed or not (self._queue or self._missed or self._is_beat_due):
                return None
            self._taken_at = time.monotonic()
            self._is_beat_due = False
            if not self._queue:
                missed, self._missed = self._missed, 0
                return TailResponse(missed=missed)
            row, missed = self._queue.popleft()
            self._bytes -= row.size
        return TailResponse(row.event, missed)

    def read_on(self) -> "Future[None] | None":
        """Wait for a message; None once it is closed. Raises AppError overloaded when the server ends."""
        with self._lock:
            if self._is_closed:
                return None
            waiting: Future[None] = make_promise()
            if self._queue or self._missed or self._is_beat_due:
                complete(waiting, None)
            elif self._is_ending:
                raise make_ending()
            else:
                self._waiting = waiting
            return waiting

    def end(self) -> None:
        """End behind what is queued: the server shuts down."""
        with self._lock:
            self._is_ending = True
        self._wake()

    def close(self) -> None:
        """Forget the follower; a second call does nothing. Any thread may call it, also while another waits."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._queue.clear()
        self._on_close(self)
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, None
        if waiting is not None:
            complete(waiting, None)
