"""The projects that contract tests run in."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from millimetric_server.config import load_settings
from millimetric_server.control.records import DEFAULT_ACCOUNT, Environment, KeyKind, RateLimit
from millimetric_server.control.store import open_control_store
from millimetric_server.server_secrets import load_secrets
from support.server_process import ORIGIN, ServerProcess

FOREIGN_ACCOUNT = "another"


@dataclass(frozen=True)
class Tenant:
    """A project, and every key that a case may name."""

    project_id: str
    keys: Mapping[str, str]


class Registry:
    """Makes projects and keys in a server's control database. Close it when done."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        settings = load_settings({"MILLIMETRIC_DATA_DIR": str(server.data_dir), **server.environ})
        self._pepper = load_secrets(settings).key_pepper
        self._store = store = open_control_store(settings.resolved_database_url)
        self._shared: dict[str, Tenant] = {}
        self.other = store.create_project("other", [ORIGIN])
        store.create_account(FOREIGN_ACCOUNT)
        self.foreign = store.create_project("foreign", [ORIGIN], FOREIGN_ACCOUNT)
        self.keys = {
            "ak": self._create_key(KeyKind.ACCOUNT),
            "foreign_ak": self._create_key(KeyKind.ACCOUNT, account=FOREIGN_ACCOUNT),
            "other_pk": self._create_key(KeyKind.PUBLIC, project="other"),
            "other_sk": self._create_key(KeyKind.SECRET, project="other"),
            "other_rk": self._create_key(KeyKind.READ, project="other"),
        }
        revoked = store.create_key(KeyKind.SECRET, Environment.LIVE, self._pepper, project="other")
        store.revoke_key(revoked.key.prefix)
        store.update_project("other", rate_limits=dict.fromkeys(("track", "batch", "identify")))
        self.keys |= {"revoked": revoked.text, "unknown": "sk_live_00000000_" + "x" * 43}
        server.keys_in_use.update(self.keys.values())

    def close(self) -> None:
        """Leave the database."""
        self._store.close()

    def create(self, rate_limits: Mapping[str, str] | None = None) -> Tenant:
        """Make a project, with its rate limits; a running server knows it at its first call."""
        project_id = self._store.create_project(f"tenant {time.time_ns()}", [ORIGIN]).project_id
        if rate_limits:
            buckets = {bucket: _read_limit(text) for bucket, text in rate_limits.items()}
            self._store.update_project(project_id, rate_limits=buckets)
        kinds = {"pk": KeyKind.PUBLIC, "sk": KeyKind.SECRET, "rk": KeyKind.READ}
        keys = {name: self._create_key(kind, project=project_id) for name, kind in kinds.items()}
        wrong_secret = keys["sk"][:-4] + ("abcd" if keys["sk"][-4:] != "abcd" else "dcba")
        keys |= {"wrong_secret": wrong_secret, "mismatched": "pk" + keys["sk"][2:]}
        self._server.keys_in_use.update(keys.values())
        return Tenant(project_id, self.keys | keys)

    def share(self, name: str, rate_limits: Mapping[str, str]) -> Tenant:
        """The project of this name, made when it is first asked for: it must be as empty after a test as before."""
        if name not in self._shared:
            self._shared[name] = self.create(rate_limits)
        return self._shared[name]

    def _create_key(self, kind: KeyKind, project: str | None = None, account: str = DEFAULT_ACCOUNT) -> str:
        live = Environment.LIVE
        return self._store.create_key(kind, live, self._pepper, project=project, account=account).text


def _read_limit(text: str) -> RateLimit:
    rate, _, burst = text.partition("/")
    return RateLimit(float(rate), int(burst))
