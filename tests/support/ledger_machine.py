"""What the machines over the ledger share: commands told to it and to a model, repeated, replayed from the log.

A machine names its COMMANDS; `reached` counts how often each took effect and how often it was refused, over all
runs of the class, so that a test can see that none of them only ever meets one answer.
"""

from collections import Counter
from typing import ClassVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from msgspec.structs import replace

from ledger_world import World, seeded
from qkms_node.ledger import commands as c
from qkms_node.ledger.apply import apply
from qkms_node.ledger.snapshot import digest, restore, snapshot

ANY_TIME = st.sampled_from((0, 0, 0, 1, 50, 500))


class LedgerMachine(RuleBasedStateMachine):
    """The ledger, and what every machine does to it."""

    COMMANDS: ClassVar[frozenset[type]] = frozenset()
    reached: ClassVar[Counter[tuple[type, bool]]]

    def __init_subclass__(cls) -> None:
        cls.reached = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.world: World = self.beginning()
        self.twin = restore(list(snapshot(self.world.state)))
        self.answered: list[tuple[c.AnyCommand, c.Outcome]] = []

    def beginning(self) -> World:
        """The ledger before the first command."""
        return seeded()

    def do(self, command: c.AnyCommand, refusal: str = "", *, changes: bool = True) -> c.Outcome:
        """Tells the ledger; it must refuse so, or else change something or not."""
        assert type(command) in self.COMMANDS, f"{type(command).__name__} is not among the machine's COMMANDS"
        before = digest(self.world.state)
        outcome = self.world.do(command, 0)
        assert outcome.code == refusal, (command, outcome.code, outcome.message)
        assert outcome.changed == (not refusal and changes), (command, outcome.note)
        if refusal:
            assert digest(self.world.state) == before, "a refusal changes nothing"
        self._follow(command)
        self.reached[type(command), not refusal] += 1
        if isinstance(command, c.Mutation) and not refusal:
            self.answered.append((command, outcome))
        return outcome

    def pass_time(self, later_ms: int) -> int:
        """Moves time on; the time now."""
        self.world.do(c.AdvanceTime(), later_ms)
        self._follow(c.AdvanceTime())
        self.reached[c.AdvanceTime, True] += 1
        # What is no longer remembered after a day is not repeated.
        remembered = self.world.state.requests
        self.answered = [
            (command, outcome)
            for command, outcome in self.answered
            if isinstance(command, c.Mutation) and command.request.request_id in remembered
        ]
        return self.world.time_ms

    def _follow(self, command: c.AnyCommand) -> None:
        """A second ledger is told the same; see `teardown`."""
        apply(self.twin, command, self.world.time_ms)

    @rule(data=st.data())
    @precondition(lambda self: self.answered)
    def repeat(self, data: st.DataObject) -> None:
        """What was answered is answered so again, and another request under its id is refused."""
        command, answer = data.draw(st.sampled_from(self.answered))
        before = digest(self.world.state)
        again = self.world.do(command, 0)
        assert again.replayed
        assert replace(again, replayed=False) == answer
        assert isinstance(command, c.Mutation)
        other = replace(command, request=replace(command.request, fingerprint=b"another request".ljust(32)))
        assert self.world.do(other, 0).code == "REQUEST_ID_REUSED"
        assert digest(self.world.state) == before

    @rule()
    def restart_from_a_snapshot(self) -> None:
        before = digest(self.world.state)
        self.world.state = restore(list(snapshot(self.world.state)))
        assert digest(self.world.state) == before

    def teardown(self) -> None:
        assert digest(self.twin) == digest(self.world.state), "two ledgers that were told the same"


def run(machine: type[LedgerMachine], only_ever: frozenset[type] = frozenset(), examples: int = 40) -> None:
    """Runs the machine, the same each time, and requires each command to have met both answers.

    `only_ever`: commands that nothing refuses.
    """
    machine.reached.clear()
    chosen = settings(max_examples=examples, stateful_step_count=40, deadline=None, derandomize=True)
    run_state_machine_as_test(machine, settings=chosen)
    never_done = [k.__name__ for k in machine.COMMANDS if not machine.reached[k, True]]
    never_refused = [k.__name__ for k in machine.COMMANDS - only_ever if not machine.reached[k, False]]
    assert never_done == [], f"commands that never took effect: {never_done}"
    assert never_refused == [], f"commands that were never refused: {never_refused}"
