"""Token buckets, one for each principal and rule, at this node alone.

A bucket starts full and refills steadily. Buckets are forgotten with the
process, and the one unused for longest when there are too many: a forgotten
bucket is a full one. Time is an argument, in seconds of a monotonic clock.
"""

from collections import OrderedDict
from dataclasses import dataclass

from qkms_node.access.policy import Rate

MAX_BUCKETS = 20_000


@dataclass
class _Bucket:
    tokens: float
    time_s: float


class Buckets:
    """All buckets of a node."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()

    def wait_s(self, owner: tuple[str, str], rate: Rate, now_s: float) -> float:
        """Takes a token of the bucket of (principal, rule) and returns 0, or the seconds until there is one."""
        bucket = self._buckets.get(owner)
        if bucket is None:
            bucket = self._buckets[owner] = _Bucket(rate.burst, now_s)
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(owner)
        grown = max(0.0, now_s - bucket.time_s) * rate.per_minute / 60
        bucket.tokens = min(float(rate.burst), bucket.tokens + grown)
        bucket.time_s = now_s
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return 0.0
        return (1 - bucket.tokens) * 60 / rate.per_minute
