"""The leader's side of replication: what goes to each follower, and when.

Mends of PySyncObj: catch-up livelock (C, see progress), acknowledgements
without a term (L: dropped before they get here). The library's tick decides
when a heartbeat is due and what is committed; this part decides what to send.
"""

from qkms_node.consensus.core import Core
from qkms_node.consensus.messages import Append, AppendAnswer, Commit, SnapshotAnswer, TimeoutNow
from qkms_node.consensus.progress import Mode, Progress
from qkms_node.consensus.proposals import Proposals
from qkms_node.consensus.replica import Role
from qkms_node.consensus.snapshot_sending import SnapshotSending

CAUGHT_UP_ENTRIES = 64
_NOTICE_HEARTBEATS = 0.125  # how long a commit index may wait for entries to travel with, when nobody waits for it


class Leading:
    """Progress of every follower, learners included; empty while this node does not lead."""

    def __init__(self, core: Core, proposals: Proposals, snapshots: SnapshotSending) -> None:
        self._core = core
        self._proposals = proposals
        self._snapshots = snapshots
        self._followers: list[str] = []
        self._progress: dict[str, Progress] = {}
        self._transfer: tuple[str | None, float] | None = None
        self.next_announcement = float("inf")  # when `announce` has something to do if no entries follow

    def begin(self) -> None:
        """This node became leader: all followers are probed from the end of the log."""
        self._progress = {peer: Progress(self._core.last_index) for peer in self._followers}
        self.heartbeat()

    def set_followers(self, followers: list[str]) -> None:
        """Who gets the log from now on, voters and learners alike."""
        self._followers = followers
        if self._core.role is not Role.LEADER:
            return
        for peer in [peer for peer in self._progress if peer not in followers]:
            self._snapshots.stop(peer)
            del self._progress[peer]
        for peer in followers:
            self._progress.setdefault(peer, Progress(self._core.last_index))

    def is_caught_up(self, peer: str) -> bool:
        """Whether `peer` is connected and holds the log but for what may be under way."""
        progress = self._progress.get(peer)
        if progress is None or peer not in self._core.connected or progress.mode is not Mode.STREAM:
            return False
        return progress.match + CAUGHT_UP_ENTRIES >= self._core.commit_index

    def held(self) -> dict[str, int]:
        """The last log index that each follower durably holds; 0 until it is known."""
        return {peer: progress.match for peer, progress in self._progress.items()}

    def end(self) -> None:
        """This node leads no more."""
        self._progress = {}
        self._transfer = None
        self._snapshots.stop_all()

    def peer_changed(self, peer: str) -> None:
        """The connection to `peer` came or went: what was under way counts as lost."""
        progress = self._progress.get(peer)
        if progress is not None:
            progress.restart(progress.match + 1 if progress.match else progress.next)
            self._snapshots.stop(peer)
            self._send(peer, progress, heartbeat=False)

    def heartbeat(self) -> None:
        """Something to every connected follower, so that it does not stand for election."""
        self._core.heartbeat_sent()
        for peer, progress in self._progress.items():
            self._send(peer, progress, heartbeat=True)

    def replicate(self) -> None:
        """New entries to all who are ready for them."""
        last = self._core.last_index
        for peer, progress in self._progress.items():
            if progress.next <= last or progress.mode is not Mode.STREAM:
                self._send(peer, progress, heartbeat=False)
        self._advance_transfer()

    def announce(self) -> None:
        """The commit index to whom it must not wait for; with the next entries it costs no round of its own."""
        core = self._core
        self.next_announcement = float("inf")
        committed = core.commit_index
        for peer, progress in self._progress.items():
            if progress.commit_sent >= committed or progress.mode is not Mode.STREAM or peer not in core.connected:
                continue
            due = progress.appended_at + _NOTICE_HEARTBEATS * core.timing.heartbeat_s
            awaited = self._proposals.awaited.get(peer, 0) > progress.commit_sent or core.speaks_to(peer)
            if awaited or core.now() >= due or not core.members.configuration.has(peer):
                progress.commit_sent = committed
                core.send(peer, Commit(core.term, committed))
            else:
                self.next_announcement = min(due, self.next_announcement)

    def on_append_answer(self, peer: str, message: AppendAnswer) -> None:
        progress = self._progress.get(peer)
        if progress is None:
            return
        core = self._core
        if message.ok:
            progress.accepted(message.seq, message.index)
            core.acknowledged(peer, progress.match)
        else:
            core.responded(peer)
            if progress.refused(message.seq, message.index) and message.index < progress.match:
                core.report("consensus.follower_lost_log", peer=peer, held=progress.match, holds=message.index)
                progress.match = 0
                core.acknowledged(peer, 0)
        self._send(peer, progress, heartbeat=False)

    def on_snapshot_answer(self, peer: str, message: SnapshotAnswer) -> None:
        progress = self._progress.get(peer)
        if progress is None:
            return
        self._core.responded(peer)
        if progress.mode is not Mode.SNAPSHOT:
            return
        if message.installed:
            self._snapshots.stop(peer)
            progress.match = max(progress.match, message.index)
            progress.restart(progress.match + 1)
            self._core.acknowledged(peer, progress.match)
        elif not self._snapshots.answered(peer, message):
            progress.restart(progress.next)
        self._send(peer, progress, heartbeat=False)

    @property
    def transferring(self) -> bool:
        """Whether new entries are held back because leadership is being handed over."""
        return self._transfer is not None and self._core.now() < self._transfer[1]

    def transfer(self, target: str | None, deadline: float) -> None:
        """Hands leadership to `target`, or to whoever is most complete, before `deadline`."""
        if self._core.role is Role.LEADER and self._progress:
            self._transfer = target, deadline
            self._advance_transfer()

    def _advance_transfer(self) -> None:
        if self._transfer is None:
            return
        core = self._core
        target, deadline = self._transfer
        if core.now() >= deadline:
            self._transfer = None
            return
        able = core.connected & set(core.members.other_voters) & set(self._progress)
        ready = [peer for peer in able if self._progress[peer].match == core.last_index]
        heir = target if target in ready else min(ready, default=None) if target is None else None
        if heir is not None:
            core.send(heir, TimeoutNow(core.term))

    def _send(self, peer: str, progress: Progress, *, heartbeat: bool) -> None:
        core = self._core
        if peer not in core.connected:
            return
        if progress.mode is not Mode.SNAPSHOT and progress.next <= core.base_index:
            progress.mode = Mode.SNAPSHOT
        if progress.mode is Mode.SNAPSHOT:
            self._snapshots.send(peer)
            if heartbeat:
                # The log before the base is gone, so this cannot match: it only says that the leader lives.
                self._append(peer, progress, core.base_index, 0)
        elif progress.mode is Mode.PROBE:
            if heartbeat or not progress.probing:
                progress.probed(self._append(peer, progress, progress.next - 1, 0))
        else:
            self._stream(peer, progress, heartbeat=heartbeat)

    def _stream(self, peer: str, progress: Progress, *, heartbeat: bool) -> None:
        core, limits = self._core, self._core.limits
        silent = True
        while progress.next <= core.last_index and progress.has_room(limits.window_bytes, limits.window_messages):
            self._append(peer, progress, progress.next - 1, limits.append_bytes)
            silent = False
        if silent and heartbeat:
            self._append(peer, progress, progress.next - 1, 0)

    def _append(self, peer: str, progress: Progress, prev_index: int, max_bytes: int) -> int:
        core = self._core
        prev_term = core.term_at(prev_index)
        assert prev_term is not None
        entries = core.entries(prev_index + 1, core.last_index, max_bytes) if max_bytes else []
        seq = progress.number()
        if entries:
            progress.sent(seq, entries[-1][1], sum(len(entry[0]) for entry in entries))
        progress.commit_sent = core.commit_index
        progress.appended_at = core.now()
        core.send(peer, Append(core.term, seq, prev_index, prev_term, core.commit_index, entries))
        return seq
