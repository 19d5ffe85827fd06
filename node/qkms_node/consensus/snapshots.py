"""When a snapshot is taken, loaded and installed, and what the log may then forget.

Mends of PySyncObj: a restart between dump and trim that clears the whole
journal (B), a commit index that moves with a snapshot chunk (A), load errors
swallowed by a bare except (O), a fork that pickles everything (P). Order that
this part relies on: the snapshot is durable under its name before the log
forgets anything; at load, the log keeps everything that the snapshot does not
cover. Writing happens in another thread, from chunks fixed at the call.
"""

from collections.abc import Callable

from qkms_node.consensus.application import Application
from qkms_node.consensus.core import Core
from qkms_node.consensus.files import DiskFault
from qkms_node.consensus.messages import SnapshotAnswer, SnapshotChunk
from qkms_node.consensus.proposals import Proposals
from qkms_node.consensus.replica import StateMachine
from qkms_node.consensus.segments import JournalDamaged
from qkms_node.consensus.snapshot_file import Meta, SnapshotFile, SnapshotReader
from qkms_node.consensus.snapshot_sending import SnapshotSending
from qkms_node.consensus.snapshot_store import Offer, SnapshotStore

Background = Callable[[Callable[[], SnapshotFile], Callable[[SnapshotFile | BaseException], None]], None]


class Snapshots:
    """`background(work, done)` runs `work` elsewhere and `done` with its result on the tick thread."""

    def __init__(
        self,
        core: Core,
        store: SnapshotStore,
        machine: StateMachine,
        application: Application,
        proposals: Proposals,
        sending: SnapshotSending,
        background: Background,
        cluster_id: str,
    ) -> None:
        self._core = core
        self._store = store
        self._machine = machine
        self._application = application
        self._proposals = proposals
        self._sending = sending
        self._background = background
        self._cluster_id = cluster_id
        self._writing = False
        self._failed: BaseException | None = None

    def load(self) -> None:
        """Restores the newest snapshot and joins it to the log. Raises SnapshotDamaged, JournalDamaged."""
        core, journal = self._core, self._core.journal
        reader = self._store.open_newest()
        if reader is None:
            if core.base_index > 1:
                raise JournalDamaged(
                    journal.folder, 0, f"it begins after entry {core.base_index} and there is no snapshot of it"
                )
            return
        file = self._restore(reader)
        index, term = file.meta.index, file.meta.term
        if core.base_index > index:
            raise JournalDamaged(
                journal.folder, 0, f"it begins after entry {core.base_index}, the newest snapshot ends at {index}"
            )
        if core.term_at(index) != term:
            core.reset(index, term)
        core.commit_to(index)

    def step(self) -> None:
        """Takes a snapshot when enough was applied since the last one. Raises what the state machine raised."""
        if self._failed is not None:
            raise self._failed
        core, limits, application = self._core, self._core.limits, self._application
        entries, size = application.entries_since_snapshot, application.bytes_since_snapshot
        enough = max(entries / limits.snapshot_after_entries, size / limits.snapshot_after_bytes)
        # A follower being sent a snapshot needs the log behind it: wait for it, within reason.
        if self._writing or enough < (4 if self._sending.active else 1):
            return
        index = core.applied_index
        term = core.term_at(index)
        assert term is not None
        meta = Meta(
            cluster_id=self._cluster_id,
            index=index,
            term=term,
            time_ms=application.time_ms,
            configuration=core.members.log.at(index),
        )
        chunks = self._machine.snapshot()
        application.entries_since_snapshot = application.bytes_since_snapshot = 0
        self._writing = True
        self._background(lambda: self._store.write(meta, chunks), self._written)

    def on_chunk(self, peer: str, message: SnapshotChunk) -> None:
        """A part of the leader's snapshot; installed when it is complete and newer than this state."""
        core = self._core
        if message.index <= core.applied_index:
            self._answer(peer, message.index, message.size, installed=True)
            return
        offer = Offer(message.index, message.index_term, message.size, message.digest)
        held = self._store.receive(offer, message.offset, message.data)
        if held < message.size or self._writing:
            self._answer(peer, message.index, min(held, message.size - 1), installed=False)
            return
        core.report("consensus.snapshot_arrived", peer=peer, index=message.index, size=message.size)
        reader = self._store.complete()
        if reader is None:
            core.report("consensus.snapshot_rejected", peer=peer, index=message.index)
            self._answer(peer, message.index, message.size, installed=False)
            return
        self._install(reader)
        core.report("consensus.snapshot_installed", peer=peer, index=message.index)
        self._answer(peer, message.index, message.size, installed=True)

    def _install(self, reader: SnapshotReader) -> None:
        core = self._core
        meta = self._restore(reader).meta
        if core.term_at(meta.index) != meta.term:
            core.reset(meta.index, meta.term)
        core.commit_to(meta.index)
        self._proposals.covered(meta.index)
        core.postpone_election()  # restoring took time in which nobody was heard

    def _restore(self, reader: SnapshotReader) -> SnapshotFile:
        self._machine.restore(reader.chunks())
        file = reader.finish()
        self._store.adopt(file)
        self._application.time_ms = file.meta.time_ms
        self._application.entries_since_snapshot = self._application.bytes_since_snapshot = 0
        self._core.applied(file.meta.index)
        self._core.members.covered(file.meta.index, file.meta.configuration)
        return file

    def _answer(self, peer: str, index: int, offset: int, *, installed: bool) -> None:
        self._core.send(peer, SnapshotAnswer(self._core.term, index, offset, installed))

    def _written(self, result: SnapshotFile | BaseException) -> None:
        self._writing = False
        if isinstance(result, DiskFault):
            # Nothing got the snapshot's name, and the log still holds everything: the next one may succeed.
            self._core.report("consensus.snapshot_failed", problem=str(result))
            return
        if isinstance(result, BaseException):
            self._failed = result
            return
        self._store.adopt(result)
        core = self._core
        core.report("consensus.snapshot_taken", index=result.meta.index, size=result.size)
        last_dropped = min(result.meta.index, core.applied_index - core.limits.keep_entries)
        if last_dropped > core.base_index:
            core.journal.deleteEntriesTo(last_dropped - core.base_index)
            core.members.log.forget(last_dropped)
