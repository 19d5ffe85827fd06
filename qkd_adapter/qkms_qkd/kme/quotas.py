"""[[quotas]]: the most that a pair of SAEs gets from a link. Pure."""

from collections.abc import Iterator, Sequence

import msgspec

Pair = frozenset[str]
"""Two SAEs, whichever is the master."""


class QuotaSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[[quotas]]: how many stored keys (`keys.size_bits` each) two SAEs get from any one link in a minute."""

    saes: tuple[str, str]
    keys_per_minute: int


def quota_problems(quotas: Sequence[QuotaSection]) -> Iterator[tuple[str, str]]:
    """What is wrong with the sections: field, problem."""
    seen: set[Pair] = set()
    for i, quota in enumerate(quotas):
        pair = frozenset(quota.saes)
        if len(pair) < 2:
            yield f"quotas[{i}].saes", f"names {quota.saes[0]!r} twice"
        if pair in seen:
            yield f"quotas[{i}].saes", "is a pair that has a quota already"
        seen.add(pair)
        if quota.keys_per_minute < 0:
            yield f"quotas[{i}].keys_per_minute", f"must be 0 or more, not {quota.keys_per_minute}"
