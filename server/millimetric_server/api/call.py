"""One call on its way through the server."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar

from millimetric_server.control.records import Key, KeyKind, Project, Revision
from millimetric_server.journal.owed import Owed
from millimetric_server.store.cancellation import Cancellation


class Streaming(Enum):
    """Which side of an RPC sends more than one message."""

    NONE = "neither"
    SERVER = "the server"
    BIDI = "both, and requests are answered in order"


@dataclass(frozen=True, slots=True)
class RpcSpec:
    """What a call's RPC is, and who may call it; `api.rpc.Rpc` adds what answers it."""

    service: str
    name: str
    kinds: frozenset[KeyKind]
    http_status: int = field(default=200, kw_only=True)
    limit: str = field(default="", kw_only=True)  # the bucket in the rate limits; empty: unlimited
    is_read: bool = field(default=False, kw_only=True)  # it may take long, and ends with its caller
    is_endless: bool = field(default=False, kw_only=True)  # a stream that goes on until its caller or the server ends
    streaming: ClassVar[Streaming] = Streaming.NONE

    @property
    def path(self) -> str:
        """The path of the gRPC and Connect method."""
        return f"/millimetric.v1.{self.service}/{self.name}"


@dataclass(slots=True)
class Call:
    """A call. Its door sets the first fields, the guards the others, in order."""

    rpc: RpcSpec
    door: str
    headers: Mapping[str, str]  # names in lower case
    peer: str  # the other end's IP address
    received_at: int  # microseconds since 1970 UTC
    request_id: str

    key: Key = field(init=False)
    owner: str = field(init=False)  # to whose share the call counts: its project, for account keys the account
    project: Project = field(init=False)
    admitted_revision: Revision | None = None  # the directory's, when key, scope and origin were checked
    owed: Owed = field(init=False)  # once the message is decoded
    body_bytes: int = 0  # of a large body that was decoded: a refused call pays for it
    cancellation: Cancellation = field(default_factory=Cancellation)  # the door cancels when the caller is gone
