"""Recovery shares and backups through the SDK, over real gRPC: what opens, and what does not."""

import asyncio
import io
import itertools
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from local_node import LocalNode, local_node
from qkms.v1 import cluster_pb2 as pb
from qkms.v1 import cluster_pb2_grpc
from qkms_chaos.canary import search_tree
from qkms_client import AsyncClient
from qkms_client import errors as e
from qkms_client.backup_file import open_backup, read_info, verify
from qkms_client.types import EpochState, NodeStatus
from qkms_node.config_sections import SealSection

PEERS = SealSection(mode="peers")
PASSPHRASE = b"a long passphrase for backups"
CHEAP = 8192


async def settled(kms: AsyncClient, epoch: int = 1) -> NodeStatus:
    """The status once an epoch from `epoch` on is active, open, and alone in use."""
    while True:
        status = await kms.status("node-1")
        root = status.root
        active = root is not None and root.epoch >= epoch and root.state is EpochState.ACTIVE
        if active and not status.seeding and len(status.epoch_uses) == 1:
            return status
        await asyncio.sleep(0.02)


async def recoverable(kms: AsyncClient) -> tuple[int, ...]:
    while True:
        if epochs := (await kms.get_recovery()).epochs:
            return epochs
        await asyncio.sleep(0.02)


async def saved(kms: AsyncClient, passphrase: bytes | None) -> bytes:
    file = io.BytesIO()
    await kms.save_backup(file.write, passphrase=passphrase, argon2_memory_kib=CHEAP)
    return file.getvalue()


async def test_shares_open_a_cluster_that_lost_every_root(tmp_path: Path) -> None:
    async with local_node(tmp_path, seal=PEERS) as node, AsyncClient(node.profile()) as kms:
        await settled(kms)
        await kms.create_key("payments")
        sealed = (await kms.encrypt("payments", b"data")).ciphertext
        shares = await kms.init_recovery(5, 3)
        await recoverable(kms)
        await kms.rotate_root()
        assert (await settled(kms, 2)).epoch_uses[0].recoverable, "without needing the shares again"
        root = bytes(next(iter(node.roots()._roots.values())).reveal())
        ledger = node.ledger()
    async with local_node(tmp_path, seal=PEERS, ledger=ledger) as node, AsyncClient(node.profile()) as kms:
        with pytest.raises(e.RootNotReady):
            await kms.decrypt("payments", sealed, timeout=0.3)
        for texts, told in (
            (shares.texts[:2], "it takes 3"),
            ([*shares.texts[:2], shares.texts[2][:-1] + ("a" if shares.texts[2][-1] != "a" else "b")], "number 3"),
            (["nonsense"], "begins with"),
        ):
            with pytest.raises(e.RecoveryFailed, match=told):
                await kms.open_recovery("node-1", texts)
        assert await kms.verify_recovery(shares.texts[2:]) == (2,)
        assert (await kms.status("node-1")).open_epochs == ()
        assert await kms.open_recovery("node-1", [shares.texts[i] for i in (4, 0, 2)]) == (2,)
        assert (await kms.decrypt("payments", sealed)).plaintext == b"data"
    canaries = {"root": root} | {f"share {i}": text.encode() for i, text in enumerate(shares.texts)}
    assert search_tree(tmp_path / "data", canaries) == []


