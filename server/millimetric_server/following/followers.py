"""All followers of this server. Whoever appends pays a look into a dict; a thread of our own does all the rest."""

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import Future

from millimetric_server.api.errors import make_ending
from millimetric_server.enrich.event_row import EventRow
from millimetric_server.following.followed_row import FollowedRow
from millimetric_server.following.follower import Follower, Meets
from millimetric_server.journal.entries import Appended
from millimetric_server.shares.places import Places

log = logging.getLogger(__name__)

FOLLOWERS, FOLLOWERS_MAX = "followers", 200  # the kind of place, and how many unless set
_INBOX_ROWS_MAX = 10_000
_BEAT_LOOK_S = 1.0


class Followers:
    """Any thread may call any method."""

    def __init__(self, places: Places | None = None) -> None:
        self.places = places or Places(FOLLOWERS, FOLLOWERS_MAX)
        # By project. Each tuple is replaced and never changed, so that nobody needs a lock to read it.
        self.followed: dict[str, tuple[Follower, ...]] = {}
        self._lock = threading.Lock()
        self._inbox: queue.SimpleQueue[Sequence[EventRow] | None] = queue.SimpleQueue()
        self._inbox_rows: Counter[str] = Counter()  # by project
        self._passed_over: Counter[str] = Counter()  # by project: rows that found no room in the inbox
        self._missed: Counter[str] = Counter()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @property
    def missed(self) -> Mapping[str, int]:
        """How many events were left out for slow followers, by project, since the start."""
        with self._lock:
            return dict(self._missed)

    def follow(self, project_id: str, meets: Meets) -> Follower:
        """Follow a project from now on; the caller must close the follower.

        Raises AppError overloaded when the project has too many followers, and when the server ends.
        """
        if not self.places.take(project_id):
            raise self.places.refuse(project_id)
        with self._lock:
            if self._is_closed:
                self.places.give_back(project_id)
                raise make_ending()
            follower = Follower(project_id, meets, self._forget)
            self.followed[project_id] = (*self.followed.get(project_id, ()), follower)
            self._missed.setdefault(project_id, 0)  # a counter that begins at 0 shows its first step
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="followers", daemon=True)
                self._thread.start()
        return follower

    def tell(self, rows: Sequence[EventRow], appending: "Future[Appended]") -> None:
        """Tell the followers of rows' project what was appended, once it is durable. Repeated events are not told.

        This is the journal's writer: it pays for an entry in a queue, and waits for nobody.
        """
        if appending.exception() is not None:
            return
        firsts = appending.result().firsts
        new = [row for row, first in zip(rows, firsts, strict=True) if first is None]
        if not new or self._is_closed:
            return
        project_id = new[0].project_id
        with self._lock:
            # As with places, a project's rows take room only while they are fewer than what is free.
            has_room = self._inbox_rows[project_id] < _INBOX_ROWS_MAX - self._inbox_rows.total()
            if has_room:
                self._inbox_rows[project_id] += len(new)
            else:
                self._passed_over[project_id] += len(new)
        if has_room:
            self._inbox.put(new)

    def close(self) -> None:
        """End all followers, each behind what is queued for it, and take no more."""
        with self._lock:
            self._is_closed = True
            thread = self._thread
        self._inbox.put(None)
        if thread is not None:
            thread.join()
        for follower in self._list_all():
            follower.end()

    def _list_all(self) -> list[Follower]:
        with self._lock:
            return [follower for followers in self.followed.values() for follower in followers]

    def _forget(self, follower: Follower) -> None:
        project_id = follower.project_id
        with self._lock:
            left = tuple(one for one in self.followed[project_id] if one is not follower)
            if left:
                self.followed[project_id] = left
            else:
                del self.followed[project_id]
        self.places.give_back(project_id)

    def _work(self) -> None:
        beat_at = time.monotonic() + _BEAT_LOOK_S
        while True:
            try:
                rows = self._inbox.get(timeout=max(beat_at - time.monotonic(), 0))
            except queue.Empty:
                rows = ()
            if rows is None:
                return
            try:
                self._hand_out(rows)
                if time.monotonic() >= beat_at:
                    beat_at = time.monotonic() + _BEAT_LOOK_S
                    for follower in self._list_all():
                        follower.beat(time.monotonic())
            except Exception:
                log.exception("can't tell followers")

    def _hand_out(self, rows: Sequence[EventRow]) -> None:
        """Offer rows of one project to its followers."""
        missed: Counter[str] = Counter()
        if rows:
            project_id = rows[0].project_id
            with self._lock:
                self._inbox_rows[project_id] -= len(rows)
                self._inbox_rows += Counter()  # drops what is 0
            followers = self.followed.get(project_id, ())
            for row in map(FollowedRow, rows):
                missed[project_id] += sum(one.meets(row) and not one.offer(row) for one in followers)
        with self._lock:
            passed_over, self._passed_over = self._passed_over, Counter()
        for project_id, count in passed_over.items():
            followers = self.followed.get(project_id, ())
            missed[project_id] += count * len(followers)
            for one in followers:
                one.miss(count)
        with self._lock:
            self._missed.update(missed)
