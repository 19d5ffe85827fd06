"""How pairs of SAEs share the keys of one link: quotas, and equal parts while several want them. Pure.

What a pair has had counts for a minute. While only one pair asks, it may have all there is, within its quota.
While several do, each may have had as much as an equal part of what they have had and what is there: who comes
late finds its part as soon as keys come in, and who asks for little is served however much others ask. A pair
that has not asked for five seconds takes no part from the others. Both ends of a link count what is drawn at
either. Times in seconds of one monotonic clock. Left out: weights; memory over restarts.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from qkms_qkd.kme.pool import TooFewKeysError
from qkms_qkd.kme.quotas import Pair, QuotaSection

WINDOW_S = 60.0
ASKS_S = 5.0


class OverShareError(TooFewKeysError):
    """There may be keys, but not for this pair now."""


@dataclass(slots=True)
class _Had:
    """The stored keys that a pair has had within the window: each time, and in all."""

    times: deque[tuple[float, int]] = field(default_factory=deque)
    total: int = 0

    def add(self, number: int, now_s: float) -> None:
        self.times.append((now_s, number))
        self.total += number

    def forget(self, before_s: float) -> None:
        while self.times and self.times[0][0] <= before_s:
            self.total -= self.times.popleft()[1]


class Sharing:
    """What every pair has had from every link of one KME."""

    def __init__(self, quotas: Sequence[QuotaSection]) -> None:
        self._quotas = {frozenset(quota.saes): quota.keys_per_minute for quota in quotas}
        self._links: dict[str, dict[Pair, _Had]] = defaultdict(dict)

    def draw(self, link: str, pair: Pair, need: int, free: int, now_s: float) -> None:
        """Counts `need` stored keys for the pair, if it may have them while `free` are there.

        Raises OverShareError; that the pair asked counts nevertheless, so that others leave it its part.
        """
        self.count(link, pair, 0, now_s)
        pairs = self._links[link]
        had = pairs[pair].total
        quota = self._quotas.get(pair)
        if quota is not None and had + need > quota:
            raise OverShareError(f"these SAEs have had {had} of the {quota} keys a minute that are their quota")
        asking = [each for each in pairs.values() if each.times[-1][0] > now_s - ASKS_S]
        part = (free + sum(each.total for each in asking)) / len(asking)
        if len(asking) > 1 and need <= free and had + need > part:
            raise OverShareError(f"{len(asking)} pairs share it, and these have had {had} keys within a minute")
        self.count(link, pair, need, now_s)

    def count(self, link: str, pair: Pair, number: int, now_s: float) -> None:
        """The pair had so many stored keys of the link, here or at its other end."""
        pairs = self._links[link]
        pairs.setdefault(pair, _Had()).add(number, now_s)
        for each in list(pairs):
            pairs[each].forget(now_s - WINDOW_S)
            if not pairs[each].times:
                del pairs[each]
