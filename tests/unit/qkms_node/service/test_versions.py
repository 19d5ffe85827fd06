"""Opened versions of every kind leave memory alike, and a version is only given out as it was made."""

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from msgspec.structs import replace

from qkms_node.access.guard import Guard
from qkms_node.config_sections import Rule, SealSection
from qkms_node.consensus.local import LocalReplica
from qkms_node.errors import QkmsError
from qkms_node.keys.algorithms import ALGORITHMS, MACS, SIGNATURES
from qkms_node.keys.errors import SecretWiped
from qkms_node.keys.grade import Grade
from qkms_node.keys.root import commitment
from qkms_node.keys.secret import RootSecret, VersionSecret
from qkms_node.keys.version import CheckValueMismatch
from qkms_node.ledger import commands as c
from qkms_node.service import versions as module
from qkms_node.service.drawing import Drawing
from qkms_node.service.freshness import Freshness
from qkms_node.service.keys import Keys, KeySettings
from qkms_node.service.material import Materials
from qkms_node.service.proposing import Proposer, accepted
from qkms_node.service.roots import RootStore
from qkms_node.service.seals.making import SealMaker
from qkms_node.service.store import LedgerStore
from qkms_node.service.versions import Versions

QUICK = sorted(name for name, scheme in ALGORITHMS.items() if not scheme.slow_to_draw)


def request() -> c.Request:
    return c.Request(str(uuid4()), b"f" * 32, "alice")


@dataclass
class World:
    """The services of one node over a ledger in memory with root epoch 1."""

    store: LedgerStore
    versions: Versions
    drawing: Drawing
    keys: Keys

    async def create(self, algorithm: str) -> str:
        key_id = f"key-{uuid4().hex[:8]}"
        await self.keys.create(request(), key_id, KeySettings(algorithm, 0, 30_000))
        return key_id

    async def open(self, key_id: str, number: int = 1) -> VersionSecret:
        return (await self.versions.numbered(key_id, number, ALGORITHMS, "test")).material


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    store = LedgerStore(asyncio.get_running_loop())
    replica = LocalReplica("node-1", store)
    section = SealSection(mode="keyfile", key_file=tmp_path / "seal.key")
    roots = RootStore(tmp_path, SealMaker(section, "test", "node-1"), "test", "node-1")
    root = RootSecret(b"r" * 32)
    committed = commitment(root, "test", 1)
    roots.keep(1, committed, root)
    proposer, freshness = Proposer(replica, 5.0), Freshness(replica, store, 5.0)
    for command in (
        c.StageRoot(1, 0, Grade.PQC, "node-1", committed, (), ("node-1",), {}),
        c.ConfirmRoot(1, "node-1", committed),
        c.ActivateRoot(1),
    ):
        accepted(await proposer.submit(command))
    guard = Guard((Rule(principals=("*",), actions=("*",)),))
    drawing, versions = Drawing(store, roots), Versions(store, roots, freshness)
    materials = Materials(store, roots, drawing, proposer, freshness)
    yield World(store, versions, drawing, Keys(guard, store, proposer, freshness, materials))
    versions.wipe()


@pytest.mark.parametrize("algorithm", QUICK)
async def test_material_of_every_kind_is_wiped_when_it_may_not_be_used(world: World, algorithm: str) -> None:
    key_id = await world.create(algorithm)
    await world.keys.rotate(request(), key_id, 1)
    old, new = await world.open(key_id, 1), await world.open(key_id, 2)
    windows = [material.reveal() for material in (old, new)]
    assert all(any(window) for window in windows)
    assert await world.open(key_id, 1) is old, "opened once"

    world.versions.sweep()
    assert all(any(window) for window in windows), "what may be used stays"

    await world.keys.change("keys.disable", request(), key_id, 1)
    world.versions.sweep()
    assert not any(windows[0])
    with pytest.raises(QkmsError, match="SUSPENDED") as caught:
        await world.open(key_id, 1)
    assert caught.value.code == "VERSION_DISABLED"

    await world.keys.change("keys.enable", request(), key_id, 1)
    window = (await world.open(key_id, 1)).reveal()
    assert any(window)
    await world.keys.destroy(request(), key_id, 1, grace_ms=0)
    world.versions.sweep()
    assert not any(window)
    assert any(windows[1])

    world.versions.wipe()
    assert not any(windows[1])