async def test_replaced_shares_open_nothing(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node, AsyncClient(node.profile()) as kms:
        await settled(kms)
        old = await kms.init_recovery(3, 2)
        with pytest.raises(e.RecoveryConflict):
            await kms.init_recovery(3, 2)
        new = await kms.init_recovery(3, 2, replace=old.set_id)
        assert await recoverable(kms) == (1,)
        with pytest.raises(e.RecoveryFailed, match=f"present set is {new.set_id}"):
            await kms.verify_recovery(old.texts)
        with pytest.raises(e.RecoveryFailed, match="different sets"):
            await kms.verify_recovery([old.texts[0], new.texts[1]])
        assert await kms.verify_recovery(new.texts[:2]) == (1,)
        for shares, threshold in ((3, 1), (2, 3), (256, 2)):
            with pytest.raises(ValueError, match="at least 2"):
                await kms.init_recovery(shares, threshold)


async def test_a_sealed_node_takes_no_roots_and_gives_no_backup(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node, AsyncClient(node.profile()) as kms:
        await settled(kms)
        shares = await kms.init_recovery(3, 2)
        await recoverable(kms)
        await kms.seal("node-1")
        with pytest.raises(e.Sealed):
            await kms.open_recovery("node-1", shares.texts)
        with pytest.raises(e.Sealed):
            await saved(kms, None)


@pytest.fixture
async def source(tmp_path: Path) -> AsyncIterator[tuple[LocalNode, AsyncClient]]:
    async with local_node(tmp_path / "source") as node, AsyncClient(node.profile()) as kms:
        await settled(kms)
        yield node, kms


@pytest.mark.parametrize("same_cluster", [True, False])
@pytest.mark.parametrize("by_passphrase", [True, False])
async def test_a_backup_restores_into_a_new_cluster_and_not_into_another(
    source: tuple[LocalNode, AsyncClient], tmp_path: Path, by_passphrase: bool, same_cluster: bool
) -> None:
    node, kms = source
    shares = (await kms.init_recovery(3, 2)).texts[1:]
    await recoverable(kms)
    await kms.create_key("payments")
    sealed = [(await kms.encrypt("payments", b"first")).ciphertext]
    await kms.rotate_root()
    await settled(kms, 2)
    await kms.rotate_key("payments")
    sealed.append((await kms.encrypt("payments", b"second")).ciphertext)
    for number in range(20):
        await kms.create_key(f"key-{number}", labels={"pad": "x" * 60})
    file = await saved(kms, PASSPHRASE if by_passphrase else None)
    root = bytes(next(iter(node.roots()._roots.values())).reveal())
    await kms.create_key("after-the-backup")
    key: dict[str, Any] = {"passphrase": PASSPHRASE} if by_passphrase else {"shares": shares}

    check = verify(io.BytesIO(file), open_backup(io.BytesIO(file), key.get("passphrase"), key.get("shares", ())))
    assert (check.info.key_count, check.size, check.info.cluster_id) == (21, len(file), "test")
    assert check.records > 5
    with pytest.raises(e.ClusterNotEmpty):
        await kms.restore_backup(io.BytesIO(file), "node-1", **key)
    assert (await kms.get_key("after-the-backup")).primary_version == 1, "nothing has changed"

    folder = tmp_path / "target"
    async with (
        local_node(folder, cluster_id="test" if same_cluster else "other") as target,
        AsyncClient(target.profile()) as other,
    ):
        await settled(other)
        result = await other.restore_backup(io.BytesIO(file), "node-1", **key)
        assert result.key_count == 21
        assert [(await other.decrypt("payments", c)).plaintext for c in sealed] == [b"first", b"second"]
        status = await settled(other, 3)
        assert status.epoch_uses[0].epoch == 3, "a root of the new cluster's own, and everything moved under it"
        assert [(await other.decrypt("payments", c)).plaintext for c in sealed] == [b"first", b"second"]
        with pytest.raises(e.KeyNotFound):
            await other.get_key("after-the-backup")
        with pytest.raises(e.ClusterNotEmpty):
            await other.restore_backup(io.BytesIO(file), "node-1", **key)
        ledger = target.ledger()
    async with (
        local_node(folder, cluster_id="test" if same_cluster else "other", ledger=ledger) as target,
        AsyncClient(target.profile()) as other,
    ):
        assert [(await other.decrypt("payments", c)).plaintext for c in sealed] == [b"first", b"second"]
        assert await other.verify_recovery(shares) == (3,), "the recovery key came along"
    (tmp_path / "file").write_bytes(file)
    assert search_tree(tmp_path, {"root": root, "passphrase": PASSPHRASE}) == []


async def test_damaged_backups_and_wrong_keys_are_refused_offline_and_by_the_node(
    source: tuple[LocalNode, AsyncClient], tmp_path: Path
) -> None:
    _, kms = source
    await kms.create_key("payments")
    with pytest.raises(e.RecoveryFailed, match="no recovery key"):
        await saved(kms, None)
    file = await saved(kms, PASSPHRASE)
    assert read_info(io.BytesIO(file)).key_count == 1
    with pytest.raises(e.BackupInvalid, match="another passphrase"):
        open_backup(io.BytesIO(file), b"wrong", ())
    with pytest.raises(e.BackupInvalid, match="none was given"):
        open_backup(io.BytesIO(file), None, ())
    with pytest.raises(e.BackupInvalid, match="no backup"):
        read_info(io.BytesIO(b"something else"))
    opened = open_backup(io.BytesIO(file), PASSPHRASE, ())
    for damaged in (file[:-1], file + b"x", file[:-20] + bytes(20)):
        with pytest.raises(e.BackupInvalid, match="does not verify"):
            verify(io.BytesIO(damaged), opened)
    async with local_node(tmp_path / "target") as target, AsyncClient(target.profile()) as other:
        await settled(other)
        with pytest.raises(e.BackupNotAccepted, match="nothing has changed"):
            await other.restore_backup(io.BytesIO(file[:-1]), "node-1", passphrase=PASSPHRASE)
        await other.create_key("still-works")


async def test_parts_of_a_restore_may_be_repeated_but_not_left_out(
    source: tuple[LocalNode, AsyncClient], tmp_path: Path
) -> None:
    from qkms.backup import handover
    from qkms.kem import HybridPublicKey
    from qkms.sealed import seal_to

    _, kms = source
    await kms.create_key("payments")
    file = await saved(kms, PASSPHRASE)
    opened = open_backup(io.BytesIO(file), PASSPHRASE, ())
    async with local_node(tmp_path / "target") as target, target.channel() as channel:
        stub = cluster_pb2_grpc.ClusterServiceStub(channel)
        known = await stub.GetRecovery(pb.GetRecoveryRequest())
        restore_id = str(uuid.uuid4())
        node_key = HybridPublicKey(known.node_key.mlkem, known.node_key.x25519)
        file_key = seal_to(node_key, opened.file_key, handover("test", "node-1", restore_id))
        cuts = [0, len(opened.before) + 100, len(opened.before) + 300, len(file)]
        parts = [
            pb.RestoreBackupRequest(
                restore_id=restore_id,
                sealed_file_key=file_key,
                offset=start,
                data=file[start:end],
                last=end == len(file),
            )
            for start, end in itertools.pairwise(cuts)
        ]
        for part in (parts[0], parts[0], parts[1], parts[0], parts[1], parts[2], parts[2], parts[0]):
            response = await stub.RestoreBackup(part)
        assert response.key_count == 1

        parts[1].restore_id = str(uuid.uuid4())
        async with local_node(tmp_path / "another") as another, another.channel() as channel_to:
            with pytest.raises(Exception, match="not in progress"):
                await cluster_pb2_grpc.ClusterServiceStub(channel_to).RestoreBackup(parts[1])
