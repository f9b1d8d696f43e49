"""What the doors work with, whichever RPC is called."""

from collections.abc import Callable
from dataclasses import dataclass, field

from millimetric_server.control.directory import Directory
from millimetric_server.enrich.client_ip import TrustedProxies
from millimetric_server.following.followers import Followers
from millimetric_server.guards.deps import GuardDeps
from millimetric_server.journal.owed import Ledger
from millimetric_server.journal.port import Journal
from millimetric_server.loading.loader import Loader
from millimetric_server.process.workers import Worker
from millimetric_server.shares.body_room import BodyRoom
from millimetric_server.shares.places import Places
from millimetric_server.shares.refusals import Refusals
from millimetric_server.store.clickhouse import ClickHouse

STREAMS_MAX = 64


@dataclass(frozen=True, slots=True)
class DoorDeps:
    """What the boundary and its doors work with. What an RPC's handler works with, the RPC brings."""

    guards: GuardDeps
    ledger: Ledger
    trusted_proxies: TrustedProxies
    read_clock_us: Callable[[], int]
    streams: Places = field(default_factory=lambda: Places("streams", STREAMS_MAX))
    bodies: BodyRoom = field(default_factory=BodyRoom)
    refusals: Refusals = field(default_factory=lambda: Refusals(None))


@dataclass(frozen=True, slots=True)
class StatusDeps:
    """What health and metrics look at."""

    directory: Directory
    journal: Journal
    loader: Loader
    store: ClickHouse
    streams: Places
    followers: Followers = field(default_factory=Followers)

    @property
    def places(self) -> tuple[Places, ...]:
        """The places that all projects share."""
        reads = self.store.reads
        return reads.reads, reads.reads_running, reads.exports, self.streams, self.followers.places, self.loader.waiters

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The threads that the server can't work without."""
        return *self.journal.workers, self.loader.worker

    @property
    def dead(self) -> list[str]:
        """Those of them that have died, by name."""
        return [worker.name for worker in self.workers if worker.has_died]

    @property
    def is_ready(self) -> bool:
        """Whether writes are accepted and loaded. An unreachable ClickHouse does not count: writes wait for it."""
        return self.journal.is_accepting and not self.dead
