"""How a block begins: both parties say which authentication slots they hold, Alice chooses one they share.

Nothing here is authenticated when it is said; the first tags of the block cover it. A forger can make a block
fail and its slot be spent, as by cutting the line. Whoever has confirmed those tags knows what the other party
truly holds, and drops the rest (`AuthenticationKeys.keep_only`).
"""

from qkms_qkd.bb84.chain.authentication import AuthenticationKeys
from qkms_qkd.bb84.chain.errors import BlockDiscarded
from qkms_qkd.bb84.chain.line import Line, Wire, checked
from qkms_qkd.bb84.chain.messages import Slots, encode


async def open_as_alice(wire: Wire, keys: AuthenticationKeys) -> tuple[Line, list[int]]:
    """The line of this block and the slots that Bob holds. Raises BlockDiscarded, AuthenticationKeyExhausted."""
    held = keys.held()
    frame = await wire.receive()
    bobs = checked(frame, (Slots,)).held
    shared = [slot for slot in held if slot in set(bobs)]
    if not shared:
        raise BlockDiscarded(
            "AUTHENTICATION_KEY_NOT_SHARED",
            "the ends hold no authentication key in common; if this stays so, give both a new pre-shared secret",
        )
    answer = encode(Slots(held, shared[0]))
    await wire.send(answer)
    own = keys.take(shared[0])
    return Line(wire, own.alice, own.bob, answer, frame, tags_first=False), bobs


async def open_as_bob(wire: Wire, keys: AuthenticationKeys) -> tuple[Line, list[int]]:
    """The line of this block and the slots that Alice holds. Raises BlockDiscarded, AuthenticationKeyExhausted."""
    hello = encode(Slots(keys.held()))
    await wire.send(hello)
    frame = await wire.receive()
    answer = checked(frame, (Slots,))
    if answer.chosen not in keys.held():
        raise BlockDiscarded("MESSAGE_MALFORMED", "an authentication key was chosen that is not here")
    own = keys.take(answer.chosen)
    return Line(wire, own.bob, own.alice, hello, frame, tags_first=True), answer.held
