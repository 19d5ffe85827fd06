"""A cluster whose QKD keys come over SKIP, and one whose keys come as files: the root is seeded from them."""

import base64
import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from itertools import combinations
from pathlib import Path

import pytest

from qkms_chaos.cluster.network import HOST
from qkms_chaos.cluster.ports import free_ports
from qkms_chaos.cluster.world import World
from qkms_client.types import Grade

pytestmark = pytest.mark.cluster

NUMBERS = (1, 2, 3)
NODES = tuple(f"node-{i}" for i in NUMBERS)
KMES = tuple(f"kme-{i}" for i in NUMBERS)
FAST: dict[str, object] = {"root": {"retry_ms": 300}}


def seeded(world: World) -> tuple[str, ...]:
    """The ids of the QKD keys in the first root epoch, which holds and encrypts."""
    roots = [s.root for s in world.observer.wait_root(1, Grade.QKD_PQC).values() if s.root]
    assert {root.grade for root in roots} == {Grade.QKD_PQC}
    world.payments.create_key("early")
    sealed = world.payments.encrypt("early", b"attack at dawn")
    assert sealed.grade is Grade.QKD_PQC
    assert world.ledger.decrypt("early", sealed.ciphertext).plaintext == b"attack at dawn"
    return roots[0].qkd_key_ids


def test_a_root_epoch_is_seeded_over_skip(make_world: Callable[..., AbstractContextManager[World]]) -> None:
    ports = dict(zip(NUMBERS, free_ports(len(NUMBERS)), strict=True))
    overrides: dict[str, dict[str, object]] = {"node": FAST}
    for i, port in ports.items():
        overrides[f"kme-{i}"] = {"skip": {"listen": f"{HOST}:{port}"}}
        overrides[f"node-{i}"] = {"qkd": {"protocol": "skip", "kme_url": f"https://{HOST}:{port}"}}
    with make_world(overrides=overrides) as world:
        used = seeded(world)
        layout = world.cluster.layout
        lines = [json.loads(line) for kme in KMES for line in layout.log(kme).read_text().splitlines()]
        links = [link for link in world.operator.list_links() if link.error == ""]
        assert links
        # SKIP does not tell how many keys there are, and nobody makes up a number.
        assert {link.stored_key_count for link in links} == {None}
    assert len(used) == 2
    drawn = {line["key_ids"][0]: line.get("protocol") for line in lines if line["event"] == "keys.drawn"}
    collected = {line["key_ids"][0]: line.get("protocol") for line in lines if line["event"] == "keys.collected"}
    assert set(drawn.values()) == set(collected.values()) == {"skip"}
    assert set(used) <= {key_id.replace("-", "") for key_id in drawn.keys() & collected.keys()}


def key_files(home: Path) -> dict[str, dict[str, object]]:
    """Folders with the same 16 keys at both ends of every pair; each node's override."""
    for here, there in combinations(NODES, 2):
        keys = {f"{here}.{there}.{i}": os.urandom(32) for i in range(16)}
        for local, peer in ((here, there), (there, here)):
            folder = home / local / peer
            folder.mkdir(parents=True, mode=0o700)
            for key_id, key in keys.items():
                file = folder / f"{key_id}.json"
                file.touch(mode=0o600)
                file.write_text(json.dumps({"key_ID": key_id, "key": base64.b64encode(key).decode()}))
    return {
        node: {"qkd": {"protocol": "files", "kme_url": None, "folder": str(home / node)}, **FAST} for node in NODES
    }


def test_a_root_epoch_is_seeded_from_files_with_no_kme_at_all(
    make_world: Callable[..., AbstractContextManager[World]], tmp_path: Path
) -> None:
    with make_world(overrides=key_files(tmp_path), without=KMES) as world:
        used = seeded(world)
    assert len(used) == 2
    for key_id in used:
        # Both ends have consumed it, and no third has it.
        spent = [file for file in tmp_path.glob("*/*/spent") if key_id in file.read_text().split()]
        assert len(spent) == 2
        assert list(tmp_path.glob(f"*/*/{key_id}.*")) == []
