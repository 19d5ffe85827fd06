"""Entries of the leader: what waits becomes one entry, stamped with a time that never goes back.

While enough entries are under way, proposals gather, so that the next entry
and its fdatasync carry more of them.
"""

from collections.abc import Callable

from qkms_node.consensus.core import Core
from qkms_node.consensus.entries import decode_batch, encode_batch
from qkms_node.consensus.proposals import Proposals


class Forming:
    """`wall_ms`: this node's clock, milliseconds since the Unix epoch."""

    def __init__(self, core: Core, proposals: Proposals, wall_ms: Callable[[], int]) -> None:
        self._core = core
        self._proposals = proposals
        self._wall_ms = wall_ms
        self._time_ms = 0

    def begin(self, applied_time_ms: int) -> None:
        """This node leads: its stamps start at the latest in the log, or of the state when all is applied."""
        core = self._core
        self._time_ms = applied_time_ms
        for index in range(core.last_index, core.applied_index, -1):
            batch = decode_batch(core.journal[index - core.base_index])
            if batch is not None:
                self._time_ms = batch[0]
                return

    def step(self) -> None:
        """Appends entries as long as something waits and not too much is under way."""
        core, limits = self._core, self._core.limits
        while core.last_index - core.commit_index < limits.entries_in_flight:
            groups = self._proposals.take_groups(limits.entry_bytes)
            if not groups:
                return
            self._time_ms = max(self._wall_ms(), self._time_ms)
            commands = [command for group in groups for command in group.commands]
            index = core.last_index + 1
            core.append([(encode_batch(self._time_ms, commands), index, core.term)])
            self._proposals.entered(index, core.term, groups)
