"""Token buckets per project and RPC, in memory, by throttled-py's GCRA."""

from collections.abc import Mapping
from datetime import timedelta
from fractions import Fraction

from throttled import MemoryStore, Quota, Rate, RateLimiterType, Throttled

from millimetric_server.control.records import Project, RateLimit

# throttled-py's store forgets the least recently used bucket beyond this number.
_BUCKETS_MAX = 1_000_000
_PERIOD_MAX_S = 3600


class Limiter:
    """Decides whether a project may call an RPC now."""

    def __init__(self, limits: Mapping[str, RateLimit | None]) -> None:
        self._limits = limits
        self._store = MemoryStore(options={"MAX_SIZE": _BUCKETS_MAX})
        self._throttles: dict[RateLimit, Throttled] = {}

    def take(self, project: Project, name: str, cost: int = 1) -> float:
        """Take tokens from the bucket; return 0, or the seconds to wait when there are too few.

        A bucket never holds more than its burst, so a caller that takes more at once would wait forever.
        """
        limit = self._find_limit(project, name)
        if limit is None:
            return 0.0
        throttle = self._throttles.get(limit) or self._add_throttle(limit)
        result = throttle.limit(f"{project.project_id}/{name}", cost=cost)
        return max(float(result.state.retry_after), 0.001) if result.limited else 0.0

    def read_burst(self, project: Project, name: str) -> int | None:
        """The most tokens that can be taken at once; None where there is no limit."""
        limit = self._find_limit(project, name)
        return None if limit is None else limit.burst

    def _find_limit(self, project: Project, name: str) -> RateLimit | None:
        if project.rate_limits is not None and name in project.rate_limits:
            return project.rate_limits[name]
        return self._limits.get(name)

    def _add_throttle(self, limit: RateLimit) -> Throttled:
        rate = Fraction(limit.rate_per_s).limit_denominator(_PERIOD_MAX_S)  # whole tokens in whole seconds
        quota = Quota(Rate(timedelta(seconds=rate.denominator), max(rate.numerator, 1)), limit.burst)
        throttle = Throttled(using=RateLimiterType.GCRA.value, quota=quota, store=self._store)
        self._throttles[limit] = throttle
        return throttle
