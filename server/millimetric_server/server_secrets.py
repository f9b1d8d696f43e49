"""The server's own secrets: from settings, or generated at the first start and kept in the data folder."""

import json
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from millimetric_server.config import SECRET_NAMES, ConfigError, Settings
from millimetric_server.process.folders import make_folder, sync_folder

_FILE_NAME = "secrets.json"


@dataclass(frozen=True, slots=True)
class ServerSecrets:
    """`ip_salt` keys IP hashes, `identity_key` derived visitor ids, `key_pepper` the hashes of API keys."""

    ip_salt: bytes = field(repr=False)
    identity_key: bytes = field(repr=False)
    key_pepper: bytes = field(repr=False)


def load_secrets(settings: Settings, has_keys: Callable[[], bool] = lambda: False) -> ServerSecrets:
    """Read the secrets, making the missing ones (file mode 0600).

    `has_keys` tells whether keys exist; then no secrets are generated, since they would not fit. Raises ConfigError.
    """
    given = {name: getattr(settings, name) for name in SECRET_NAMES}
    if not all(given.values()):
        kept = _load_file(settings.data_path / _FILE_NAME, has_keys)
        given = {name: value or kept[name] for name, value in given.items()}
    return ServerSecrets(**{name: value.encode() for name, value in given.items()})


def _load_file(path: Path, has_keys: Callable[[], bool]) -> dict[str, str]:
    try:
        if not path.exists() and has_keys():
            raise ConfigError(
                f"{path} is missing, but the control database has keys, and new secrets would invalidate them all. "
                "Restore the file from a backup, or provide all secrets through the environment (MILLIMETRIC_IP_SALT, "
                "MILLIMETRIC_IDENTITY_KEY, MILLIMETRIC_KEY_PEPPER). If they are lost, revoke every key with "
                "`millimetric key revoke`, start, and create new ones."
            )
        make_folder(path.parent)
        _create(path, json.dumps({name: secrets.token_hex(32) for name in SECRET_NAMES}))
    except FileExistsError:
        pass  # made at an earlier start, or by another process just now
    except OSError as error:
        raise ConfigError(f"can't write {path}: {error.strerror}; choose another MILLIMETRIC_DATA_DIR") from error
    try:
        kept = json.loads(path.read_text())
        return {name: str(kept[name]) for name in SECRET_NAMES}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} can't be read as the server's secrets: restore it from a backup") from error


def _create(path: Path, text: str) -> None:
    """Write the whole file or nothing: it appears under its name only when it is complete."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
        sync_folder(path.parent)
    finally:
        draft.unlink()
