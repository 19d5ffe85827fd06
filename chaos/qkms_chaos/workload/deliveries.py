"""What encryptors were given, and which promises of one-time delivery that breaks. Pure.

An attempt whose answer did not come, or says that the outcome is not known, may have consumed its keys: that
is the one way in which a key may be missing at an end, and the encryptor was told.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from qkms_chaos.checking.history import Op, Outcome

NO_ANSWER = 0
NOT_SENT = frozenset({"ConnectError", "ConnectTimeout"})
"""No connection came about, so nothing was asked."""
UNDETERMINED = frozenset({"OUTCOME_UNKNOWN", "AUDIT_UNAVAILABLE", "INTERNAL"})
"""Codes of answers after which keys may have been consumed without having been given out."""


@dataclass(frozen=True, repr=False)
class Attempt:
    """One draw or collection by one SAE, as it was answered. `asked`: key_IDs, empty for a draw."""

    sae: str
    kind: str
    node: str
    asked: tuple[str, ...]
    status: int
    said: str
    keys: dict[str, bytes]

    def operation(self, client: str, pair: str, start: float, end: float) -> Op:
        """The same for the history, where keys have no place; `pair` is master/slave."""
        outcome = Outcome.OK if self.status == 200 else Outcome.UNKNOWN if self.undetermined else Outcome.REFUSED
        unreachable = self.status == NO_ANSWER and not self.undetermined
        return Op(
            process=f"{client}@{self.node}",
            call=self.kind,
            key=pair,
            start=start,
            end=end,
            outcome=outcome,
            args={"key_ids": " ".join(self.asked)} if self.asked else {},
            answer={"key_ids": " ".join(self.keys)} if self.keys else {},
            reason="UNAVAILABLE" if unreachable else self.said,
            node=self.node,
        )

    @property
    def undetermined(self) -> bool:
        """Whether its keys may have been consumed although they were not given out."""
        if self.status == NO_ANSWER:
            return self.said not in NOT_SENT
        return self.said in UNDETERMINED


def breaches(attempts: Iterable[Attempt]) -> list[str]:
    """What must not have happened, in words, without key bytes.

    No key_ID is given to one party twice, nor drawn twice; all keys under a key_ID are equal and no two key_IDs
    have the same; a collection gives exactly the keys that were asked for; a key that was drawn and asked for is
    given to the slave, unless an attempt at it was undetermined.
    """
    found = []
    times: Counter[tuple[str, str, str]] = Counter()
    keys: dict[str, bytes] = {}
    unclear: set[str] = set()
    asked: defaultdict[str, set[str]] = defaultdict(set)
    for one in attempts:
        if one.kind == "collect":
            for key_id in one.asked:
                asked[key_id].add(one.sae)
            if one.undetermined:
                unclear.update(one.asked)
            if one.status == 200 and set(one.asked) != set(one.keys):
                found.append(f"{one.sae} asked {one.node} for {len(one.asked)} keys and got others")
        for key_id, key in one.keys.items():
            times[key_id, one.sae, one.kind] += 1
            if keys.setdefault(key_id, key) != key:
                found.append(f"{key_id}: {one.sae} got another key at {one.node} than was given before")
    found += [f"{key_id}: given to {sae} {n} times by {kind}" for (key_id, sae, kind), n in times.items() if n > 1]
    drawn = Counter(key_id for key_id, _, kind in times if kind == "draw")
    found += [f"{key_id}: drawn by {n} SAEs" for key_id, n in drawn.items() if n > 1]
    if len(set(keys.values())) != len(keys):
        found.append("two key_IDs have the same key")
    found += [
        f"{key_id}: lost to {sae}, and no attempt was undetermined"
        for key_id in drawn
        for sae in sorted(asked[key_id])
        if not times[key_id, sae, "collect"] and key_id not in unclear
    ]
    return found
