"""Seals, recovery and backups.

The recovery key exists here for one call: made and shared out, or put together
from shares to open roots and to hand them on, sealed to one node each. A
passphrase of a backup never leaves this process.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import BinaryIO
from uuid import uuid4

from qkms.backup import handover as restore_handover
from qkms.backup import passphrase_backup_key
from qkms.errors import SealedRejected
from qkms.kem import HybridPublicKey
from qkms.passphrase import SALT_BYTES, Argon2Parameters
from qkms.recovery import (
    SECRET_BYTES,
    SET_ID_BYTES,
    SHARED_BYTES,
    RecoveryKey,
    handover,
    make_shares,
    sealed_root,
    share_text,
)
from qkms.sealed import open_sealed_to, seal_to
from qkms.v1 import cluster_pb2 as pb
from qkms_client import decode, methods
from qkms_client.backup_file import OpenedBackup
from qkms_client.call import Rules, call
from qkms_client.errors import AnswerNotUnderstood, RecoveryFailed, Sealed
from qkms_client.flow import Flow, OpenStream, Pause, Receive
from qkms_client.recovery_shares import joined
from qkms_client.root_types import RecoveryInfo, RecoveryShares, RestoreResult
from qkms_client.types import SealStatus

PART_BYTES = 192 * 1024


def seal(rules: Rules, node: str, even_if_last: bool, timeout: float | None) -> Flow[SealStatus]:
    """Seal at one node."""
    request = pb.SealRequest(even_if_last=even_if_last)
    response = yield from call(rules, methods.SEAL, request, timeout=timeout, only=node)
    return decode.seal_status(response.seal)


def unseal(rules: Rules, node: str, secret: bytes, timeout: float | None) -> Flow[SealStatus]:
    """Unseal at one node."""
    response = yield from call(rules, methods.UNSEAL, pb.UnsealRequest(secret=secret), timeout=timeout, only=node)
    return decode.seal_status(response.seal)


def get_recovery(rules: Rules, node: str | None, timeout: float | None) -> Flow[RecoveryInfo]:
    """GetRecovery, without the ciphertext."""
    response = yield from _recovery(rules, node, timeout)
    known = response.recovery
    epochs = tuple(root.epoch for root in response.roots)
    return RecoveryInfo(known.set_id, known.threshold, known.share_count, decode.time(known.create_time), epochs)


def init_recovery(
    rules: Rules, shares: int, threshold: int, replace: str | None, request_id: str, timeout: float | None
) -> Flow[RecoveryShares]:
    """Makes a recovery key and sets its public half; `replace`: the set that it replaces."""
    coefficients = secrets.token_bytes((threshold - 1) * SHARED_BYTES)
    key, made = make_shares(
        secrets.token_bytes(SECRET_BYTES), secrets.token_bytes(SET_ID_BYTES), threshold, shares, coefficients
    )
    public = key.private.public
    request = pb.SetRecoveryRequest(
        request_id=request_id,
        expected_set_id=replace or "",
        recovery=pb.RecoveryKey(
            set_id=key.set_id,
            threshold=threshold,
            share_count=shares,
            public_key=pb.HybridPublicKey(mlkem=public.mlkem, x25519=public.x25519),
        ),
    )
    yield from call(rules, methods.SET_RECOVERY, request, timeout=timeout)
    return RecoveryShares(key.set_id, threshold, tuple(share_text(share) for share in made), replace or "")


def open_recovery(rules: Rules, node: str, texts: Sequence[str], timeout: float | None) -> Flow[tuple[int, ...]]:
    """Opens every root that the recovery key opens and hands it to one node; the epochs it then holds."""
    known = yield from _recovery(rules, node, timeout)
    key = _matching(known, texts)
    if not known.HasField("node_key"):
        raise Sealed(f"{node} is sealed; unseal it first, then hand it the roots")
    node_key = HybridPublicKey(known.node_key.mlkem, known.node_key.x25519)
    request = pb.OpenRecoveryRequest(set_id=key.set_id)
    for epoch, root in _opened(known, key).items():
        sealed = seal_to(node_key, root, handover(known.cluster_id, key.set_id, epoch, known.header.node_id))
        request.roots.add(epoch=epoch, sealed=sealed)
    response = yield from call(rules, methods.OPEN_RECOVERY, request, timeout=timeout, only=node)
    return tuple(response.open_epochs)


def verify_recovery(
    rules: Rules, node: str | None, texts: Sequence[str], timeout: float | None
) -> Flow[tuple[int, ...]]:
    """The epochs that the shares would open; nothing is handed to anybody."""
    known = yield from _recovery(rules, node, timeout)
    return tuple(_opened(known, _matching(known, texts)))


def _recovery(rules: Rules, node: str | None, timeout: float | None) -> Flow[pb.GetRecoveryResponse]:
    return (yield from call(rules, methods.GET_RECOVERY, pb.GetRecoveryRequest(), timeout=timeout, only=node))


def _matching(known: pb.GetRecoveryResponse, texts: Sequence[str]) -> RecoveryKey:
    key = joined(texts)
    present = known.recovery.set_id or "none"
    if key.set_id != present:
        raise RecoveryFailed(f"the shares are of set {key.set_id}, the cluster's present set is {present}")
    return key


def _opened(known: pb.GetRecoveryResponse, key: RecoveryKey) -> dict[int, bytes]:
    try:
        return {
            root.epoch: open_sealed_to(
                key.private, root.sealed, sealed_root(known.cluster_id, key.set_id, root.epoch)
            )
            for root in known.roots
        }
    except SealedRejected as error:
        raise RecoveryFailed(
            f"a root does not open although the shares are right: the ledger of this node was altered ({error})"
        ) from error


@dataclass
class BackupStream:
    """A backup as it comes from a node: `begin`, then `piece` until it gives None."""

    rules: Rules
    node: str | None
    passphrase: bytes | None
    argon2_memory_kib: int | None
    ended: bool = False

    def begin(self, timeout: float | None) -> Flow[None]:
        """Opens the stream; under the recovery key when there is no passphrase. Raises RecoveryFailed."""
        request = pb.BackupRequest()
        if self.passphrase is not None:
            request.passphrase.CopyFrom(_passphrase_key(self.passphrase, self.argon2_memory_kib))
        else:
            known = yield from _recovery(self.rules, self.node, timeout)
            if not known.recovery.set_id:
                raise RecoveryFailed(
                    "the cluster has no recovery key: make one (qkms recovery init), or give a passphrase"
                )
            request.recovery_set_id = known.recovery.set_id
        now = (yield Pause(0)).time
        choice = self.rules.router.choose(now, mutation=False, only=self.node)
        yield OpenStream(choice.endpoint, methods.BACKUP, request)

    def piece(self) -> Flow[bytes | None]:
        """The next bytes of the file; None at its end. A stream that breaks raises: what came is no backup."""
        if self.ended:
            return None
        event = yield Receive()
        if event.error is not None:
            raise event.error
        if not isinstance(event.response, pb.BackupResponse):
            raise AnswerNotUnderstood("Backup was answered with another message")
        self.ended = event.response.last
        return event.response.data


def restore_backup(
    rules: Rules, node: str, opened: OpenedBackup, file: BinaryIO, timeout: float | None
) -> Flow[RestoreResult]:
    """Hands a backup to one node of a new cluster, part by part; the last one takes effect."""
    known = yield from _recovery(rules, node, timeout)
    if not known.HasField("node_key"):
        raise Sealed(f"{node} is sealed; unseal it first")
    restore_id = str(uuid4())
    node_key = HybridPublicKey(known.node_key.mlkem, known.node_key.x25519)
    bound = restore_handover(known.cluster_id, known.header.node_id, restore_id)
    sealed_key = seal_to(node_key, opened.file_key, bound)
    file.seek(0)
    offset, data = 0, file.read(PART_BYTES)
    while True:
        following = file.read(PART_BYTES)
        request = pb.RestoreBackupRequest(
            restore_id=restore_id,
            sealed_file_key=sealed_key if offset == 0 else b"",
            offset=offset,
            data=data,
            last=not following,
        )
        response = yield from call(rules, methods.RESTORE_BACKUP, request, timeout=timeout, only=node)
        offset, data = offset + len(data), following
        if not following:
            return RestoreResult(restore_id, node, response.key_count, tuple(response.epochs))


def _passphrase_key(passphrase: bytes, memory_kib: int | None) -> pb.PassphraseBackupKey:
    salt = secrets.token_bytes(SALT_BYTES)
    parameters = Argon2Parameters(salt) if memory_kib is None else Argon2Parameters(salt, memory_kib)
    public = passphrase_backup_key(passphrase, parameters).public
    return pb.PassphraseBackupKey(
        derivation=pb.PassphraseKey(
            salt=salt, memory_kib=parameters.memory_kib, passes=parameters.passes, lanes=parameters.lanes
        ),
        public_key=pb.HybridPublicKey(mlkem=public.mlkem, x25519=public.x25519),
    )
