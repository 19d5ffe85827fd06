"""The methods of ClusterService about seals, recovery and backups: messages to use cases and back."""

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from qkms.errors import CryptoError
from qkms.kem import HybridPublicKey
from qkms.passphrase import Argon2Parameters
from qkms.v1 import cluster_pb2 as pb
from qkms.v1.common_pb2 import ResponseHeader
from qkms_node.errors import InvalidField
from qkms_node.ledger.commands import SetRecovery
from qkms_node.rpc import fields, messages
from qkms_node.rpc.header import Headers, mutation_request
from qkms_node.rpc.interceptor import caller
from qkms_node.service.backup import Backup, BackupKey
from qkms_node.service.cluster import Cluster
from qkms_node.service.freshness import LINEARIZABLE, STALE_OK
from qkms_node.service.proposing import request as make_request
from qkms_node.service.recovery import Recovery
from qkms_node.service.restoring import Restoring
from qkms_node.service.sealing import Sealing, SealView

Context = grpc.aio.ServicerContext[Any, Any]

MAX_SECRET_BYTES = 4096


def seal_status(view: SealView) -> pb.SealStatus:
    """How a node is sealed."""
    return pb.SealStatus(
        mode=view.mode,
        sealed=view.sealed,
        reason=view.reason,
        needs_secret=view.needs_secret,
        stored=view.stored,
    )


class SealMethods:
    """Seal and Unseal."""

    _sealing: Sealing
    _headers: Headers

    async def Seal(self, request: pb.SealRequest, context: Context) -> pb.SealResponse:
        changed = await self._sealing.seal(caller.get(), request.even_if_last)
        return pb.SealResponse(
            header=self._headers.make(STALE_OK), seal=seal_status(self._sealing.view()), changed=changed
        )

    async def Unseal(self, request: pb.UnsealRequest, context: Context) -> pb.UnsealResponse:
        if len(request.secret) > MAX_SECRET_BYTES:
            raise InvalidField("secret", f"has {len(request.secret)} bytes, at most {MAX_SECRET_BYTES}")
        changed = await self._sealing.unseal(caller.get(), request.secret)
        return pb.UnsealResponse(
            header=self._headers.make(STALE_OK), seal=seal_status(self._sealing.view()), changed=changed
        )


class RecoveryMethods:
    """GetRecovery, SetRecovery, OpenRecovery."""

    _recovery: Recovery
    _cluster: Cluster
    _headers: Headers

    async def GetRecovery(self, request: pb.GetRecoveryRequest, context: Context) -> pb.GetRecoveryResponse:
        view = self._recovery.get(caller.get())
        response = pb.GetRecoveryResponse(
            header=self._headers.make(STALE_OK),
            roots=[pb.RecoverableRoot(epoch=e, sealed=s) for e, s in sorted(view.sealed_roots.items())],
            cluster_id=self._cluster.config.cluster.id,
        )
        if view.recovery is not None:
            response.recovery.CopyFrom(
                pb.RecoveryKey(
                    set_id=view.recovery.set_id,
                    threshold=view.recovery.threshold,
                    share_count=view.recovery.share_count,
                    public_key=pb.HybridPublicKey(
                        mlkem=view.recovery.mlkem_public, x25519=view.recovery.x25519_public
                    ),
                    create_time=messages.timestamp(view.recovery.create_ms),
                )
            )
        if view.node_key is not None:
            response.node_key.CopyFrom(pb.HybridPublicKey(mlkem=view.node_key.mlkem, x25519=view.node_key.x25519))
        return response

    async def SetRecovery(self, request: pb.SetRecoveryRequest, context: Context) -> pb.SetRecoveryResponse:
        wanted = request.recovery
        command = SetRecovery(
            request=mutation_request(request, request.request_id),
            set_id=_set_id("recovery.set_id", wanted.set_id),
            expected_set=request.expected_set_id,
            threshold=wanted.threshold,
            share_count=wanted.share_count,
            mlkem_public=wanted.public_key.mlkem,
            x25519_public=wanted.public_key.x25519,
        )
        outcome = await self._recovery.set(command)
        return pb.SetRecoveryResponse(header=self._headers.make(), replayed=outcome.replayed)

    async def OpenRecovery(self, request: pb.OpenRecoveryRequest, context: Context) -> pb.OpenRecoveryResponse:
        sealed = {root.epoch: root.sealed for root in request.roots}
        held = self._recovery.open(caller.get(), _set_id("set_id", request.set_id), sealed)
        return pb.OpenRecoveryResponse(header=self._headers.make(STALE_OK), open_epochs=held)


class BackupMethods:
    """Backup and RestoreBackup."""

    _backup: Backup
    _restoring: Restoring
    _headers: Headers

    async def Backup(self, request: pb.BackupRequest, context: Context) -> AsyncIterator[pb.BackupResponse]:
        if request.HasField("passphrase"):
            key = _passphrase_key(request.passphrase)
        else:
            set_id = _set_id("recovery_set_id", request.recovery_set_id)
            key = self._backup.recovery_key(caller.get(), set_id)
        header: ResponseHeader | None = None
        async for data, last in self._backup.save(caller.get(), key):
            first = header is None
            header = header or self._headers.make(LINEARIZABLE)
            yield pb.BackupResponse(header=header if first else None, data=data, last=last)

    async def RestoreBackup(self, request: pb.RestoreBackupRequest, context: Context) -> pb.RestoreBackupResponse:
        restore_id = fields.restore_id(request.restore_id)
        # The last part alone changes keys; its identity is the restore's.
        identity = make_request(restore_id, caller.get(), "RestoreBackup", restore_id.encode())
        restored = await self._restoring.take(
            identity, restore_id, request.sealed_file_key, request.offset, request.data, request.last
        )
        return pb.RestoreBackupResponse(
            header=self._headers.make(),
            next_offset=restored.next_offset,
            key_count=restored.key_count,
            epochs=restored.epochs,
        )


def _passphrase_key(message: pb.PassphraseBackupKey) -> BackupKey:
    derivation = message.derivation
    try:
        Argon2Parameters(derivation.salt, derivation.memory_kib, derivation.passes, derivation.lanes)
        public = HybridPublicKey(message.public_key.mlkem, message.public_key.x25519)
    except CryptoError as error:
        raise InvalidField("passphrase", str(error)) from error
    return BackupKey(public, "", derivation)


def _set_id(field: str, value: str) -> str:
    if len(value) != 16 or not set(value) <= set("0123456789abcdef"):
        raise InvalidField(field, "must be 16 hexadecimal digits")
    return value
