"""The snapshots in a member's folder: the newest one, one being written, one arriving.

A snapshot gets its name only whole, fsynced, with the folder fsynced; older
ones are removed after that. An unreadable newest snapshot stops the node: an
empty state must never pass for the ledger.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from qkms_node.consensus.files import DiskFault, make_folder, publish, remove, sync_folder
from qkms_node.consensus.snapshot_file import Meta, SnapshotDamaged, SnapshotFile, SnapshotReader, write_snapshot

_SUFFIX = ".snapshot"


@dataclass(frozen=True)
class Offer:
    """Identity of a snapshot file that a leader sends."""

    index: int
    term: int
    size: int
    digest: bytes


class SnapshotStore:
    """`newest` is what a restart would load; None before the first snapshot."""

    def __init__(self, folder: Path, cluster_id: str) -> None:
        self._folder = folder
        self._cluster_id = cluster_id
        self._arriving: tuple[Offer, int] | None = None  # with the open file's descriptor
        self.newest: SnapshotFile | None = None
        make_folder(folder)
        for stale in folder.glob("*.tmp"):
            stale.unlink()

    def open_newest(self) -> SnapshotReader | None:
        """A reader of the newest snapshot on disk. Raises SnapshotDamaged."""
        paths = sorted(self._folder.glob(f"*{_SUFFIX}"))
        if not paths:
            return None
        sync_folder(self._folder)  # its name may not be durable yet, and the log may be cut because of it
        return self._open(paths[-1])

    def adopt(self, file: SnapshotFile) -> None:
        """Makes a complete, vouched-for file the newest and removes older ones. Raises DiskFault."""
        self.newest = file
        for path in self._folder.glob(f"*{_SUFFIX}"):
            if path.name < file.path.name:
                remove(path)

    def write(self, meta: Meta, chunks: Iterable[bytes]) -> SnapshotFile:
        """Writes a snapshot under its name; may run in another thread. Raises DiskFault."""
        target = self._path(meta.index, meta.term)
        temporary = target.with_suffix(".tmp")
        try:
            written = write_snapshot(temporary, meta, chunks)
            publish(temporary, target)
        except OSError as error:
            raise DiskFault(f"{target}: cannot store a snapshot: {error.strerror}") from error
        finally:
            with suppress(OSError):  # it has its name by now, or is of no use and takes up space
                temporary.unlink()
        return SnapshotFile(target, meta, written.size, written.digest)

    def receive(self, offer: Offer, offset: int, data: bytes) -> int:
        """Takes a part of an arriving file; returns how many bytes are held, from where to go on.

        A part at another place than the end of what is held changes nothing, so a broken
        transfer of the same file resumes. Raises DiskFault.
        """
        try:
            if self._arriving is None or self._arriving[0] != offer:
                self._drop_arriving()
                flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
                self._arriving = offer, os.open(self._arriving_path, flags, 0o600)
            descriptor = self._arriving[1]
            held = os.fstat(descriptor).st_size
            if offset == held and held + len(data) <= offer.size:
                os.pwrite(descriptor, data, offset)
                held += len(data)
        except OSError as error:
            raise DiskFault(f"{self._arriving_path}: cannot store a snapshot: {error.strerror}") from error
        return held

    def complete(self) -> SnapshotReader | None:
        """Verifies the arrived file and gives it its name; None, forgetting it, when it is damaged.

        Raises DiskFault.
        """
        assert self._arriving is not None
        offer, descriptor = self._arriving
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise DiskFault(f"{self._arriving_path}: cannot store a snapshot: {error.strerror}") from error
        self._drop_arriving()
        try:
            arrived = self._open(self._arriving_path).finish()
        except SnapshotDamaged:
            return None
        if (arrived.meta.index, arrived.meta.term, arrived.digest) != (offer.index, offer.term, offer.digest):
            return None
        target = self._path(offer.index, offer.term)
        publish(self._arriving_path, target)
        return self._open(target)

    def _open(self, path: Path) -> SnapshotReader:
        reader = SnapshotReader(path)
        if reader.meta.cluster_id != self._cluster_id:
            reader.close()
            raise SnapshotDamaged(
                path, f"it belongs to cluster {reader.meta.cluster_id}, this is {self._cluster_id}"
            )
        return reader

    @property
    def _arriving_path(self) -> Path:
        return self._folder / "arriving.tmp"

    def _drop_arriving(self) -> None:
        if self._arriving is not None:
            os.close(self._arriving[1])
            self._arriving = None

    def _path(self, index: int, term: int) -> Path:
        return self._folder / f"{index:020d}-{term:020d}{_SUFFIX}"
