"""One call on its way through the server, and what the server offers it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from millimetric_server.api.messages import Message
from millimetric_server.api.pending import PendingCoroutine
from millimetric_server.config import Network
from millimetric_server.control.directory import Directory
from millimetric_server.control.records import Key, KeyKind, Project
from millimetric_server.enrich.geo import CountryReader
from millimetric_server.journal.port import Erasures, Journal
from millimetric_server.loading.loader import Loader
from millimetric_server.process.workers import Worker
from millimetric_server.server_secrets import ServerSecrets
from millimetric_server.shares.body_room import BodyRoom
from millimetric_server.shares.limiter import Limiter
from millimetric_server.shares.places import Places
from millimetric_server.shares.refusals import Refusals
from millimetric_server.store.cancellation import Cancellation
from millimetric_server.store.clickhouse import ClickHouse

STREAMS_MAX = 64


@dataclass(frozen=True, slots=True)
class Deps:
    """What guards and handlers work with."""

    directory: Directory
    secrets: ServerSecrets
    limiter: Limiter
    journal: Journal
    erasures: Erasures
    loader: Loader
    store: ClickHouse
    countries: CountryReader
    trusted_proxies: tuple[Network, ...]
    read_clock_us: Callable[[], int]
    streams: Places = field(default_factory=lambda: Places("streams", STREAMS_MAX))
    bodies: BodyRoom = field(default_factory=BodyRoom)
    refusals: Refusals = field(default_factory=lambda: Refusals(None))

    @property
    def places(self) -> tuple[Places, ...]:
        """Everything that projects share and one of them could take from the others."""
        reads = self.store.reads
        return reads.reads, reads.reads_running, reads.exports, self.streams, self.loader.waiters

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The threads without which the server can't go on."""
        return *self.journal.workers, self.loader.worker


class Streaming(Enum):
    """Which side of an RPC sends more than one message."""

    NONE = "neither"
    SERVER = "the server: `handler` returns an ExportReader"
    BIDI = "both, answered in order: `validate` and `handler` have the messages of one group"


@dataclass(frozen=True, slots=True)
class Rpc:
    """One RPC: its place in the protos, its messages, who may call it, and the function that answers."""

    service: str
    name: str
    request: type[Message]
    response: type[Message]
    kinds: frozenset[KeyKind]
    handler: Callable[["Call", Deps], PendingCoroutine[Any]]
    validate: Callable[[Any, "Call"], Any]
    http_status: int = 200
    limit: str = ""  # the bucket in the rate limits; empty: unlimited
    streaming: Streaming = Streaming.NONE

    @property
    def path(self) -> str:
        """The path of the gRPC and Connect method."""
        return f"/millimetric.v1.{self.service}/{self.name}"

    @property
    def is_read(self) -> bool:
        """Tell whether it asks ClickHouse, which may take long: then it stops when its caller is gone."""
        return self.service == "QueryService"


@dataclass(slots=True)
class Call:
    """A call. A door fills in the first part, the guards the second, one after the other."""

    rpc: Rpc
    door: str
    headers: Mapping[str, str]  # names in lower case
    peer: str  # the other end's IP address
    decode: Callable[[], Message]
    received_at: int  # microseconds since 1970 UTC
    request_id: str

    key: Key = field(init=False)
    project: Project = field(init=False)
    request: Any = field(init=False)  # as the RPC's `validate` returns it
    # Events of a decoded request that the ledger does not know yet. `validate` says how many it brought; what is left
    # at the end was rejected.
    uncounted_events: int = 0
    body_bytes: int = 0  # of a large body that was decoded: a refused call pays for it
    cancellation: Cancellation = field(default_factory=Cancellation)  # the door cancels when the caller is gone

    @property
    def owner(self) -> str:
        """Whose share of the server an authenticated call takes: its project's, or its account's."""
        return self.key.project_id or self.key.account_id
