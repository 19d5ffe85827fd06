"""When a snapshot is taken, loaded and installed, and what the log may then forget.

Mends of PySyncObj: a restart between dump and trim that clears the whole
journal (B), a commit index that moves with a snapshot chunk (A), load errors
swallowed by a bare except (O), a fork that pickles everything (P). Order that
this part relies on: the snapshot is durable under its name before the log
forgets anything; at load, the log keeps everything that the snapshot does not
cover.

Whatever takes long happens in another thread, one such job at a time: writing, from
chunks fixed at the call; verifying and restoring one that arrived, beside the
state in use; freeing what was replaced. The tick thread only swaps, so that a
member answers its leader meanwhile. A chunk that comes during a job is left
unanswered: the leader sends it again.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from qkms_node.consensus.application import Application
from qkms_node.consensus.core import Core
from qkms_node.consensus.files import DiskFault
from qkms_node.consensus.messages import SnapshotAnswer, SnapshotChunk
from qkms_node.consensus.proposals import Proposals
from qkms_node.consensus.replica import Install, StateMachine
from qkms_node.consensus.segments import JournalDamaged
from qkms_node.consensus.snapshot_file import SYNC_BYTES, Meta, SnapshotFile, SnapshotReader
from qkms_node.consensus.snapshot_sending import SnapshotSending
from qkms_node.consensus.snapshot_store import Offer, SnapshotStore

T = TypeVar("T")
Pause = Callable[[], None]


class Background(Protocol):
    """Where long work is done."""

    def __call__(self, work: Callable[[Pause], T], done: Callable[[T | BaseException], None]) -> None:
        """Runs `work` elsewhere and then, on the tick thread, `done` with its result or what it raised.

        Work calls the pause that it is given after each small step, so that it never keeps the interpreter long.
        """
        ...


class Snapshots:
    """Takes, loads and installs. Nothing here takes longer on the tick thread for a larger state."""

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
        self._busy = self._syncing = False
        self._failed: BaseException | None = None

    @property
    def busy(self) -> bool:
        """Whether a job is under way."""
        return self._busy

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
        file, install = self._restore(reader, lambda: None)
        self._put_in_place(file, install)
        self._store.remove_older()
        index, term = file.meta.index, file.meta.term
        if core.base_index > index:
            raise JournalDamaged(
                journal.folder, 0, f"it begins after entry {core.base_index}, the newest snapshot ends at {index}"
            )
        if core.term_at(index) != term:
            core.reset(index, term)
        core.commit_to(index)

    def step(self) -> None:
        """Takes a snapshot when enough was applied since the last one. Raises what a job raised."""
        if self._failed is not None:
            raise self._failed
        core, limits, application = self._core, self._core.limits, self._application
        entries, size = application.entries_since_snapshot, application.bytes_since_snapshot
        enough = max(entries / limits.snapshot_after_entries, size / limits.snapshot_after_bytes)
        # A follower being sent a snapshot needs the log behind it: wait for it, within reason.
        if self._busy or enough < (4 if self._sending.active else 1):
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
        self._run(lambda pause: self._store.write(meta, _paced(chunks, pause)), self._written)

    def on_chunk(self, peer: str, message: SnapshotChunk) -> None:
        """A part of the leader's snapshot; installed when it is complete and newer than this state."""
        core = self._core
        if message.index <= core.applied_index:
            self._answer(peer, message.index, message.size, installed=True)
            return
        if self._busy:
            return
        offer = Offer(message.index, message.index_term, message.size, message.digest)
        held = self._store.receive(offer, message.offset, message.data)
        if held < message.size:
            self._answer(peer, message.index, held, installed=False)
            if held // SYNC_BYTES > message.offset // SYNC_BYTES:
                self._sync(offer)
            return
        core.report("consensus.snapshot_arrived", peer=peer, index=message.index, size=message.size)
        self._run(self._take_in, lambda result: self._taken_in(peer, offer, result))

    def _sync(self, offer: Offer) -> None:
        """Has what arrived so far made durable. Left to the end, it would hold up every sync of this disk."""

        def synced(result: BaseException | None) -> None:
            self._syncing = False
            self._failed = self._failed or result

        if not self._syncing:
            self._syncing = True
            self._background(lambda _: self._store.sync_arriving(offer), synced)

    def _take_in(self, pause: Pause) -> tuple[SnapshotFile, Install] | None:
        """Verifies what arrived, gives it its name and restores it; None when it is damaged."""
        reader = self._store.complete()
        return None if reader is None else self._restore(reader, pause)

    def _restore(self, reader: SnapshotReader, pause: Pause) -> tuple[SnapshotFile, Install]:
        try:
            install = self._machine.restore(_paced(reader.chunks(), pause))
            return reader.finish(), install
        finally:
            reader.close()

    def _taken_in(
        self, peer: str, offer: Offer, result: tuple[SnapshotFile, Install] | BaseException | None
    ) -> None:
        core = self._core
        if isinstance(result, BaseException):
            self._failed = result
            return
        if result is None:
            self._busy = False
            core.report("consensus.snapshot_rejected", peer=peer, index=offer.index)
            self._answer(peer, offer.index, offer.size, installed=False)
            return
        file, install = result
        if file.meta.index > core.applied_index:
            self._tidy_up(self._install(file, install))
            core.report("consensus.snapshot_installed", peer=peer, index=offer.index)
        else:  # another leader's log came further meanwhile
            self._store.adopt(file)
            self._tidy_up(())
        self._answer(peer, offer.index, offer.size, installed=True)

    def _install(self, file: SnapshotFile, install: Install) -> Iterable[object]:
        core, meta = self._core, file.meta
        replaced = self._put_in_place(file, install)
        if core.term_at(meta.index) != meta.term:
            core.reset(meta.index, meta.term)
        core.commit_to(meta.index)
        self._proposals.covered(meta.index)
        return replaced

    def _put_in_place(self, file: SnapshotFile, install: Install) -> Iterable[object]:
        replaced = install()
        self._store.adopt(file)
        self._application.time_ms = file.meta.time_ms
        self._application.entries_since_snapshot = self._application.bytes_since_snapshot = 0
        self._core.applied(file.meta.index)
        self._core.members.covered(file.meta.index, file.meta.configuration)
        return replaced

    def _answer(self, peer: str, index: int, offset: int, *, installed: bool) -> None:
        self._core.send(peer, SnapshotAnswer(self._core.term, index, offset, installed))

    def _written(self, result: SnapshotFile | BaseException) -> None:
        core = self._core
        if isinstance(result, DiskFault):
            # Nothing got the snapshot's name, and the log still holds everything: the next one may succeed.
            self._busy = False
            core.report("consensus.snapshot_failed", problem=str(result))
            return
        if isinstance(result, BaseException):
            self._failed = result
            return
        self._store.adopt(result)
        core.report("consensus.snapshot_taken", index=result.meta.index, size=result.size)
        last_dropped = min(result.meta.index, core.applied_index - core.limits.keep_entries)
        if last_dropped > core.base_index:
            core.journal.deleteEntriesTo(last_dropped - core.base_index)
            core.members.log.forget(last_dropped)
        self._tidy_up(())

    def _tidy_up(self, replaced: Iterable[object]) -> None:
        """Removes older files and frees a replaced state: a large file and a large state both take long to go."""

        def tidy_up(pause: Pause) -> None:
            self._store.remove_older()
            for _ in replaced:
                pause()

        self._run(tidy_up, self._tidied_up)

    def _tidied_up(self, result: BaseException | None) -> None:
        self._busy = False
        self._failed = self._failed or result

    def _run(self, work: Callable[[Pause], T], done: Callable[[T | BaseException], None]) -> None:
        self._busy = True
        self._background(work, done)


def _paced(chunks: Iterable[bytes], pause: Pause) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        pause()