async def test_the_cache_is_bounded_and_what_is_crowded_out_is_wiped(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CACHED_VERSIONS", 2)
    names = [await world.create(algorithm) for algorithm in ("AES_256_GCM", "ED25519", "HMAC_SHA512")]
    first, second = [(await world.open(name)).reveal() for name in names[:2]]
    await world.open(names[0])
    await world.open(names[2])
    assert any(first), "used last, kept"
    assert not any(second)


@pytest.mark.parametrize("algorithm", ["ED25519", "ML_KEM_768", "X25519MLKEM768"])
async def test_a_public_half_put_in_place_of_the_true_one_is_not_given_out(world: World, algorithm: str) -> None:
    mine, other = await world.create(algorithm), await world.create(algorithm)
    with world.store.view() as state:
        true = state.versions[mine, 1]
        state.versions[mine, 1] = replace(true, public_key=state.versions[other, 1].public_key)
    with pytest.raises(CheckValueMismatch):
        await world.open(mine)
    with world.store.view() as state:
        state.versions[mine, 1] = true
    await world.open(mine)


async def test_a_destroyed_version_keeps_nothing_of_its_key(world: World) -> None:
    key_id = await world.create("ED25519")
    await world.keys.rotate(request(), key_id, 1)
    await world.keys.destroy(request(), key_id, 1, grace_ms=0)
    await world.keys.rotate(request(), key_id, 2)
    with world.store.view() as state:
        gone, there = state.versions[key_id, 1], state.versions[key_id, 2]
    assert (gone.wrapped, gone.check_value, gone.public_key) == (b"", b"", b"")
    assert there.public_key


async def test_the_algorithm_is_judged_before_the_version(world: World) -> None:
    key_id = await world.create("ED25519")
    await world.keys.change("keys.disable", request(), key_id, 1)
    with pytest.raises(QkmsError) as caught:
        world.versions.primary(key_id, MACS, "mac")
    assert caught.value.code == "ALGORITHM_UNSUITABLE"
    assert caught.value.metadata == {
        "algorithm": "ED25519",
        "operation": "mac",
        "operations": "sign, verify, get public key",
    }
    with pytest.raises(QkmsError) as caught:
        world.versions.primary(key_id, SIGNATURES, "sign")
    assert caught.value.code == "VERSION_DISABLED"


async def test_a_key_drawn_for_a_caller_who_left_serves_the_next(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheme, drawn = ALGORITHMS["RSA_3072_PSS_SHA256"], 0
    draw, begun = scheme.draw, threading.Event()

    def counted(random: object) -> VersionSecret:
        nonlocal drawn
        drawn += 1
        begun.set()
        return draw(random)  # type: ignore[arg-type]

    monkeypatch.setattr(scheme, "draw", counted)
    left = asyncio.create_task(world.drawing.draw("payments", 1, "RSA_3072_PSS_SHA256"))
    assert await asyncio.to_thread(begun.wait, 20)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    new = await world.drawing.draw("payments", 1, "RSA_3072_PSS_SHA256")
    assert (new.version, drawn) == (1, 1)
    assert new.public_key
    await world.drawing.draw("payments", 2, "RSA_3072_PSS_SHA256")
    assert drawn == 2, "a key serves once"


async def test_a_key_drawn_for_nobody_is_wiped_at_the_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    scheme, made, begun = ALGORITHMS["RSA_3072_PSS_SHA256"], list[VersionSecret](), threading.Event()
    draw = scheme.draw

    def kept(random: object) -> VersionSecret:
        begun.set()
        made.append(draw(random))  # type: ignore[arg-type]
        return made[0]

    monkeypatch.setattr(scheme, "draw", kept)
    left = asyncio.create_task(world.drawing.draw("payments", 1, "RSA_3072_PSS_SHA256"))
    assert await asyncio.to_thread(begun.wait, 20)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    [drawing] = world.drawing._begun.values()
    world.drawing.wipe()
    await drawing
    with pytest.raises(SecretWiped):
        made[0].reveal()
