"""An RPC: its messages, and the functions that check and answer them."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from millimetric_server.api.call import Call, RpcSpec, Streaming
from millimetric_server.api.messages import ExportFormat, Message
from millimetric_server.api.pending import PendingCoroutine

Request = TypeVar("Request")
Checked = TypeVar("Checked")
Response = TypeVar("Response")
Deps = TypeVar("Deps")
RequestMessage = TypeVar("RequestMessage", bound=Message)
ResponseMessage = TypeVar("ResponseMessage", bound=Message)


@dataclass(frozen=True, slots=True, eq=False)
class Rpc(RpcSpec, Generic[Request, Checked, Response, Deps]):
    """An RPC, from a decoded request to what is encoded: `check` makes of it what `handler` answers.

    `deps` is all that the handler works with, `count` how many events a request brings, which the ledger must know of.
    """

    request: type[Message]
    response: type[Message]
    check: Callable[[Request, Call], Checked]
    handler: Callable[[Call, Checked, Deps], PendingCoroutine[Response]]
    deps: Deps
    count: Callable[[Request], int] = field(default=lambda _request: 0, kw_only=True)


@dataclass(frozen=True, slots=True, eq=False)
class UnaryRpc(Rpc[RequestMessage, Checked, ResponseMessage, Deps]):
    """One message is answered with one."""

    request: type[RequestMessage]
    response: type[ResponseMessage]


Piece = bytes | Message  # of an answer in many: a part of a file, or a message


class PieceReader(Protocol):
    """What a server stream's handler returns, already open. One call at a time, but for close()."""

    @property
    def format(self) -> ExportFormat | None:
        """How the file is written that the pieces are parts of; None where they are messages."""

    def take(self) -> Piece | None:
        """The next piece of what is there; nothing, or an empty one, when more must be awaited first."""

    def read_on(self) -> "Future[Any] | None":
        """Wait for more; None at the end."""

    def close(self) -> None:
        """Release what it holds; a second call does nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class ServerStreamRpc(Rpc[RequestMessage, Checked, Response, Deps]):
    """One message is answered with many: the handler returns the PieceReader that has them."""

    streaming: ClassVar[Streaming] = Streaming.SERVER
    request: type[RequestMessage]


@dataclass(frozen=True, slots=True, eq=False)
class BidiRpc(Rpc[Sequence[RequestMessage], Checked, Sequence[ResponseMessage], Deps]):
    """Many messages are answered, each with one: the handler is given what came in together."""

    streaming: ClassVar[Streaming] = Streaming.BIDI
    request: type[RequestMessage]
    response: type[ResponseMessage]


# Any of them. Each was checked where it was made; Python has no type for a list of things that are typed differently.
AnyRpc = Rpc[Any, Any, Any, Any]
