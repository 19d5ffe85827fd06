"""A node that is behind meets a ciphertext of a version it has not seen activated: it catches up, or refuses."""

import asyncio
from pathlib import Path

import pytest

from ledger_world import NODES, request
from qkms_node.access.guard import Guard
from qkms_node.config_sections import Rule, SealSection
from qkms_node.consensus.local import LocalReplica
from qkms_node.errors import QkmsError
from qkms_node.keys.grade import Grade
from qkms_node.keys.root import commitment
from qkms_node.keys.secret import RootSecret
from qkms_node.ledger import commands as c
from qkms_node.service.crypto import Bound, Crypto
from qkms_node.service.drawing import Drawing
from qkms_node.service.freshness import Freshness, Level, Wanted
from qkms_node.service.material import Materials
from qkms_node.service.proposing import Proposer
from qkms_node.service.roots import RootStore
from qkms_node.service.seals.making import SealMaker
from qkms_node.service.store import LedgerStore
from qkms_node.service.versions import Versions

BOUND = Wanted(Level.BOUNDED, 0, 60_000)
CHECK = commitment(RootSecret(bytes(32)), "test", 1)


class Behind(LocalReplica):
    """A member whose ledger learns of commands only when a read barrier is asked for."""

    def __init__(self, store: LedgerStore) -> None:
        super().__init__("node-2", store)
        self.waiting: list[bytes] = []
        self.store = store

    async def read_barrier(self, timeout_s: float) -> int:
        index = await super().read_barrier(timeout_s)
        for command in self.waiting:
            self.store.apply(index, 1_000_000, command)
        self.waiting.clear()
        return index


class Node:
    """A ledger, a root and the use of keys."""

    def __init__(self, folder: Path, name: str) -> None:
        (folder / name).mkdir()
        self.store = LedgerStore(asyncio.get_running_loop())
        self.replica = Behind(self.store)
        self.roots = RootStore(
            folder / name,
            SealMaker(SealSection(mode="keyfile", key_file=folder / name / "seal.key"), "test", name),
            "test",
            name,
        )
        self.roots.keep(1, CHECK, RootSecret(bytes(32)))
        freshness = Freshness(self.replica, self.store, 1.0)
        drawing = Drawing(self.store, self.roots)
        self.materials = Materials(self.store, self.roots, drawing, Proposer(self.replica, 1.0), freshness)
        versions = Versions(self.store, self.roots, freshness)
        self.crypto = Crypto(Guard([Rule(principals=("*",), actions=("*",))]), versions)


class Pair:
    """A node that is up to date, and one that hears of `later` commands only at a barrier."""

    def __init__(self, folder: Path) -> None:
        self.ahead, self.behind = Node(folder, "ahead"), Node(folder, "behind")

    def both(self, *commands: c.AnyCommand) -> None:
        self.later(*commands)
        for command in commands:
            self.behind.store.apply(1, 1_000_000, c.encode_command(command))
        self.behind.replica.waiting.clear()

    def later(self, *commands: c.AnyCommand) -> None:
        for command in commands:
            outcome = c.decode_outcome(self.ahead.store.apply(1, 1_000_000, c.encode_command(command)))
            assert not outcome.code, outcome.message
            self.behind.replica.waiting.append(c.encode_command(command))

    async def opened(self, ciphertext: bytes) -> bytes:
        return (await self.behind.crypto.decrypt("x", "payments", ciphertext, 0, Bound({}, b""), BOUND))[0]

    async def sealed(self) -> bytes:
        return (await self.ahead.crypto.encrypt("x", "payments", b"data", Bound({}, b""), BOUND))[0].ciphertext


@pytest.fixture
async def pair(tmp_path: Path) -> Pair:
    made = Pair(tmp_path)
    made.both(
        c.StageRoot(1, 0, Grade.PQC, "node-1", CHECK, (), NODES, {}),
        *(c.ConfirmRoot(1, n, CHECK) for n in NODES),
        c.ActivateRoot(1),
    )
    new = await made.ahead.materials.draw("payments", 1, "AES_256_GCM")
    made.both(c.CreateKey(request(), "payments", "AES_256_GCM", 0, 0, {}, new))
    return made


async def test_a_version_that_is_staged_here_and_active_elsewhere_is_caught_up_with(pair: Pair) -> None:
    new = await pair.ahead.materials.draw("payments", 2, "AES_256_GCM")
    pair.both(c.StageVersion(request(), "payments", new, NODES))
    pair.later(
        *(c.ConfirmVersion("payments", 2, n, new.check_value, 10_000) for n in NODES[:2]),
        c.ValidateVersion(request(), "payments", 2),
        c.ActivateVersion(request(), "payments", 2, 1),
    )
    assert await pair.opened(await pair.sealed()) == b"data"


async def test_a_version_that_was_never_heard_of_here_is_caught_up_with(pair: Pair) -> None:
    pair.later(
        c.RotateKey(request(), "payments", 1, await pair.ahead.materials.draw("payments", 2, "AES_256_GCM"))
    )
    assert await pair.opened(await pair.sealed()) == b"data"


async def test_cut_off_it_refuses_with_what_a_retry_elsewhere_mends(pair: Pair) -> None:
    pair.both(c.UpdateKey(request(), "payments", c.KeyChanges(max_staleness_ms=60_000)))
    pair.later(
        c.RotateKey(request(), "payments", 1, await pair.ahead.materials.draw("payments", 2, "AES_256_GCM"))
    )
    sealed = await pair.sealed()
    pair.behind.replica.cut()
    with pytest.raises(QkmsError) as refused:
        await pair.opened(sealed)
    assert refused.value.code == "NO_QUORUM"
    assert refused.value.retry_after_s
