"""One block as either end accounts for it: the line is opened, the steps run, and what ends them is told the peer.

What the steps are, `alice` and `bob` say. The wire carries this block only.
"""

from collections.abc import Awaitable, Callable

from qkms_qkd.bb84.chain.block import Block
from qkms_qkd.bb84.chain.errors import AuthenticationKeyExhausted, BlockDiscarded
from qkms_qkd.bb84.chain.line import Line, Wire, discard


async def account(
    wire: Wire,
    opened: Callable[[], Awaitable[tuple[Line, list[int]]]],
    steps: Callable[[Block, Line, list[int]], Awaitable[None]],
) -> Block:
    """The block that `steps` fill in over the line that `opened` gives, with the slots that the peer holds.

    A discarded block says why. Raises AuthenticationKeyExhausted.
    """
    block = Block()
    try:
        line, peers_slots = await opened()
        try:
            await steps(block, line, peers_slots)
        finally:
            block.sent_bytes, block.sent_frames = line.sent_bytes, line.sent_frames
    except BlockDiscarded as reason:
        block.discarded = reason
        if reason.code != "PEER_DISCARDED":
            await discard(wire, reason)
    except AuthenticationKeyExhausted as reason:
        await discard(wire, BlockDiscarded("AUTHENTICATION_KEY_NOT_SHARED", str(reason)))
        raise
    return block
