"""Keys for encryptors in any order: given once to each party, all or none, and gone when everybody has them."""

from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from ledger_machine import LedgerMachine, run
from ledger_world import request
from qkms_node.ledger import commands as c
from qkms_node.ledger.sae_rules import TOMBSTONE_MS

parties = st.sampled_from(("a", "b", "c"))
numbers = st.integers(0, 4)
MOST = 3
TTL_MS = 200


@dataclass
class Key:
    """One key. `had`: by slave, the number of the collection that gave it."""

    master: str
    slaves: tuple[str, ...]
    expire_ms: int
    had: dict[str, int] = field(default_factory=dict)
    gone_ms: int | None = None
    """When the key was erased: collected by all, or expired."""


class SaeKeysInAnyOrder(LedgerMachine):
    """Key ids are k0 to k4, so that they come again; a collection's request is known by its number."""

    COMMANDS = frozenset({c.DrawSaeKeys, c.CollectSaeKeys, c.AdvanceTime})

    def __init__(self) -> None:
        super().__init__()
        self.keys: dict[str, Key] = {}

    @rule(first=numbers, number=st.integers(1, 2), master=parties, slave=parties, both=st.booleans())
    def draw(self, first: int, number: int, master: str, slave: str, both: bool) -> None:
        slaves = tuple(dict.fromkeys((slave, "c" if both else slave)))
        ids = [f"k{(first + n) % 5}" for n in range(number)]
        known = [self.keys.get(key_id) for key_id in ids]
        refusal, changes = "", True
        if any(known):
            changes = False
            if any(key is None or (key.master, key.slaves) != (master, slaves) for key in known):
                refusal = "SAE_KEY_EXISTS"
        elif self.waiting(master, slaves[0]) + number > MOST:
            refusal = "SAE_KEYS_WAITING"
        new = tuple(c.NewSaeKey(key_id, b"sealed") for key_id in ids)
        command = c.DrawSaeKeys(request(), master, slaves, 256, 1, new, MOST, TTL_MS)
        self.do(command, refusal, changes=changes)
        if changes and not refusal:
            for key_id in ids:
                self.keys[key_id] = Key(master, slaves, self.world.time_ms + TTL_MS)

    @rule(first=numbers, slave=parties)
    def draw_under_an_old_root(self, first: int, slave: str) -> None:
        if f"k{first}" not in self.keys:
            new = (c.NewSaeKey(f"k{first}", b"sealed"),)
            self.do(c.DrawSaeKeys(request(), "a", (slave,), 256, 7, new, MOST, TTL_MS), "EPOCH_CONFLICT")

    def waiting(self, master: str, slave: str) -> int:
        return sum(
            key.gone_ms is None and (key.master, key.slaves[0]) == (master, slave) for key in self.keys.values()
        )

    @rule(first=numbers, number=st.integers(1, 2), master=parties, slave=parties, asked=st.integers(0, 3))
    def collect(self, first: int, number: int, master: str, slave: str, asked: int) -> None:
        self.give([f"k{(first + n) % 5}" for n in range(number)], master, slave, asked)

    @rule(first=numbers, last=st.booleans(), asked=st.integers(0, 3))
    def collect_what_is_mine(self, first: int, last: bool, asked: int) -> None:
        key = self.keys.get(f"k{first}")
        if key is not None:
            self.give([f"k{first}"], key.master, key.slaves[-1 if last else 0], asked)

    def give(self, ids: list[str], master: str, slave: str, asked: int) -> None:
        known = [self.keys.get(key_id) for key_id in ids]
        refusal, changes = "", True
        if all(key is not None and key.had.get(slave) == asked for key in known):
            changes = False
        elif any(key is None or key.gone_ms is not None or slave in key.had for key in known):
            refusal = "SAE_KEY_NOT_FOUND"
        elif any(key is not None and (key.master != master or slave not in key.slaves) for key in known):
            refusal = "SAE_KEY_NOT_NAMED"
        command = c.CollectSaeKeys(request(f"asked-{asked}"), master, slave, tuple(ids))
        self.do(command, refusal, changes=changes)
        if refusal or not changes:
            return
        for key in known:
            assert key is not None
            key.had[slave] = asked
            if len(key.had) == len(key.slaves):
                key.gone_ms = self.world.time_ms

    @rule(later_ms=st.sampled_from((0, 1, 60, 250, TOMBSTONE_MS)))
    def wait(self, later_ms: int) -> None:
        now_ms = self.pass_time(later_ms)
        for key in self.keys.values():
            if key.gone_ms is None and key.expire_ms <= now_ms:
                key.gone_ms = now_ms
        left = {
            n: key for n, key in self.keys.items() if key.gone_ms is None or key.gone_ms + TOMBSTONE_MS > now_ms
        }
        self.keys = left

    @invariant()
    def the_keys_are_what_the_model_says(self) -> None:
        state = self.world.state
        assert set(state.sae_keys) == set(self.keys)
        for key_id, record in state.sae_keys.items():
            key = self.keys[key_id]
            assert set(record.collected) == set(key.had)
            assert bool(record.sealed) == (key.gone_ms is None), (
                "erased with the last collection, or when it expired"
            )


def test_sae_keys_in_any_order() -> None:
    run(SaeKeysInAnyOrder, only_ever=frozenset({c.AdvanceTime}))
