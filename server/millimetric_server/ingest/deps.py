"""What writes work with."""

from collections.abc import Callable
from dataclasses import dataclass, field

from millimetric_server.enrich.client_ip import TrustedProxies
from millimetric_server.following.followers import Followers
from millimetric_server.journal.port import Journal
from millimetric_server.loading.loader import Loader


@dataclass(frozen=True, slots=True)
class IngestDeps:
    """What writes work with."""

    journal: Journal
    loader: Loader
    find_country: Callable[[str], str]
    ip_salt: bytes
    identity_key: bytes
    trusted_proxies: TrustedProxies
    followers: Followers = field(default_factory=Followers)
