"""The ledger in use: captured on one thread and written on another, restored beside it, swapped at once."""

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator

import pytest

from ledger_world import NODES, new, request
from qkms_node.keys.grade import Grade
from qkms_node.ledger import commands as c
from qkms_node.ledger.snapshot import digest, restore
from qkms_node.service.store import LedgerStore

SNAPSHOTS = 20
COMMANDS_BETWEEN = 150


def commands() -> Iterator[c.AnyCommand]:
    """A root epoch, then keys that are created, rotated, disabled and destroyed without end."""
    yield c.StageRoot(1, 0, Grade.PQC, "node-1", b"commitment", (), NODES, {})
    yield from (c.ConfirmRoot(1, node, b"commitment") for node in NODES)
    yield c.ActivateRoot(1)
    number = 0
    while True:
        name = f"key-{number % 500}"
        if number < 500:
            yield c.CreateKey(request(), name, "AES_256_GCM", 0, 30_000, {}, new(1))
        else:
            version = number // 500
            yield c.RotateKey(request(), name, version, new(version + 1))
            yield c.DisableVersion(request(), name, version)
            yield c.DestroyVersion(request(), name, version, 1000)
        number += 1


class Engine:
    """Applies commands in order, as the engine's thread does."""

    def __init__(self, store: LedgerStore) -> None:
        self._store = store
        self._commands = commands()
        self.index = 1

    def apply(self, count: int) -> None:
        for _ in range(count):
            self.index += 1
            self._store.apply(self.index, 10_000 + self.index, c.encode_command(next(self._commands)))


async def test_what_another_thread_writes_is_the_state_at_its_index() -> None:
    store = LedgerStore(asyncio.get_running_loop())
    engine = Engine(store)
    taken: queue.SimpleQueue[tuple[tuple[int, int, bytes], Iterator[bytes]] | None] = queue.SimpleQueue()

    def run() -> None:
        for _ in range(SNAPSHOTS):
            engine.apply(COMMANDS_BETWEEN)
            taken.put((store.digest(), store.snapshot()))
        engine.apply(COMMANDS_BETWEEN)
        taken.put(None)

    thread = threading.Thread(target=run)
    thread.start()
    seen = 0
    while (next_one := await asyncio.to_thread(taken.get)) is not None:
        (index, revision, wanted), chunks = next_one
        state = await asyncio.to_thread(restore, chunks)
        assert (state.index, state.revision, digest(state)) == (index, revision, wanted)
        seen += 1
    thread.join()
    assert seen == SNAPSHOTS


async def test_a_restored_ledger_is_in_use_only_when_it_is_installed() -> None:
    loop = asyncio.get_running_loop()
    leader, follower = LedgerStore(loop), LedgerStore(loop)
    ahead, behind = Engine(leader), Engine(follower)
    ahead.apply(900)
    behind.apply(300)
    before = follower.digest()
    install = follower.restore(leader.snapshot())
    assert follower.digest() == before
    behind.apply(1)  # what is applied meanwhile goes to the ledger in use
    with follower.view() as state:
        replaced = state
    remains = install()
    assert follower.digest() == leader.digest()
    assert replaced.keys
    for _ in remains:
        pass
    assert not list(replaced.keys)
    assert not replaced.due


@pytest.mark.parametrize("chunks", [[], [b"garbage"]])
async def test_a_snapshot_that_cannot_be_read_changes_nothing(chunks: list[bytes]) -> None:
    store = LedgerStore(asyncio.get_running_loop())
    Engine(store).apply(20)
    before = store.digest()
    with pytest.raises(Exception, match="snapshot"):
        store.restore(chunks)
    assert store.digest() == before


async def test_those_who_wait_look_again_when_a_snapshot_is_installed() -> None:
    loop = asyncio.get_running_loop()
    leader, follower = LedgerStore(loop), LedgerStore(loop)
    Engine(leader).apply(100)
    waiting = asyncio.create_task(follower.wait_for(lambda state: "key-0" in state.keys, 10))
    await asyncio.sleep(0)
    install: Callable[[], object] = follower.restore(leader.snapshot())
    await asyncio.to_thread(install)
    assert await waiting


async def test_a_cancellation_that_comes_with_a_wake_up_is_not_lost() -> None:
    """A loop of the node would otherwise go on, and the node's stop would wait for it."""
    store = LedgerStore(asyncio.get_running_loop())

    async def look_again_and_again() -> None:
        while True:
            await store.wait_for(lambda _: False, 60)

    loop = asyncio.create_task(look_again_and_again())
    await asyncio.sleep(0)
    store.wake()
    asyncio.get_running_loop().call_soon(loop.cancel)
    ended, _ = await asyncio.wait([loop], timeout=2)
    assert ended == {loop}
    assert loop.cancelled()
