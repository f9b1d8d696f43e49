"""The projects that contract tests run in, made many at a time."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from millimetric_server.config import load_settings
from millimetric_server.control.records import Environment, KeyKind, RateLimit
from millimetric_server.control.store import ControlStore, open_control_store
from millimetric_server.server_secrets import load_secrets
from support.server_process import ORIGIN, ServerProcess

FOREIGN_ACCOUNT = "another"


@dataclass(frozen=True)
class Tenant:
    """A project, and every key that a case may name."""

    project_id: str
    keys: Mapping[str, str]


class Registry:
    """Makes projects and keys in a server's control database."""

    def __init__(self, server: ServerProcess) -> None:
        self._server = server
        with self._open() as (store, pepper):
            self.other = store.create_project("other", [ORIGIN])
            store.create_account(FOREIGN_ACCOUNT)
            self.foreign = store.create_project("foreign", [ORIGIN], FOREIGN_ACCOUNT)
            live = Environment.LIVE
            texts = {
                "ak": store.create_key(KeyKind.ACCOUNT, live, pepper),
                "foreign_ak": store.create_key(KeyKind.ACCOUNT, live, pepper, account=FOREIGN_ACCOUNT),
                "other_pk": store.create_key(KeyKind.PUBLIC, live, pepper, project="other"),
                "other_sk": store.create_key(KeyKind.SECRET, live, pepper, project="other"),
                "other_rk": store.create_key(KeyKind.READ, live, pepper, project="other"),
                "revoked": store.create_key(KeyKind.SECRET, live, pepper, project="other"),
            }
            store.revoke_key(texts["revoked"].key.prefix)
            store.update_project("other", rate_limits=dict.fromkeys(("track", "batch", "identify")))
        self.shared = {name: created.text for name, created in texts.items()}
        self.shared["unknown"] = "sk_live_00000000_" + "x" * 43

    def create(self, limits: Mapping[str, Mapping[str, str]]) -> dict[str, Tenant]:
        """Make a project for each name, with its rate limits; a running server knows them at their first call."""
        tenants = {}
        with self._open() as (store, pepper):
            for number, (name, rate_limits) in enumerate(limits.items()):
                project = store.create_project(f"{number} {time.time_ns()}", [ORIGIN])
                if rate_limits:
                    buckets = {bucket: _read_limit(text) for bucket, text in rate_limits.items()}
                    store.update_project(project.project_id, rate_limits=buckets)
                tenants[name] = Tenant(project.project_id, self._make_keys(store, pepper, project.project_id))
        return tenants

    def _make_keys(self, store: ControlStore, pepper: bytes, project_id: str) -> dict[str, str]:
        kinds = {"pk": KeyKind.PUBLIC, "sk": KeyKind.SECRET, "rk": KeyKind.READ}
        keys = {
            name: store.create_key(kind, Environment.LIVE, pepper, project=project_id).text
            for name, kind in kinds.items()
        }
        wrong_secret = keys["sk"][:-4] + ("abcd" if keys["sk"][-4:] != "abcd" else "dcba")
        return self.shared | keys | {"wrong_secret": wrong_secret, "mismatched": "pk" + keys["sk"][2:]}

    @contextlib.contextmanager
    def _open(self) -> Iterator[tuple[ControlStore, bytes]]:
        settings = load_settings({"MILLIMETRIC_DATA_DIR": str(self._server.data_dir), **self._server.environ})
        with contextlib.closing(open_control_store(settings.resolved_database_url)) as store:
            yield store, load_secrets(settings).key_pepper


def _read_limit(text: str) -> RateLimit:
    rate, _, burst = text.partition("/")
    return RateLimit(float(rate), int(burst))
