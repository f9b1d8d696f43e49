"""Authentication: the key in the Authorization header."""

from millimetric_server.api.call import Call
from millimetric_server.api.errors import AppError, Reason
from millimetric_server.control.keys import parse_key, verify_secret
from millimetric_server.control.misses import Sought, SoughtKind
from millimetric_server.guards.deps import GuardDeps
from millimetric_server.guards.missing import MissingError

_SCHEME = "bearer "
_WHERE = "send your key as `Authorization: Bearer <key>`"


def authenticate(call: Call, deps: GuardDeps) -> None:
    """Set call.key, and call.project for a key that has one. Raises AppError with one of the four 401 reasons."""
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
    call.key = key
    if key.project_id is not None:
        project = deps.directory.find_project(key.project_id)
        if project is None:  # removed in this very moment
            raise AppError(Reason.INVALID_API_KEY, "the key is unknown or revoked")
        call.project = project
