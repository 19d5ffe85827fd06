"""Two ends of a wire in one process, and both parties run over it."""

import asyncio

from qkms_qkd.bb84.chain.alice import Alice
from qkms_qkd.bb84.chain.block import Block
from qkms_qkd.bb84.chain.bob import Bob
from qkms_qkd.bb84.chain.line import Wire
from qkms_qkd.bb84.physics.records import Detections, Preparations


class MemoryWire:
    """One end: what it sends goes into one queue, what it receives comes from the other."""

    def __init__(self, outgoing: asyncio.Queue[bytes], incoming: asyncio.Queue[bytes]) -> None:
        self._outgoing = outgoing
        self._incoming = incoming

    async def send(self, frame: bytes) -> None:
        """Hands a frame over."""
        await self._outgoing.put(frame)

    async def receive(self) -> bytes:
        """The next frame; waits for it."""
        return await self._incoming.get()


def memory_wires() -> tuple[Wire, Wire]:
    """Both ends."""
    one: asyncio.Queue[bytes] = asyncio.Queue()
    other: asyncio.Queue[bytes] = asyncio.Queue()
    return MemoryWire(one, other), MemoryWire(other, one)


async def distil(
    alice: Alice,
    bob: Bob,
    sent: Preparations,
    found: Detections,
    wires: tuple[Wire, Wire],
    alarm: str | None = None,
) -> tuple[Block, Block]:
    """Both parties' accounts of a block. Raises AuthenticationKeyExhausted."""
    first, second = wires
    try:
        async with asyncio.TaskGroup() as group:
            hers = group.create_task(alice.distil(sent, first))
            his = group.create_task(bob.distil(found, second, alarm))
    except BaseExceptionGroup as several:
        raise several.exceptions[0] from None
    return hers.result(), his.result()
