"""The snapshots in a member's folder: the newest one, one being written, one arriving.

A snapshot gets its name only whole, fsynced, with the folder fsynced; older
ones are removed after that. An unreadable newest snapshot stops the node: an
empty state must never pass for the ledger. What arrived of a snapshot before a
restart is kept: its name says of which, and its digest is checked at the end.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from qkms_node.consensus.files import DiskFault, make_folder, publish, remove, sync_folder
from qkms_node.consensus.snapshot_file import Meta, SnapshotDamaged, SnapshotFile, SnapshotReader, write_snapshot

_SUFFIX = ".snapshot"
_ARRIVING = ".arriving"


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
        """Makes a complete, vouched-for file the newest, unless there is a newer one."""
        if self.newest is None or self.newest.path.name < file.path.name:
            self.newest = file

    def remove_older(self) -> None:
        """Removes what is older than the newest; may run in another thread. Raises DiskFault."""
        newest = self.newest
        for path in [*self._folder.glob(f"*{_SUFFIX}"), *self._folder.glob(f"*{_ARRIVING}")]:
            if newest is not None and path.name < newest.path.name:
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
        transfer of the same file resumes, after a restart of this member too. Raises DiskFault.
        """
        path = self._arriving_path(offer)
        try:
            if self._arriving is None or self._arriving[0] != offer:
                self._begin(offer)
            assert self._arriving is not None
            descriptor = self._arriving[1]
            held = os.fstat(descriptor).st_size
            if offset == held and held + len(data) <= offer.size:
                os.pwrite(descriptor, data, offset)
                held += len(data)
        except OSError as error:
            with suppress(OSError):  # the space is needed
                path.unlink()
            raise DiskFault(f"{path}: cannot store a snapshot: {error.strerror}") from error
        return held

    def sync_arriving(self, offer: Offer) -> None:
        """Makes durable what arrived so far; may run in another thread. Raises DiskFault."""
        path = self._arriving_path(offer)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # it was completed, or given up for another
            return
        try:
            os.fdatasync(descriptor)
        except OSError as error:
            raise DiskFault(f"{path}: cannot store a snapshot: {error.strerror}") from error
        finally:
            os.close(descriptor)

    def complete(self) -> SnapshotReader | None:
        """Verifies the arrived file and gives it its name; None, forgetting it, when it is damaged.

        May run in another thread, while nothing is received. Raises DiskFault.
        """
        assert self._arriving is not None
        offer, descriptor = self._arriving
        path = self._arriving_path(offer)
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise DiskFault(f"{path}: cannot store a snapshot: {error.strerror}") from error
        self._let_go()
        if not self._is_whole(path, offer):
            remove(path)
            return None
        target = self._path(offer.index, offer.term)
        publish(path, target)
        return self._open(target)

    def _is_whole(self, path: Path, offer: Offer) -> bool:
        try:
            file = self._open(path).finish()
        except SnapshotDamaged:
            return False
        return (file.meta.index, file.meta.term, file.digest) == (offer.index, offer.term, offer.digest)

    def _begin(self, offer: Offer) -> None:
        """Opens the file that holds what arrived of `offer` so far, and forgets any other."""
        self._let_go()
        mine = self._arriving_path(offer)
        for path in self._folder.glob(f"*{_ARRIVING}"):
            if path.name != mine.name:
                path.unlink()
        self._arriving = offer, os.open(mine, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _open(self, path: Path) -> SnapshotReader:
        reader = SnapshotReader(path)
        if reader.meta.cluster_id != self._cluster_id:
            reader.close()
            raise SnapshotDamaged(
                path, f"it belongs to cluster {reader.meta.cluster_id}, this is {self._cluster_id}"
            )
        return reader

    def _let_go(self) -> None:
        if self._arriving is not None:
            os.close(self._arriving[1])
            self._arriving = None

    def _path(self, index: int, term: int) -> Path:
        return self._folder / f"{index:020d}-{term:020d}{_SUFFIX}"

    def _arriving_path(self, offer: Offer) -> Path:
        # Begins like the name that it will have, and tells two files of one index apart.
        name = f"{offer.index:020d}-{offer.term:020d}-{offer.size}-{offer.digest.hex()}{_ARRIVING}"
        return self._folder / name
