"""The scope: which methods the key's kind may call."""

from millimetric_server.api.call import Call
from millimetric_server.api.errors import AppError, Reason
from millimetric_server.control.records import KeyKind
from millimetric_server.guards.deps import GuardDeps


def check_scope(call: Call, _deps: GuardDeps) -> None:
    """Raise AppError insufficient_scope, or forget_requires_secret_key for Forget with a public key."""
    if call.key.kind in call.rpc.kinds:
        return
    if call.rpc.name == "Forget" and call.key.kind is KeyKind.PUBLIC:
        raise AppError(Reason.FORGET_REQUIRES_SECRET_KEY, "a public key can't forget people: use the secret key")
    wanted = ", ".join(sorted(call.rpc.kinds))
    raise AppError(Reason.INSUFFICIENT_SCOPE, f"{call.rpc.name} needs a key of kind {wanted}, not {call.key.kind}")
