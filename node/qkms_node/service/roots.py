"""The roots this node holds, and their sealed file on its disk.

One file, `roots.sealed`, holds every root epoch this node can use and the
private key to which its shares are sealed. It is sealed as [seal] says and
replaced whole. The order that matters: a root is durable here before this node
confirms it, or stages it as leader. In mode `peers` there is no file: a
restarted node has a new key for shares, and is given the roots again.

Sealed means: nothing of this is in memory. A store is sealed until its secret
is brought, and when an operator seals it; that one outlives a restart, by the
file `sealed` beside the store. Leaves out the order of epochs and who is given
what: the ledger says that.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from qkms.kem import HybridPrivateKey
from qkms_node.errors import QkmsError
from qkms_node.files import remove_durably, replace_durably
from qkms_node.keys.root import derive_kek
from qkms_node.keys.secret import KeyEncryptionKey, RootSecret
from qkms_node.ledger.records import RootRecord
from qkms_node.service.seals.making import SealMaker
from qkms_node.service.seals.seal import Seal, SealError, SealRejected, SecretNeeded

FILE_NAME = "roots.sealed"
MARK_NAME = "sealed"
BY_OPERATOR = "an operator sealed this node"

RootId = tuple[int, bytes]
"""An epoch and the commitment to its root: epochs of one number can be of different clusters, in a restore."""


class RootStoreError(Exception):
    """The root store cannot be used; the message names the file or token and the way out."""

    code = "ROOT_STORE_INVALID"


class _HeldRoot(msgspec.Struct, frozen=True):
    epoch: int
    commitment: bytes
    root: bytes


class _Content(msgspec.Struct, frozen=True):
    share_key: bytes
    roots: list[_HeldRoot]


class RootStore:
    """Roots in wipeable memory. Raises RootStoreError when it can neither be opened nor wait for a secret."""

    def __init__(self, folder: Path, maker: SealMaker, cluster_id: str, node_id: str) -> None:
        self._path = folder / FILE_NAME
        self._mark = folder / MARK_NAME
        self._maker = maker
        self._cluster_id = cluster_id
        self._node_id = node_id
        self._seal: Seal | None = None
        self._share_key: HybridPrivateKey | None = None
        self._roots: dict[RootId, RootSecret] = {}
        self._keks: dict[RootId, KeyEncryptionKey] = {}
        self.on_seal: Callable[[], None] = lambda: None
        self.reason = BY_OPERATOR
        if not self._mark.exists():
            try:
                self._open(b"")
            except SecretNeeded as needed:
                self.reason = str(needed)
            except SealError as error:
                raise RootStoreError(f"{self._path}: {error}") from error

    @property
    def mode(self) -> str:
        """The seal mode."""
        return self._maker.mode

    @property
    def sealed(self) -> bool:
        """Whether nothing is held because the store has not been opened."""
        return self._share_key is None

    @property
    def needs_secret(self) -> bool:
        """Whether `unseal` must be given the secret."""
        return self._maker.needs_secret

    @property
    def stored(self) -> bool:
        """Whether there is a file: without one, `unseal` makes a new store."""
        return self._path.exists()

    @property
    def share_key(self) -> HybridPrivateKey:
        """The key to which shares of this node are sealed. Raises QkmsError SEALED."""
        if self._share_key is None:
            raise self._refusal()
        return self._share_key

    def holds(self, record: RootRecord) -> bool:
        """Whether this node has the very root that the ledger committed to."""
        return (record.epoch, record.commitment) in self._roots

    def root(self, record: RootRecord) -> RootSecret:
        """The root of a ledger epoch. Raises QkmsError SEALED, or ROOT_NOT_READY when it is not held."""
        if self.sealed:
            raise self._refusal()
        held = self._roots.get((record.epoch, record.commitment))
        if held is None:
            raise QkmsError(
                "ROOT_NOT_READY",
                f"node {self._node_id} has not opened root epoch {record.epoch} yet; retry, or ask another node",
                retry_after_s=0.5,
                epoch=record.epoch,
            )
        return held

    def kek(self, record: RootRecord) -> KeyEncryptionKey:
        """The key encryption key of a ledger epoch. Raises QkmsError as `root`."""
        root = self.root(record)
        kek = self._keks.get((record.epoch, record.commitment))
        if kek is None:
            kek = self._keks[record.epoch, record.commitment] = derive_kek(root, record.epoch)
        return kek

    def keep(self, epoch: int, commitment: bytes, root: RootSecret) -> None:
        """As `keep_all`, for one root."""
        self.keep_all({(epoch, commitment): root})

    def keep_all(self, roots: dict[RootId, RootSecret]) -> None:
        """Stores roots durably; on return they survive a crash, except in mode peers.

        Raises QkmsError SEALED.
        """
        if self.sealed:
            raise self._refusal()
        self._roots |= roots
        self._save()

    def held(self) -> list[RootId]:
        """What is held, ascending."""
        return sorted(self._roots)

    def open_epochs(self) -> list[int]:
        """Epochs whose root is held, ascending."""
        return sorted({epoch for epoch, _ in self._roots})

    def erase(self, ended: Iterable[RootId]) -> None:
        """Wipes roots from memory and leaves them out of the file, which is replaced."""
        for root_id in ended:
            self._roots.pop(root_id).wipe()
            kek = self._keks.pop(root_id, None)
            if kek is not None:
                kek.wipe()
        self._save()

    def seal(self) -> bool:
        """Wipes everything and stays so over restarts, until `unseal`; False when it was sealed by an operator."""
        if self._mark.exists():
            return False
        replace_durably(self._mark, b"")
        self.wipe()
        self.reason = BY_OPERATOR
        return True

    def unseal(self, secret: bytes) -> bool:
        """Opens the store; False when it was open. May take a while. Raises SealError.

        `secret`: the passphrase or PIN; empty: the configured one.
        """
        if not self.sealed:
            return False
        self._open(secret)
        remove_durably(self._mark)
        return True

    @property
    def stores(self) -> bool:
        """Whether secrets of this node may stand on its disk, sealed; not in mode peers."""
        return self._maker.stores

    def seal_own(self, payload: bytes, purpose: str) -> bytes:
        """Another secret of this node sealed as the roots are; what has one purpose does not open for another.

        Raises QkmsError SEALED, SealError.
        """
        return self._opened().seal(msgspec.msgpack.encode((purpose, payload)))

    def open_own(self, sealed: bytes, purpose: str) -> bytes:
        """The inverse of `seal_own`. Raises QkmsError SEALED, SealRejected, another SealError."""
        found, payload = msgspec.msgpack.decode(self._opened().open(sealed), type=tuple[str, bytes])
        if found != purpose:
            raise SealRejected(f"what was sealed for {found} was brought for {purpose}")
        return payload

    def _opened(self) -> Seal:
        if self._seal is None:
            raise self._refusal()
        return self._seal

    def wipe(self) -> None:
        """Wipes every secret held in memory, here and wherever `on_seal` reaches."""
        for kek in self._keks.values():
            kek.wipe()
        for root in self._roots.values():
            root.wipe()
        self._keks.clear()
        self._roots.clear()
        self._share_key = None
        if self._seal is not None:
            self._seal.wipe()
        self._seal = None
        self.on_seal()

    def _open(self, secret: bytes) -> None:
        if not self._maker.stores:
            self._share_key = HybridPrivateKey.generate()
            return
        stored = self._path.read_bytes() if self._path.exists() else None
        seal = self._maker.make(stored, secret)
        try:
            content = self._read(seal, stored)
            self._roots = {(h.epoch, h.commitment): RootSecret(h.root) for h in content.roots}
            share_key = HybridPrivateKey.from_bytes(content.share_key)
            if stored is None:
                self._write(seal, share_key)
        except BaseException:
            seal.wipe()
            raise
        self._seal = seal
        # Last: from here on the store counts as open, and the event loop writes the file; this may be a thread.
        self._share_key = share_key

    def _read(self, seal: Seal, stored: bytes | None) -> _Content:
        if stored is None:
            return _Content(HybridPrivateKey.generate().to_bytes(), [])
        try:
            return msgspec.msgpack.decode(seal.open(stored), type=_Content)
        except msgspec.MsgspecError as error:
            raise SealError(f"the content has another form ({error}); use the release that wrote it") from error

    def _save(self) -> None:
        if self._seal is not None:
            self._write(self._seal, self.share_key)

    def _write(self, seal: Seal, share_key: HybridPrivateKey) -> None:
        content = _Content(
            share_key=share_key.to_bytes(),
            roots=[_HeldRoot(e, c, bytes(root.reveal())) for (e, c), root in self._roots.items()],
        )
        try:
            sealed = seal.seal(msgspec.msgpack.encode(content))
        except SealError as error:
            # A root that is not durable must not be confirmed.
            raise RootStoreError(f"{self._path}: {error}") from error
        replace_durably(self._path, sealed)

    def _refusal(self) -> QkmsError:
        return QkmsError(
            "SEALED",
            f"node {self._node_id} is sealed: {self.reason}; ask another node, or unseal it (qkms unseal)",
            retry_after_s=1.0,
            node=self._node_id,
        )
