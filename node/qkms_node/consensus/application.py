"""Applies committed entries to the state machine, once each, in order.

Mends of PySyncObj (O): an exception in apply is retried at every tick for
ever there. Here it leaves the tick and stops the node. Work is sliced: a long
backlog does not keep the node from answering its leader.
"""

from qkms_node.consensus.core import Core
from qkms_node.consensus.entries import decode_batch
from qkms_node.consensus.proposals import Proposals
from qkms_node.consensus.replica import StateMachine


class ApplyFailed(Exception):
    """The state machine raised on a committed command; the node must stop, every replica will."""

    code = "APPLY_FAILED"


class Application:
    """`time_ms`: the stamp of the last batch applied, part of every snapshot."""

    def __init__(self, core: Core, machine: StateMachine, proposals: Proposals) -> None:
        self._core = core
        self._machine = machine
        self._proposals = proposals
        self.time_ms = 0
        self.entries_since_snapshot = 0
        self.bytes_since_snapshot = 0

    @property
    def behind(self) -> bool:
        """Whether committed entries wait to be applied."""
        return self._core.applied_index < self._core.commit_index

    def step(self) -> None:
        """Applies what is committed, for one slice of time at most. Raises ApplyFailed, EntryUnreadable."""
        core = self._core
        until = core.now() + core.limits.apply_slice_s
        while self.behind and core.now() < until:
            index = core.applied_index + 1
            entry = core.journal[index - core.base_index]
            self._apply(entry)
            core.applied(index)

    def _apply(self, entry: tuple[bytes, int, int]) -> None:
        command, index, term = entry
        batch = decode_batch(entry)
        answers = [command]  # a configuration's answer is itself
        if batch is not None:
            self.time_ms, commands = batch
            try:
                answers = [self._machine.apply(index, self.time_ms, one) for one in commands]
            except Exception as error:
                raise ApplyFailed(
                    f"entry {index}: {type(error).__name__} while applying a committed command"
                ) from error
        self.entries_since_snapshot += 1
        self.bytes_since_snapshot += len(command)
        self._proposals.applied(index, term, answers)
