"""Sends the newest snapshot file to followers that the log no longer reaches.

One chunk is outstanding per follower; its answer names the offset to go on
from, so a broken transfer of the same file resumes. The file stays open while
it is sent: a newer snapshot that replaces it does not disturb the transfer.
"""

import os
from dataclasses import dataclass

from qkms_node.consensus.core import Core
from qkms_node.consensus.messages import SnapshotAnswer, SnapshotChunk
from qkms_node.consensus.snapshot_file import SnapshotFile
from qkms_node.consensus.snapshot_store import SnapshotStore

RESEND_HEARTBEATS = 5


@dataclass
class _Transfer:
    file: SnapshotFile
    descriptor: int
    offset: int = 0
    sent_at: float = float("-inf")


class SnapshotSending:
    """The transfers under way, by follower."""

    def __init__(self, core: Core, store: SnapshotStore) -> None:
        self._core = core
        self._store = store
        self._transfers: dict[str, _Transfer] = {}

    @property
    def active(self) -> bool:
        """Whether any follower is being sent a snapshot."""
        return bool(self._transfers)

    def send(self, peer: str) -> None:
        """The chunk that `peer` needs next, unless one is under way."""
        transfer = self._transfers.get(peer) or self._begin(peer)
        now = self._core.now()
        if now - transfer.sent_at < RESEND_HEARTBEATS * self._core.timing.heartbeat_s:
            return
        transfer.sent_at = now
        file = transfer.file
        data = os.pread(transfer.descriptor, self._core.limits.snapshot_chunk_bytes, transfer.offset)
        meta = file.meta
        self._core.send(
            peer,
            SnapshotChunk(self._core.term, meta.index, meta.term, file.size, file.digest, transfer.offset, data),
        )

    def answered(self, peer: str, answer: SnapshotAnswer) -> bool:
        """Goes on from where the follower is. False: the follower refused the complete file."""
        transfer = self._transfers.get(peer)
        if transfer is None or answer.index != transfer.file.meta.index:
            return True
        if answer.offset >= transfer.file.size:
            self.stop(peer)
            return False
        transfer.offset = answer.offset
        transfer.sent_at = float("-inf")
        return True

    def stop(self, peer: str) -> None:
        """Ends a transfer, finished or not."""
        transfer = self._transfers.pop(peer, None)
        if transfer is not None:
            os.close(transfer.descriptor)

    def stop_all(self) -> None:
        """Ends all transfers."""
        for peer in list(self._transfers):
            self.stop(peer)

    def _begin(self, peer: str) -> _Transfer:
        file = self._store.newest
        assert file is not None, "entries are dropped from the log only behind a snapshot"
        self._core.report("consensus.snapshot_sending", peer=peer, index=file.meta.index, size=file.size)
        transfer = _Transfer(file, os.open(file.path, os.O_RDONLY | os.O_CLOEXEC))
        self._transfers[peer] = transfer
        return transfer
