"""A bucket for refused calls, by key and IP address, so that a faulty client costs little.

Valid calls take no token and are never refused here, so callers do not affect others behind the same address. Addresses
are kept in memory only.
"""

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

from millimetric_server.control.records import RateLimit

BUCKETS_MAX = 100_000
TOKEN_BYTES = 256 * 1024  # a refused body costs a token more for each of these
_PREFIX_BITS = 64  # of IPv6: what one household or machine gets


class Refusals:
    """Token buckets, stored as the time at which each is full again. The least recently used one is evicted first."""

    def __init__(self, limit: RateLimit | None, read_time_s: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._read_time_s = read_time_s
        self._lock = threading.Lock()
        self._full_at: OrderedDict[tuple[str, str], float] = OrderedDict()

    def charge(self, key_prefix: str, address: str, body_bytes: int = 0) -> float:
        """Charge a refused call; returns 0, or the seconds until there are tokens. Unknown keys have no prefix."""
        if self._limit is None:
            return 0.0
        cost = (1 + body_bytes // TOKEN_BYTES) / self._limit.rate_per_s
        bucket = key_prefix, group_address(address)
        with self._lock:
            now = self._read_time_s()
            full_at = max(self._full_at.get(bucket, now), now)
            wait_s = full_at - now + cost - self._limit.burst / self._limit.rate_per_s
            if wait_s <= 0:
                self._put(bucket, full_at + cost)
                return 0.0
            # A large body may cost more than there is, or than fits: what there is is taken.
            self._put(bucket, now + self._limit.burst / self._limit.rate_per_s)
            return max(1 / self._limit.rate_per_s, full_at - now - (self._limit.burst - 1) / self._limit.rate_per_s)

    def is_exhausted(self, key_prefix: str, address: str) -> bool:
        """Tell whether the bucket has no token, without taking one."""
        if self._limit is None or not self._full_at:
            return False
        full_at = self._full_at.get((key_prefix, group_address(address)), 0.0)
        return (full_at - self._read_time_s()) * self._limit.rate_per_s > self._limit.burst - 1

    def _put(self, bucket: tuple[str, str], full_at: float) -> None:
        self._full_at[bucket] = full_at
        self._full_at.move_to_end(bucket)
        if len(self._full_at) > BUCKETS_MAX:
            self._full_at.popitem(last=False)


def group_address(address: str) -> str:
    """The part of an address that stands for one caller: all of IPv4, the first 64 bits of IPv6."""
    if ":" not in address:
        return address
    try:
        return str(ipaddress.IPv6Network((address, _PREFIX_BITS), strict=False).network_address)
    except ValueError:
        return address
