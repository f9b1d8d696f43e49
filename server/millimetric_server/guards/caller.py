"""Who calls, and may they: the guards that look at headers alone, before the message."""

from collections.abc import Callable

from millimetric_server.api.call import Call
from millimetric_server.api.errors import AppError, Reason
from millimetric_server.api.pending import Pending
from millimetric_server.control.keys import parse_key, verify_secret
from millimetric_server.control.misses import Sought, SoughtKind
from millimetric_server.control.origins import matches_origin
from millimetric_server.control.records import KeyKind
from millimetric_server.guards.deps import GuardDeps

_SCHEME = "bearer "
_WHERE = "send your key as `Authorization: Bearer <key>`"


class MissingError(AppError):
    """The call named something that the directory lacks; another process may just have created it."""

    def __init__(self, sought: Sought, reason: Reason, message: str) -> None:
        super().__init__(reason, message)
        self.sought = sought


def authenticate(call: Call, deps: GuardDeps) -> None:
    """Set call.key and owner, and call.project for a key that has one.

    Raises AppError with one of the four 401 reasons.
    """
    header = call.headers.get("authorization", "")
    if not header:
        raise AppError(Reason.MISSING_BEARER_TOKEN, f"no key: {_WHERE}")
    parsed = parse_key(header[len(_SCHEME) :].strip()) if header[: len(_SCHEME)].lower() == _SCHEME else None
    if parsed is None:
        raise AppError(Reason.MALFORMED_API_KEY, f"this does not look like a key: {_WHERE}")
    key = deps.directory.find_key(parsed.prefix)
    if key is None:
        sought = Sought(SoughtKind.KEY, parsed.prefix)
        raise MissingError(sought, Reason.INVALID_API_KEY, "the key is unknown or revoked")
    if not verify_secret(parsed.secret, key.secret_hash, deps.key_pepper):
        raise AppError(Reason.INVALID_API_KEY, "the key is unknown or revoked")
    if key.kind is not parsed.kind or key.environment is not parsed.environment:
        raise AppError(Reason.KEY_KIND_MISMATCH, "the key's prefix does not match its kind; copy the key again in full")
    call.key, call.owner = key, key.project_id or key.account_id
    if key.project_id is not None:
        project = deps.directory.find_project(key.project_id)
        if project is None:  # removed in this very moment
            raise AppError(Reason.INVALID_API_KEY, "the key is unknown or revoked")
        call.project = project


def check_scope(call: Call, _deps: GuardDeps) -> None:
    """Raise AppError insufficient_scope, or forget_requires_secret_key for Forget with a public key."""
    if call.key.kind in call.rpc.kinds:
        return
    if call.rpc.name == "Forget" and call.key.kind is KeyKind.PUBLIC:
        raise AppError(Reason.FORGET_REQUIRES_SECRET_KEY, "a public key can't forget people: use the secret key")
    wanted = ", ".join(sorted(call.rpc.kinds))
    raise AppError(Reason.INSUFFICIENT_SCOPE, f"{call.rpc.name} needs a key of kind {wanted}, not {call.key.kind}")


def check_origin(call: Call, _deps: GuardDeps) -> None:
    """Raise AppError origin_not_allowed for a public key from elsewhere, and for any key with two origins."""
    origin = call.headers.get("origin")
    if origin is not None and "," in origin:  # sent twice, and joined by the door: each hop might read another one
        raise AppError(Reason.ORIGIN_NOT_ALLOWED, "there is more than one origin: send exactly one")
    if call.key.kind is KeyKind.PUBLIC and not matches_origin(origin, call.project.origins):
        raise MissingError(
            Sought(SoughtKind.ORIGIN, call.project.project_id),
            Reason.ORIGIN_NOT_ALLOWED,
            "this origin is not in the project's list: add it with `millimetric origin add`",
        )


CALLER_GUARDS: tuple[Callable[[Call, GuardDeps], None], ...] = (
    authenticate,  # first: a stranger learns nothing, not even whether the body was well formed
    check_scope,  # before origin: a kind that may never call this is refused for that, not for its origin
    check_origin,  # before the message: the body of a foreign page is not looked at
)


async def admit(call: Call, deps: GuardDeps) -> None:
    """Pass the guards that look at headers alone, or raise AppError.

    What a guard lacks in the directory is looked for once in the control database, and then all are passed again.
    """
    revision = deps.directory.revision  # before the guards: what changes meanwhile is seen next time
    try:
        for guard in CALLER_GUARDS:
            guard(call, deps)
    except MissingError as missing:
        if (look := deps.directory.look_again(missing.sought)) is None:
            raise
        await Pending(look)
        revision = deps.directory.revision
        for guard in CALLER_GUARDS:
            guard(call, deps)
    call.admitted_revision = revision
