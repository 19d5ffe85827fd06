"""Every key command in any order, against the simple model of `key_model`: states, numbers, replays."""

import itertools

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from key_model import STALENESS_MS, Key
from ledger_world import NODES, World, request, seeded
from qkms_node.ledger import commands as c
from qkms_node.ledger.snapshot import digest, restore, snapshot
from qkms_node.ledger.state import Refusal
from qkms_node.ledger.usage import Use, version_for

KEYS = ("a", "b")
PERIOD_MS = 400
# One key, and its first versions, meet most of the commands: otherwise few of them would meet.
names = st.sampled_from(("a", "a", "a", "b"))
numbers = st.sampled_from((1, 1, 1, 2, 2, 3, 4, 6))
delays = st.integers(0, STALENESS_MS)


class KeysInAnyOrder(RuleBasedStateMachine):
    """The ledger and the model, told the same things."""

    COMMANDS = frozenset(
        {
            *(c.CreateKey, c.UpdateKey, c.DisableKey, c.EnableKey, c.DeleteKey, c.RotateKey, c.StageVersion),
            *(c.ValidateVersion, c.ActivateVersion, c.AbortVersion, c.ConfirmVersion, c.RejectVersion),
            *(c.DisableVersion, c.EnableVersion, c.CompromiseVersion, c.DestroyVersion, c.RestoreVersion),
            *(c.OpenImport, c.ImportVersion, c.AdvanceTime),
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self.world: World = seeded()
        self.keys: dict[str, Key] = {}
        self.deleted: set[str] = set()
        self.materials = itertools.count(1)
        self.given: dict[tuple[str, int], bytes] = {}
        self.answered: list[tuple[c.AnyCommand, c.Outcome]] = []

    # What is done to both

    def do(self, command: c.AnyCommand, expected: str, later_ms: int = 0) -> c.Outcome:
        assert type(command) in self.COMMANDS
        outcome = self.world.do(command, later_ms)
        assert outcome.code == expected, (command, outcome.message)
        assert not outcome.replayed
        if not outcome.code:
            self.answered.append((command, outcome))
            if outcome.version is not None and outcome.changed:
                assert outcome.version.wrapped == b""
        return outcome

    def at(self, later_ms: int) -> int:
        """Moves time on for both; the time now."""
        self.world.do(c.AdvanceTime(), later_ms)
        for key in self.keys.values():
            key.pass_time(self.world.time_ms)
        return self.world.time_ms

    def new(self, key_id: str) -> c.NewVersion:
        number = next(self.materials)
        record = self.world.state.keys.get(key_id)
        version = record.version_count + 1 if record is not None else 1
        return c.NewVersion(version, 1, b"wrapped-%d" % number, b"check-%d" % number)

    def expect(self, key_id: str, code: str) -> str:
        """The refusal of a key that is not there, before any other."""
        if key_id in self.keys:
            return code
        return "KEY_DELETED" if key_id in self.deleted else "KEY_NOT_FOUND"

    def key(self, key_id: str) -> Key:
        """The model's key; what is done to one that is not there has no effect on the model."""
        return self.keys.get(key_id) or Key()

    @initialize(rotated=st.booleans(), period_ms=st.sampled_from((0, PERIOD_MS)))
    def first_key(self, rotated: bool, period_ms: int) -> None:
        self.create("a", with_version=True)
        self.set_period("a", period_ms)
        if rotated:
            self.rotate("a")

    @rule(key_id=names, with_version=st.booleans())
    def create(self, key_id: str, with_version: bool) -> None:
        taken = key_id in self.keys or key_id in self.deleted
        new = self.new(key_id) if with_version else None
        command = c.CreateKey(request(), key_id, "AES_256_GCM", 0, STALENESS_MS, {}, new)
        self.do(command, "KEY_EXISTS" if taken else "")
        if not taken:
            self.keys[key_id] = Key()
            if with_version:
                self.keys[key_id].rotate(0)

    @rule(key_id=names, expected=st.integers(0, 4))
    def rotate_from_a_guess(self, key_id: str, expected: int) -> None:
        self.rotate_from(key_id, expected)

    @rule(key_id=names)
    def rotate(self, key_id: str) -> None:
        self.rotate_from(key_id, self.key(key_id).primary)

    def rotate_from(self, key_id: str, expected: int) -> None:
        command = c.RotateKey(request(), key_id, expected, self.new(key_id))
        self.do(command, self.expect(key_id, self.key(key_id).rotate(expected)))

    @rule(key_id=names)
    def stage(self, key_id: str) -> None:
        code = self.key(key_id).stage(self.world.time_ms)
        self.do(c.StageVersion(request(), key_id, self.new(key_id), NODES), self.expect(key_id, code))

    @rule(key_id=names)
    def bring_in(self, key_id: str) -> None:
        disabled = "KEY_DISABLED" if self.key(key_id).disabled else ""
        opening = c.OpenImport(request(), key_id, "i", 2, b"public", 1, b"sealed", 1_000_000)
        self.do(opening, self.expect(key_id, disabled))
        waiting = key_id in self.keys and key_id in self.world.state.wrappings
        code = self.key(key_id).stage(self.world.time_ms) if waiting else "IMPORT_NOT_FOUND"
        self.do(c.ImportVersion(request(), key_id, "i", self.new(key_id), NODES), self.expect(key_id, code))

    @rule(node=st.sampled_from(NODES))
    @precondition(lambda self: self.world.state.unconfirmed)
    def witness(self, node: str) -> None:
        key_id, number = next(iter(self.world.state.unconfirmed))
        self.world.witness(number, node, key_id=key_id)
        self.at(0)
        self.keys[key_id].versions[number - 1].confirmed.add(node)

    @rule(key_id=names, number=numbers)
    def reject(self, key_id: str, number: int) -> None:
        code = self.expect(key_id, self.key(key_id).reject(number))
        assert self.world.do(c.RejectVersion(key_id, number, "node-2", "no"), 0).code == code

    @rule(key_id=names, number=numbers)
    def validate(self, key_id: str, number: int) -> None:
        self.do(
            c.ValidateVersion(request(), key_id, number), self.expect(key_id, self.key(key_id).validate(number))
        )

    @rule(key_id=names, number=numbers, wrong=st.integers(0, 1), later_ms=delays)
    def activate(self, key_id: str, number: int, wrong: int, later_ms: int) -> None:
        now_ms = self.at(later_ms)
        expected = self.key(key_id).primary + wrong
        code = self.key(key_id).activate(number, expected, now_ms)
        self.do(c.ActivateVersion(request(), key_id, number, expected), self.expect(key_id, code))

    @rule(later_ms=delays)
    @precondition(lambda self: any(key.staged for key in self.keys.values()))
    def take_the_whole_way(self, later_ms: int) -> None:
        key_id, key = next((name, key) for name, key in self.keys.items() if key.staged)
        for node in NODES[:2]:
            self.world.witness(key.staged, node, key_id=key_id)
            key.versions[key.staged - 1].confirmed.add(node)
        self.at(0)
        self.validate(key_id, key.staged)
        self.activate(key_id, key.staged, 0, later_ms)

    @rule(key_id=names, number=numbers, grace_ms=st.sampled_from((0, 1000)))
    def take_out_of_use_and_back(self, key_id: str, number: int, grace_ms: int) -> None:
        self.compromise(key_id, number)
        self.destroy(key_id, number, grace_ms)
        self.restore(key_id, number)

    @rule(key_id=names, number=numbers)
    def abort(self, key_id: str, number: int) -> None:
        self.do(
            c.AbortVersion(request(), key_id, number, "why"), self.expect(key_id, self.key(key_id).abort(number))
        )

    @rule(key_id=names, number=numbers)
    def disable(self, key_id: str, number: int) -> None:
        self.do(c.DisableVersion(request(), key_id, number), self.expect(key_id, self.key(key_id).disable(number)))

    @rule(key_id=names, number=numbers)
    def enable(self, key_id: str, number: int) -> None:
        self.do(c.EnableVersion(request(), key_id, number), self.expect(key_id, self.key(key_id).enable(number)))

    @rule(key_id=names, number=numbers)
    def compromise(self, key_id: str, number: int) -> None:
        code = self.expect(key_id, self.key(key_id).compromise(number))
        self.do(c.CompromiseVersion(request(), key_id, number, "why"), code)

    @rule(key_id=names, number=numbers, grace_ms=st.sampled_from((0, 10, 1000)))
    def destroy(self, key_id: str, number: int, grace_ms: int) -> None:
        code = self.expect(key_id, self.key(key_id).destroy(number, grace_ms, self.world.time_ms))
        self.do(c.DestroyVersion(request(), key_id, number, grace_ms), code)
        self.at(0)

    @rule(key_id=names, number=numbers)
    def restore(self, key_id: str, number: int) -> None:
        self.do(c.RestoreVersion(request(), key_id, number), self.expect(key_id, self.key(key_id).restore(number)))

    @rule(key_id=names, disabled=st.booleans())
    def switch(self, key_id: str, disabled: bool) -> None:
        command = (c.DisableKey if disabled else c.EnableKey)(request(), key_id)
        self.key(key_id).disabled = disabled
        self.do(command, self.expect(key_id, ""))

    @rule(key_id=names, protected=st.booleans())
    def protect(self, key_id: str, protected: bool) -> None:
        self.key(key_id).protected = protected
        changes = c.KeyChanges(deletion_protection=protected)
        self.do(c.UpdateKey(request(), key_id, changes), self.expect(key_id, ""))

    @rule(key_id=names, least=st.integers(0, 3))
    def raise_least(self, key_id: str, least: int) -> None:
        code = self.expect(key_id, self.key(key_id).raise_least(least))
        self.do(c.UpdateKey(request(), key_id, c.KeyChanges(min_decrypt=least)), code)

    @rule(key_id=names, period_ms=st.sampled_from((0, PERIOD_MS)))
    def set_period(self, key_id: str, period_ms: int) -> None:
        changes = c.KeyChanges(rotation_period_ms=period_ms)
        self.do(c.UpdateKey(request(), key_id, changes), self.expect(key_id, ""))

    @rule(twice=st.booleans())
    @precondition(lambda self: self.world.state.rotation_due)
    def lead(self, twice: bool) -> None:
        key_id, due_ms = next(iter(self.world.state.rotation_due.items()))
        key = self.keys[key_id]
        command = c.RotateKey(request(), key_id, key.primary, self.new(key_id), due_ms)
        code = key.rotate(key.primary)
        self.do(command, code)
        if twice and not code:
            again = c.RotateKey(request(), key_id, key.primary, self.new(key_id), due_ms)
            assert self.world.do(again, 0).code == "PROPOSAL_STALE"

    @rule(key_id=names)
    @precondition(lambda self: any(not key.deletable() for key in self.keys.values()))
    def delete(self, key_id: str) -> None:
        code = self.expect(key_id, self.key(key_id).deletable())
        self.do(c.DeleteKey(request(), key_id), code)
        if not code:
            del self.keys[key_id]
            self.deleted.add(key_id)

    @rule(later_ms=st.sampled_from((1, 10, 100, 1000)))
    def wait(self, later_ms: int) -> None:
        self.at(later_ms)

    @rule(data=st.data())
    @precondition(lambda self: self.answered)
    def repeat(self, data: st.DataObject) -> None:
        command, answer = data.draw(st.sampled_from(self.answered))
        self.at(0)  # what has fallen due happens now, not together with the repetition
        before = digest(self.world.state)
        again = self.world.do(command, 0)
        assert again.replayed
        assert replace(again, replayed=False) == answer
        assert digest(self.world.state) == before

    @rule()
    def restart_from_a_snapshot(self) -> None:
        before = digest(self.world.state)
        self.world.state = restore(list(snapshot(self.world.state)))
        assert digest(self.world.state) == before

    # What must hold at all times

    @invariant()
    def the_model_agrees(self) -> None:
        state = self.world.state
        assert set(state.keys) == set(self.keys)
        assert set(state.tombstones) == self.deleted
        for key_id, key in self.keys.items():
            record = state.keys[key_id]
            states = [state.versions[key_id, n].state.name for n in range(1, record.version_count + 1)]
            assert states == [v.state for v in key.versions]
            assert (record.primary, record.staged) == (key.primary, key.staged)
            assert self.usable(key_id, None, Use.PROTECT) == (key.encrypts() and key.primary >= key.least)
            for number in range(1, len(states) + 1):
                assert self.usable(key_id, number, Use.PROCESS) == key.decrypts(number)

    def usable(self, key_id: str, number: int | None, use: Use) -> bool:
        try:
            version_for(self.world.state, key_id, number, use)
        except Refusal:
            return False
        return True

    @invariant()
    def numbers_are_contiguous_and_their_material_never_another(self) -> None:
        state = self.world.state
        for key_id, record in state.keys.items():
            numbered = sorted(n for k, n in state.versions if k == key_id)
            assert numbered == list(range(1, record.version_count + 1))
        for place, version in state.versions.items():
            first = self.given.setdefault(place, version.wrapped)
            assert version.wrapped in (first, b"")
            assert bool(version.wrapped) == (version.state.name != "DESTROYED")

    @invariant()
    def there_is_exactly_one_primary_of_a_key_that_was_ever_activated(self) -> None:
        state = self.world.state
        for key_id, record in state.keys.items():
            own = [v for (k, _), v in state.versions.items() if k == key_id]
            assert bool(record.primary) == any(v.activate_ms for v in own)
            assert [v.version for v in own if v.state.name == "ACTIVE"] in ([], [record.primary])
            assert [v.version for v in own if v.state.name == "PRE_ACTIVATION"] == [record.staged] * bool(
                record.staged
            )


TestKeysInAnyOrder = KeysInAnyOrder.TestCase
TestKeysInAnyOrder.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
