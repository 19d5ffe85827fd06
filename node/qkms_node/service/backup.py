"""A backup: the ledger at one revision and the root epochs it needs, encrypted to a backup key.

Taken from a node's memory while commands go on being applied. It never opens
with what is on the nodes: whoever keeps the backup key (recovery shares, or a
passphrase) opens it, and nobody else. The format is in `qkms.backup`.
"""

import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import msgspec
import structlog

from qkms.backup import FILE_KEY_BYTES, frame, preamble, seal_chunks, seal_file_key
from qkms.errors import CryptoError
from qkms.kem import HybridPublicKey
from qkms.v1 import cluster_pb2 as pb
from qkms_node.access.guard import Guard
from qkms_node.config import Config
from qkms_node.errors import InvalidField, QkmsError
from qkms_node.ledger.records import EpochState, RootRecord
from qkms_node.ledger.snapshot import snapshot
from qkms_node.service.freshness import LINEARIZABLE, Freshness
from qkms_node.service.reading import admit
from qkms_node.service.roots import RootStore
from qkms_node.service.store import LedgerStore

log = structlog.get_logger(__name__)

MESSAGE_BYTES = 256 * 1024
IN_USE = frozenset({EpochState.ACTIVE, EpochState.RETIRED})


@dataclass(frozen=True)
class BackupKey:
    """To whom a backup is sealed: a recovery set, or a passphrase by its derivation."""

    public: HybridPublicKey
    recovery_set: str
    passphrase: pb.PassphraseKey | None


class Backup:
    """Makes backups."""

    def __init__(
        self,
        config: Config,
        guard: Guard,
        store: LedgerStore,
        roots: RootStore,
        freshness: Freshness,
        now_ms: Callable[[], int],
    ) -> None:
        self._cluster_id = config.cluster.id
        self._node_id = config.node.id
        self._guard = guard
        self._store = store
        self._roots = roots
        self._freshness = freshness
        self._now_ms = now_ms

    def recovery_key(self, principal: str, set_id: str) -> BackupKey:
        """The present recovery key. Raises QkmsError RECOVERY_CONFLICT when another set is present, or none."""
        self._guard.require(principal, "backup.save")
        with self._store.view() as state:
            record = state.recovery.get(set_id)
            present = next(iter(state.recovery), "none")
        if record is None:
            raise QkmsError(
                "RECOVERY_CONFLICT",
                f"the present recovery set is {present}, not {set_id}; look at it and ask again",
                expected=set_id,
                actual=present,
            )
        return BackupKey(HybridPublicKey(record.mlkem_public, record.x25519_public), set_id, None)

    async def save(self, principal: str, key: BackupKey) -> AsyncIterator[tuple[bytes, bool]]:
        """The file, in pieces of about 256 KiB, each with whether it is the last.

        Raises QkmsError before the first piece, or not at all: NO_QUORUM, SEALED, ROOT_NOT_READY.
        """
        await admit(self._guard, self._freshness, LINEARIZABLE, principal, "backup.save")
        with self._store.view() as state:
            state.active_root()
            rows = snapshot(state)
            in_use = [root for root in state.roots.values() if root.state in IN_USE]
            header = pb.BackupHeader(
                cluster_id=self._cluster_id,
                node_id=self._node_id,
                revision=state.revision,
                active_epoch=state.active_epoch,
                key_count=len(state.keys),
            )
        header.create_time.FromMilliseconds(self._now_ms())
        file_key = secrets.token_bytes(FILE_KEY_BYTES)
        try:
            header.sealed_file_key = seal_file_key(key.public, file_key, self._cluster_id, key.recovery_set)
        except CryptoError as error:
            raise InvalidField("passphrase.public_key", str(error)) from error
        if key.passphrase is not None:
            header.passphrase.CopyFrom(key.passphrase)
        else:
            header.recovery_set_id = key.recovery_set
        first = self._roots_record(in_use)
        before = preamble(header.SerializeToString())
        log.warning("backup.begun", principal=principal, revision=header.revision, keys=header.key_count)
        piece = bytearray(before)
        for chunk in seal_chunks(file_key, before, _records(first, rows)):
            piece += chunk
            if len(piece) >= MESSAGE_BYTES:
                yield bytes(piece), False
                piece.clear()
        yield bytes(piece), True

    def _roots_record(self, in_use: list[RootRecord]) -> bytes:
        return msgspec.msgpack.encode({root.epoch: bytes(self._roots.root(root).reveal()) for root in in_use})


def _records(first: bytes, rows: Iterator[bytes]) -> Iterator[bytes]:
    yield frame(first)
    for row in rows:
        yield frame(row)
