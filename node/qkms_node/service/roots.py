"""The roots this node holds, and their sealed file on its disk.

One file, `roots.sealed`, holds every root epoch this node can use and the
private key to which its shares are sealed. It is encrypted under the node's
key file and replaced whole: written aside, fsynced, renamed, the folder
fsynced. The order that matters: a root is durable here before this node
confirms it, or stages it as leader.

Leaves out: other seal modes, and deletion of epochs that nothing uses.
"""

import os
import secrets
from pathlib import Path

import msgspec

from qkms.kem import HybridPrivateKey
from qkms_node.errors import QkmsError
from qkms_node.keys.local import LocalSealRejected, open_local, seal_local
from qkms_node.keys.root import derive_kek
from qkms_node.keys.secret import KeyEncryptionKey, LocalSealKey, RootSecret
from qkms_node.ledger.records import RootRecord

FILE_NAME = "roots.sealed"


class RootStoreError(Exception):
    """The key file or the sealed file cannot be used; the message names the file and the way out."""

    code = "ROOT_STORE_INVALID"


class _HeldRoot(msgspec.Struct, frozen=True):
    commitment: bytes
    root: bytes


class _Content(msgspec.Struct, frozen=True):
    share_key: bytes
    roots: dict[int, _HeldRoot]


class RootStore:
    """Roots in wipeable memory, by epoch and commitment."""

    def __init__(self, folder: Path, key_file: Path, cluster_id: str, node_id: str) -> None:
        self._path = folder / FILE_NAME
        self._cluster_id = cluster_id
        self._node_id = node_id
        self._key = LocalSealKey(_read_or_make_key(key_file))
        self._roots: dict[int, tuple[bytes, RootSecret]] = {}
        self._keks: dict[int, KeyEncryptionKey] = {}
        if self._path.exists():
            self.share_key = self._load()
        else:
            self.share_key = HybridPrivateKey.generate()
            self._save()

    def holds(self, record: RootRecord) -> bool:
        """Whether this node has the very root that the ledger committed to."""
        held = self._roots.get(record.epoch)
        return held is not None and held[0] == record.commitment

    def root(self, record: RootRecord) -> RootSecret:
        """The root of a ledger epoch. Raises QkmsError ROOT_NOT_READY when it is not held."""
        held = self._roots.get(record.epoch)
        if held is None or held[0] != record.commitment:
            raise QkmsError(
                "ROOT_NOT_READY",
                f"node {self._node_id} has not opened root epoch {record.epoch} yet; retry, or ask another node",
                retry_after_s=0.5,
                epoch=record.epoch,
            )
        return held[1]

    def kek(self, record: RootRecord) -> KeyEncryptionKey:
        """The key encryption key of a ledger epoch. Raises QkmsError ROOT_NOT_READY."""
        root = self.root(record)
        kek = self._keks.get(record.epoch)
        if kek is None:
            kek = self._keks[record.epoch] = derive_kek(root, record.epoch)
        return kek

    def keep(self, epoch: int, commitment: bytes, root: RootSecret) -> None:
        """Stores a root durably; on return it survives a crash."""
        stale = self._keks.pop(epoch, None)
        if stale is not None:
            stale.wipe()
        self._roots[epoch] = (commitment, root)
        self._save()

    def open_epochs(self) -> list[int]:
        """Epochs whose root is held, ascending."""
        return sorted(self._roots)

    def seal_own(self, payload: bytes, purpose: str) -> bytes:
        """Another secret of this node sealed as the roots are. Purposes do not open each other's."""
        return seal_local(
            self._key,
            payload,
            cluster_id=self._cluster_id,
            # No node id has a slash.
            node_id=f"{self._node_id}/{purpose}",
            nonce=secrets.token_bytes(24),
        )

    def open_own(self, sealed: bytes, purpose: str) -> bytes:
        """The inverse of `seal_own`. Raises LocalSealRejected."""
        return open_local(self._key, sealed, cluster_id=self._cluster_id, node_id=f"{self._node_id}/{purpose}")

    def wipe(self) -> None:
        """Wipes every secret held in memory; the store is of no use afterwards."""
        for kek in self._keks.values():
            kek.wipe()
        for _, root in self._roots.values():
            root.wipe()
        self._keks.clear()
        self._roots.clear()
        self._key.wipe()

    def _load(self) -> HybridPrivateKey:
        try:
            payload = open_local(
                self._key, self._path.read_bytes(), cluster_id=self._cluster_id, node_id=self._node_id
            )
            content = msgspec.msgpack.decode(payload, type=_Content)
        except (LocalSealRejected, msgspec.MsgspecError) as error:
            raise RootStoreError(
                f"{self._path}: cannot be opened with this node's key file ({error}); restore the key "
                "file that sealed it, or remove the sealed file to be given the roots again by the cluster"
            ) from error
        self._roots = {e: (held.commitment, RootSecret(held.root)) for e, held in content.roots.items()}
        return HybridPrivateKey.from_bytes(content.share_key)

    def _save(self) -> None:
        content = _Content(
            share_key=self.share_key.to_bytes(),
            roots={e: _HeldRoot(c, bytes(root.reveal())) for e, (c, root) in self._roots.items()},
        )
        sealed = seal_local(
            self._key,
            msgspec.msgpack.encode(content),
            cluster_id=self._cluster_id,
            node_id=self._node_id,
            nonce=secrets.token_bytes(24),
        )
        write_durably(self._path, sealed)


def write_durably(path: Path, data: bytes) -> None:
    """Replaces `path` by `data` with mode 0600 so that a crash leaves the old or the new file whole."""
    aside = path.with_name(path.name + ".new")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    aside.rename(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read_or_make_key(path: Path) -> bytes:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_durably(path, secrets.token_bytes(32))
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise RootStoreError(f"{path}: mode {mode:04o} lets others read the seal key; chmod it to 0600")
    key = path.read_bytes()
    if len(key) != 32:
        raise RootStoreError(f"{path}: holds {len(key)} bytes, a seal key has 32; restore the right file")
    return key
