"""SAE keys in any order against a dictionary of who may get which: once for each, all or none, twice the same."""

import uuid

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, invariant, rule

from ledger_machine import LedgerMachine, run
from ledger_world import HOUR_MS, request
from qkms_node.ledger import commands as c

MASTER, SLAVES = "enc-a", ("enc-b", "enc-c", "enc-d")
MOST = 6
TTL_MS = st.integers(1, 3 * HOUR_MS)
some_slaves = st.permutations(SLAVES).flatmap(lambda all_: st.integers(1, 3).map(lambda n: tuple(all_[:n])))


def key_id(number: int) -> str:
    return str(uuid.UUID(int=number))


class SaeKeysInAnyOrder(LedgerMachine):
    """Every proposal may arrive twice: a node repeats one whose outcome it does not know."""

    COMMANDS = frozenset({c.DrawSaeKeys, c.CollectSaeKeys, c.AdvanceTime})
    draws: Bundle[tuple[int, ...]] = Bundle("draws")

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.first: dict[int, str] = {}
        self.held: dict[int, set[str]] = {}
        self.ends: dict[int, int] = {}
        self.given: set[tuple[int, str]] = set()

    @rule(
        target=draws,
        number=st.integers(1, 3),
        slaves=some_slaves,
        ttl_ms=TTL_MS,
        twice=st.booleans(),
        old=st.booleans(),
    )
    def draw(self, number: int, slaves: tuple[str, ...], ttl_ms: int, twice: bool, old: bool) -> tuple[int, ...]:
        numbers = tuple(range(self.count + 1, self.count + number + 1))
        self.count += number
        new = tuple(c.NewSaeKey(key_id(one), b"sealed") for one in numbers)
        epoch = 9 if old and number == 3 else 1
        command = c.DrawSaeKeys(request(), MASTER, slaves, 256, epoch, new, MOST, ttl_ms)
        refusal = "EPOCH_CONFLICT" if epoch == 9 else ""
        if not refusal and len(self.waiting(slaves[0])) + number > MOST:
            refusal = "SAE_KEYS_WAITING"
        self.do(command, refusal)
        if refusal:
            return ()
        for one in numbers:
            self.first[one], self.held[one] = slaves[0], set(slaves)
            self.ends[one] = self.world.time_ms + ttl_ms
        if twice:
            assert self.do(command, changes=False).note == "already drawn"
        return numbers

    @rule(one=draws, other=draws, slave=st.sampled_from(SLAVES), twice=st.booleans())
    def collect(self, one: tuple[int, ...], other: tuple[int, ...], slave: str, twice: bool) -> None:
        asked = tuple(dict.fromkeys((*one, *other)))
        if not asked:
            return
        refusal = ""
        if any(self.gone(number) or (number, slave) in self.given for number in asked):
            refusal = "SAE_KEY_NOT_FOUND"
        elif any(slave not in self.held[number] for number in asked):
            refusal = "SAE_KEY_NOT_NAMED"
        command = c.CollectSaeKeys(request(), MASTER, slave, tuple(key_id(number) for number in asked))
        self.do(command, refusal)
        if refusal:
            return
        for number in asked:
            self.given.add((number, slave))
            self.held[number].discard(slave)
        if twice:
            assert self.do(command, changes=False).note == "already collected"

    @rule(later_ms=st.sampled_from((0, 1, HOUR_MS // 10, HOUR_MS, 2 * HOUR_MS)))
    def wait(self, later_ms: int) -> None:
        self.pass_time(later_ms)

    def gone(self, number: int) -> bool:
        return not self.held[number] or self.world.time_ms >= self.ends[number]

    def waiting(self, first: str) -> list[int]:
        return [number for number in self.held if self.first[number] == first and not self.gone(number)]

    @invariant()
    def a_key_is_in_the_ledger_exactly_while_somebody_may_get_it(self) -> None:
        records = self.world.state.sae_keys
        sealed = {record.key_id for record in records.values() if record.sealed}
        assert sealed == {key_id(number) for number in self.held if not self.gone(number)}
        assert records.counts["epoch"].total() == len(sealed)
        for first in SLAVES:
            assert records.counts["pair"][MASTER, first] == len(self.waiting(first))


def test_sae_keys_in_any_order() -> None:
    run(SaeKeysInAnyOrder, only_ever=frozenset({c.AdvanceTime}), examples=15)
