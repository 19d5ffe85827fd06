"""Bringing a backup into a cluster without keys, part by part.

This node opens the file as it arrives: whoever brings it has sealed the file
key to this node. The order that matters: the ledger is told which roots come
(so that nothing erases them), they are durable here, the rows are gathered in
the ledger, and only the last entry makes all of it count. A part that is sent
again changes nothing; a restore that stopped is begun anew under another id.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field

import msgspec
import structlog
from google.protobuf.message import DecodeError

from qkms.backup import ChunkOpener, FrameReader, handover, read_preamble
from qkms.errors import BackupRejected, CryptoError, SealedRejected
from qkms.sealed import open_sealed_to
from qkms.v1 import cluster_pb2 as pb
from qkms_node.access.guard import Guard
from qkms_node.config import Config
from qkms_node.errors import QkmsError
from qkms_node.keys.root import commitment
from qkms_node.keys.secret import RootSecret
from qkms_node.ledger.commands import FinishRestore, Request, RestorePart
from qkms_node.ledger.restore_rules import require_empty
from qkms_node.ledger.snapshot import split
from qkms_node.service.members import Members
from qkms_node.service.proposing import Proposer
from qkms_node.service.roots import RootId, RootStore
from qkms_node.service.store import LedgerStore
from qkms_node.unreadable import UNREADABLE

log = structlog.get_logger(__name__)

PART_BYTES = 128 * 1024
"""Of rows in one log entry, which holds twice as much at most; a row that is larger goes alone."""

_roots = msgspec.msgpack.Decoder(dict[int, bytes])


@dataclass
class _Incoming:
    """One restore as far as it has come."""

    restore_id: str
    cluster_id: str
    opener: ChunkOpener
    frames: FrameReader = field(default_factory=FrameReader)
    offset: int = 0
    complete: bool = False
    roots_known: bool = False
    rows: list[bytes] = field(default_factory=list)
    rows_bytes: int = 0
    parts: int = 0
    pending: deque[RestorePart] = field(default_factory=deque)
    coming: dict[RootId, RootSecret] = field(default_factory=dict)


@dataclass(frozen=True)
class Restored:
    """Where the next part begins; after the last one, what the cluster has now."""

    next_offset: int
    key_count: int = 0
    epochs: tuple[int, ...] = ()


class Restoring:
    """Takes one restore at a time."""

    def __init__(
        self, config: Config, guard: Guard, store: LedgerStore, roots: RootStore, proposer: Proposer
    ) -> None:
        self._cluster_id = config.cluster.id
        self._node_id = config.node.id
        self._members = Members(config)
        self._guard = guard
        self._store = store
        self._roots = roots
        self._proposer = proposer
        self._incoming: _Incoming | None = None
        self._one_at_a_time = asyncio.Lock()

    async def take(
        self, request: Request, restore_id: str, sealed_file_key: bytes, offset: int, data: bytes, last: bool
    ) -> Restored:
        """Takes one part. Raises QkmsError CLUSTER_NOT_EMPTY, RESTORE_CONFLICT, BACKUP_REJECTED and others."""
        self._guard.require(request.principal, "backup.restore")
        async with self._one_at_a_time:
            if self._is_finished(restore_id):
                return self._result(offset + len(data))
            incoming = self._incoming
            if incoming is None or incoming.restore_id != restore_id:
                incoming = self._begin(restore_id, sealed_file_key, offset, data)
            elif offset + len(data) > incoming.offset:
                self._feed(incoming, offset, data)
            if last and not incoming.complete:
                self._complete(incoming)
            await self._pass_on(incoming)
            if not last:
                return Restored(incoming.offset)
            with self._store.view() as state:
                voters = self._members.voters(state)
            await self._proposer.effect(
                FinishRestore(
                    request=request,
                    restore_id=restore_id,
                    parts=incoming.parts,
                    node_id=self._node_id,
                    voters=voters,
                    same_cluster=incoming.cluster_id == self._cluster_id,
                )
            )
            self._incoming = None
            log.warning("backup.restored", principal=request.principal, cluster=incoming.cluster_id)
            return self._result(incoming.offset)

    def _is_finished(self, restore_id: str) -> bool:
        with self._store.view() as state:
            record = state.restores.get(restore_id)
            if record is not None and record.finished:
                return True
            require_empty(state)
        return False

    def _begin(self, restore_id: str, sealed_file_key: bytes, offset: int, data: bytes) -> _Incoming:
        if offset != 0:
            raise _conflict(f"restore {restore_id} is not in progress at this node")
        try:
            header, before = read_preamble(data)
            file_key = open_sealed_to(
                self._roots.share_key, sealed_file_key, handover(self._cluster_id, self._node_id, restore_id)
            )
            incoming = _Incoming(restore_id, read_header(header).cluster_id, ChunkOpener(file_key, before))
            self._take_bytes(incoming, data[len(before) :])
        except SealedRejected as error:
            raise _rejected("the file key was not sealed to this node for this restore") from error
        except BackupRejected as error:
            raise _rejected(str(error)) from error
        incoming.offset = len(data)
        self._incoming = incoming
        return incoming

    def _feed(self, incoming: _Incoming, offset: int, data: bytes) -> None:
        if offset != incoming.offset or incoming.complete:
            raise _conflict(f"the part begins at byte {offset}, the next one is at {incoming.offset}")
        try:
            self._take_bytes(incoming, data)
        except BackupRejected as error:
            self._incoming = None
            raise _rejected(str(error)) from error
        incoming.offset += len(data)

    def _complete(self, incoming: _Incoming) -> None:
        try:
            self._take_records(incoming, incoming.frames.feed(incoming.opener.finish()))
            incoming.frames.finish()
        except BackupRejected as error:
            self._incoming = None
            raise _rejected(str(error)) from error
        self._cut_part(incoming)
        incoming.complete = True

    def _take_bytes(self, incoming: _Incoming, data: bytes) -> None:
        self._take_records(incoming, incoming.frames.feed(incoming.opener.feed(data)))

    def _take_records(self, incoming: _Incoming, records: list[bytes]) -> None:
        for record in records:
            if not incoming.roots_known:
                self._take_roots(incoming, record)
                continue
            for piece in split(record, PART_BYTES):
                if incoming.rows_bytes + len(piece) > PART_BYTES:
                    self._cut_part(incoming)
                incoming.rows.append(piece)
                incoming.rows_bytes += len(piece)

    def _take_roots(self, incoming: _Incoming, record: bytes) -> None:
        incoming.coming = read_roots(record, self._cluster_id)
        incoming.pending.append(RestorePart(incoming.restore_id, 0, (), dict(incoming.coming.keys())))
        incoming.parts = 1
        incoming.roots_known = True

    def _cut_part(self, incoming: _Incoming) -> None:
        if incoming.rows:
            incoming.pending.append(RestorePart(incoming.restore_id, incoming.parts, tuple(incoming.rows)))
            incoming.parts += 1
        incoming.rows, incoming.rows_bytes = [], 0

    async def _pass_on(self, incoming: _Incoming) -> None:
        while incoming.pending:
            part = incoming.pending[0]
            await self._proposer.effect(part)
            if part.part == 0:
                self._roots.keep_all(incoming.coming)
                incoming.coming = {}
            incoming.pending.popleft()

    def _result(self, next_offset: int) -> Restored:
        with self._store.view() as state:
            return Restored(next_offset, len(state.keys), tuple(sorted(state.roots)))


def read_roots(record: bytes, cluster_id: str) -> dict[tuple[int, bytes], RootSecret]:
    """The roots of a backup's first record, by epoch and commitment in this cluster. Raises BackupRejected."""
    try:
        roots = {epoch: RootSecret(root) for epoch, root in _roots.decode(record).items()}
        return {(epoch, commitment(root, cluster_id, epoch)): root for epoch, root in roots.items()}
    except (CryptoError, *UNREADABLE):
        # Not chained: the error would be raised with the roots in reach.
        raise BackupRejected("the roots in this backup cannot be read") from None


def read_header(data: bytes) -> pb.BackupHeader:
    try:
        return pb.BackupHeader.FromString(data)
    except DecodeError as error:
        raise BackupRejected("the header of this backup cannot be read") from error


def _conflict(problem: str) -> QkmsError:
    return QkmsError("RESTORE_CONFLICT", f"{problem}; begin the restore anew")


def _rejected(problem: str) -> QkmsError:
    return QkmsError("BACKUP_REJECTED", f"{problem}; nothing has changed")
