"""Every seal mode over real gRPC: restarts, sealing, unsealing, wrong secrets, nothing in clear on disk."""

import asyncio
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import softhsm
from local_node import local_node
from qkms_chaos.canary import search_tree
from qkms_client import AsyncClient
from qkms_client import errors as e
from qkms_client.types import NodeStatus
from qkms_node.config_sections import SealSection
from qkms_node.pki import Identity
from qkms_node.service.roots import RootStoreError
from qkms_node.unseal_command import UnsealFailed, unseal

PASSPHRASE = b"correct horse battery staple"
WITH_STORE = ("keyfile", "passphrase", "passphrase from a file", "pkcs11", "pkcs11 with a PIN file")


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The module of a SoftHSM2 that holds a token `qkms`."""
    module = softhsm.module()
    if module is None:
        pytest.skip("SoftHSM2 is not installed: run make softhsm as root")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in softhsm.make_token(tmp_path_factory.mktemp("softhsm"), "qkms").items():
            patch.setenv(name, value)
        yield module


@dataclass(frozen=True)
class Mode:
    """A seal section, the secret an operator brings, and a wrong one."""

    section: SealSection
    secret: bytes = b""
    wrong: bytes = b""


@pytest.fixture
def mode(request: pytest.FixtureRequest, tmp_path: Path) -> Mode:
    name: str = request.param
    if name == "keyfile":
        return Mode(SealSection(mode="keyfile", key_file=tmp_path / "seal.key"))
    secret_file = tmp_path / "secret"
    if name.startswith("passphrase"):
        secret_file.write_bytes(PASSPHRASE + b"\n")
        secret_file.chmod(0o600)
        by_file = secret_file if name.endswith("file") else None
        section = SealSection(mode="passphrase", secret_file=by_file, argon2_memory_kib=8192, argon2_passes=1)
        return Mode(section, b"" if by_file else PASSPHRASE, b"wrong")
    module: Path = request.getfixturevalue("token")
    secret_file.write_bytes(softhsm.PIN)
    secret_file.chmod(0o600)
    by_file = secret_file if name.endswith("file") else None
    section = SealSection(
        mode="pkcs11", module=module, token_label="qkms", key_label=secrets.token_hex(4), secret_file=by_file
    )
    return Mode(section, b"" if by_file else softhsm.PIN, b"87654320")


async def settled(kms: AsyncClient) -> NodeStatus:
    """The status once a root is active and open."""
    while True:
        status = await kms.status("node-1")
        if status.root is not None and status.root.epoch in status.open_epochs and not status.seeding:
            return status


async def opened(kms: AsyncClient, mode: Mode) -> None:
    """Brings the node its secret if it waits for one."""
    status = (await kms.status("node-1")).seal
    assert status is not None
    assert status.sealed == bool(mode.secret)
    if mode.wrong and status.stored and status.sealed:
        with pytest.raises(e.UnsealRejected):
            await kms.unseal("node-1", mode.wrong)
    if mode.secret:
        assert not (await kms.unseal("node-1", mode.secret)).sealed
    await settled(kms)


@pytest.mark.parametrize("mode", WITH_STORE, indirect=True)
async def test_roots_outlive_restarts_and_seals_in_every_mode_with_a_store(tmp_path: Path, mode: Mode) -> None:
    async with local_node(tmp_path, seal=mode.section) as node, AsyncClient(node.profile()) as kms:
        await opened(kms, mode)
        await kms.create_key("payments")
        sealed = (await kms.encrypt("payments", b"data")).ciphertext
        ledger = node.ledger()
        root = bytes(next(iter(node.roots()._roots.values())).reveal())

    # Restarted: nothing but disk and ledger is left.
    async with local_node(tmp_path, seal=mode.section, ledger=ledger) as node, AsyncClient(node.profile()) as kms:
        await opened(kms, mode)
        assert (await kms.decrypt("payments", sealed)).plaintext == b"data"

        assert (await kms.seal("node-1")).sealed
        assert (await kms.seal("node-1")).sealed, "a repetition changes nothing"
        for refused in (
            kms.decrypt("payments", sealed, timeout=0.2),
            kms.encrypt("payments", b"x", timeout=0.2),
            kms.create_key("other", timeout=0.2),
        ):
            with pytest.raises(e.Sealed, match="an operator sealed this node"):
                await refused
        ledger = node.ledger()

    # Sealed by an operator: a restart does not undo it.
    async with local_node(tmp_path, seal=mode.section, ledger=ledger) as node, AsyncClient(node.profile()) as kms:
        status = (await kms.status("node-1")).seal
        assert status is not None
        assert (status.sealed, status.reason) == (True, "an operator sealed this node")
        assert not (await kms.unseal("node-1", mode.secret)).sealed
        await settled(kms)
        assert (await kms.decrypt("payments", sealed)).plaintext == b"data"

    canaries = {"root": root} | ({"passphrase": PASSPHRASE} if mode.secret == PASSPHRASE else {})
    assert search_tree(tmp_path / "data", canaries) == []


async def test_without_a_store_a_node_alone_has_no_root_after_a_restart(tmp_path: Path) -> None:
    section = SealSection(mode="peers")
    async with local_node(tmp_path, seal=section) as node, AsyncClient(node.profile()) as kms:
        await settled(kms)
        await kms.create_key("payments")
        with pytest.raises(e.LastHolder):
            await kms.seal("node-1")
        ledger = node.ledger()
    assert not (tmp_path / "data" / "roots.sealed").exists()
    async with local_node(tmp_path, seal=section, ledger=ledger) as node, AsyncClient(node.profile()) as kms:
        with pytest.raises(e.RootNotReady):
            await kms.encrypt("payments", b"x", timeout=0.5)


async def test_another_seal_mode_or_file_is_refused_with_a_way_out(tmp_path: Path) -> None:
    passphrase = SealSection(mode="passphrase", argon2_memory_kib=8192, argon2_passes=1)
    async with local_node(tmp_path) as node, AsyncClient(node.profile()) as kms:
        await settled(kms)
    async with local_node(tmp_path, seal=passphrase) as node, AsyncClient(node.profile()) as kms:
        with pytest.raises(e.SealUnusable, match="not sealed in mode passphrase"):
            await kms.unseal("node-1", PASSPHRASE)
        with pytest.raises(e.InvalidField, match="passphrase is needed"):
            await kms.unseal("node-1")
    (tmp_path / "seal.key").write_bytes(bytes(32))
    with pytest.raises(RootStoreError, match="another key file"):
        async with local_node(tmp_path):
            pass


async def test_the_nodes_own_certificate_unseals_it_and_a_strangers_does_not(tmp_path: Path) -> None:
    section = SealSection(mode="passphrase", argon2_memory_kib=8192, argon2_passes=1)
    (tmp_path / "typed").write_bytes(PASSPHRASE + b"\n")
    async with local_node(tmp_path, rules=(), seal=section) as node:
        async with AsyncClient(node.profile(Identity("node", "node-2"))) as kms:
            with pytest.raises(e.PermissionDenied):
                await kms.unseal("node-1", PASSPHRASE)
        assert await asyncio.to_thread(unseal, node.config, tmp_path / "typed", None) == "node-1: unsealed"
        assert await asyncio.to_thread(unseal, node.config, tmp_path / "typed", None) == "node-1: was open already"
        node.roots().wipe()
        (tmp_path / "typed").write_bytes(b"mistyped\n")
        with pytest.raises(UnsealFailed, match="not the passphrase"):
            await asyncio.to_thread(unseal, node.config, tmp_path / "typed", None)
