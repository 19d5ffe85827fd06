"""Who takes part, as this member's log says now, and PySyncObj told of it.

The library's commit rule, check-quorum and vote requests go by its set of
other nodes: here that set is kept equal to the other voters of the newest
configuration in the log (E: there it changes beside the log and unordered).
Learners are never in it.
"""

from collections.abc import Collection, Iterable
from functools import cache
from typing import Any

from pysyncobj import syncobj as library
from pysyncobj.node import Node

from qkms_node.consensus.configuration import Configuration, ConfigurationLog, Placed
from qkms_node.consensus.entries import CONFIGURATION, Entry, decode_configuration

node_of = cache(Node)  # one object per member, so that the library's tables find it by identity


class Members:
    """`log`: the configurations of this member's log. Change it through the methods here."""

    def __init__(self, engine: Any, self_id: str, first: Configuration) -> None:
        self._engine = engine
        self._id = self_id
        self.log = ConfigurationLog(first)
        self.other_voters: list[str] = []
        self.is_voter = False
        self._changed()

    @property
    def configuration(self) -> Configuration:
        """The one in effect here."""
        return self.log.newest.configuration

    def is_quorum(self, ids: Collection[str]) -> bool:
        """Whether `ids` are a majority of the voters."""
        return self.configuration.is_quorum(ids)

    @property
    def is_alone(self) -> bool:
        """Whether this member is the only voter."""
        return self.is_voter and not self.other_voters

    def appended(self, entries: Iterable[Entry]) -> None:
        """The entries joined the log. Raises EntryUnreadable."""
        for entry in entries:
            if entry[0][:1] == CONFIGURATION:
                placed = decode_configuration(entry)
                assert placed is not None
                self.log.append(placed)
                self._changed()

    def cut(self, index: int) -> None:
        """The entries from `index` on left the log."""
        self.log.cut(index)
        self._changed()

    def covered(self, index: int, placed: Placed | None) -> None:
        """A snapshot of everything up to `index` has `placed` in effect; None: it knows of none."""
        if placed is not None:
            self.log.cover(index, placed)
            self._changed()

    def _changed(self) -> None:
        engine, voters = self._engine, self.configuration.voters
        self.is_voter = self._id in voters
        self.other_voters = sorted(voter for voter in voters if voter != self._id)
        nodes = [node_of(voter) for voter in self.other_voters]
        engine._SyncObj__otherNodes = set(nodes)
        now = float(library.monotonicTime())
        for node in nodes:
            engine._SyncObj__raftMatchIndex.setdefault(node, 0)
            engine._SyncObj__lastResponseTime.setdefault(node, now)
