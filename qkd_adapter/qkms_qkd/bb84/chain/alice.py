"""Alice: she prepared the pulses, her bits become the key. She answers Bob and decides the key's length.

The order of a block: Bob's clicks and her sifting, in portions; tags; Bob's questions, frame by frame; the
verification value; the matrix for privacy amplification; tags. See `bob` for the other half.
"""

import numpy as np
from numpy.typing import NDArray

from qkms_qkd.bb84.chain import cascade
from qkms_qkd.bb84.chain.account import account
from qkms_qkd.bb84.chain.authentication import SLOT_BYTES, AuthenticationKeys
from qkms_qkd.bb84.chain.block import Block, Limits, finish, judge_key_basis, judge_test_basis, key_length
from qkms_qkd.bb84.chain.errors import BlockDiscarded
from qkms_qkd.bb84.chain.finite_key import bounds
from qkms_qkd.bb84.chain.line import Line, Wire
from qkms_qkd.bb84.chain.messages import (
    Amplify,
    Corrected,
    Detected,
    FrameSeed,
    Parities,
    Sifted,
    Told,
    Verified,
    Verify,
    integers,
    packed,
    unpacked,
)
from qkms_qkd.bb84.chain.opening import open_as_alice
from qkms_qkd.bb84.chain.tally import tally
from qkms_qkd.bb84.chain.toeplitz import seed_bits
from qkms_qkd.bb84.chain.verification import POINT_BYTES, value
from qkms_qkd.bb84.physics.pulses import BitSource
from qkms_qkd.bb84.physics.records import Bits, Preparations
from qkms_qkd.bb84.physics.setup import KEY_BASIS, TEST_BASIS, Setup


class Alice:
    """One end of a link, over many blocks. `random_bits` draws what she publishes: seeds and points."""

    def __init__(self, setup: Setup, keys: AuthenticationKeys, random_bits: BitSource, limits: Limits) -> None:
        self.keys = keys
        self._setup = setup
        self._random_bits = random_bits
        self._limits = limits

    async def distil(self, sent: Preparations, wire: Wire) -> Block:
        """Her account of the block. The wire carries this block only. Raises AuthenticationKeyExhausted."""

        async def steps(block: Block, line: Line, bobs_slots: list[int]) -> None:
            await self._distil(block, sent, line, bobs_slots)

        return await account(wire, lambda: open_as_alice(wire, self.keys), steps)

    async def _distil(self, block: Block, sent: Preparations, line: Line, bobs_slots: list[int]) -> None:
        key = await self._sift(block, sent, line)
        await line.confirm()
        self.keys.keep_only(bobs_slots)
        judge_test_basis(block, self._limits)
        block.bounds = bounds(block.tally, self._setup, self._limits.eps_secret)
        await self._answer(block, key, line)
        judge_key_basis(block, self._limits)

        point = packed(self._random_bits(8 * POINT_BYTES))
        await line.send(Verify(point, value(key, point)))
        if not (await line.receive(Verified)).equal:
            raise BlockDiscarded("NOT_VERIFIED", "the keys differ after error correction")
        block.verified = True

        length = key_length(block, self._limits)
        seed = self._random_bits(seed_bits(key.size, length))
        slots = min(self.keys.wanted_slots, length // (8 * SLOT_BYTES))
        final = Amplify(length, block.parity_bits, slots, self.keys.reserve_numbers(slots), packed(seed))
        await line.send(final)
        await line.confirm()
        finish(block, key, final, seed, self.keys)

    async def _sift(self, block: Block, sent: Preparations, line: Line) -> Bits:
        """Her sifted key; fills the tally."""
        parts: list[Bits] = []
        last = -1
        more = True
        while more:
            heard = await line.receive(Detected)
            more = heard.more
            row = self._rows(sent, heard, last)
            last = int(sent.position[row[-1]]) if row.size else last
            bob_basis = unpacked(heard.bases, heard.count)
            bob_test = unpacked(heard.test_bits, int(bob_basis.sum()))
            same = sent.basis[row] == bob_basis
            kept = row[same]
            basis, bit, intensity = sent.basis[kept], sent.bit[kept], sent.intensity[kept]
            mine = bit[basis == TEST_BASIS]
            parts.append(bit[basis == KEY_BASIS])
            block.tally += tally(basis, intensity, mine ^ bob_test[same[bob_basis == TEST_BASIS]])
            await line.send(Sifted(packed(same), intensity.tobytes(), packed(mine)))
        key = np.concatenate(parts)
        block.sifted_bits = key.size
        return key

    def _rows(self, sent: Preparations, heard: Detected, last: int) -> NDArray[np.intp]:
        """Where her notes have the pulses that Bob names, all of them after pulse `last`."""
        positions = integers(heard.positions)
        row = np.searchsorted(sent.position, positions)
        before = np.concatenate([np.array([last]), positions[:-1]])
        if (
            positions.size != heard.count
            or (positions.size and row.max() >= sent.position.size)
            or (sent.position[row] != positions).any()
            or (positions <= before[: positions.size]).any()
        ):
            raise BlockDiscarded("MESSAGE_MALFORMED", "clicks were reported for pulses out of order or never sent")
        return row

    async def _answer(self, block: Block, key: Bits, line: Line) -> None:
        """Answers Bob's questions until he has no more."""
        seed = packed(self._random_bits(8 * cascade.SEED_BYTES))
        await line.send(FrameSeed(seed))
        frames = cascade.frames(key, seed)
        while isinstance(asked := await line.receive_either(Parities, Corrected), Parities):
            try:
                if asked.frame < 0:
                    raise LookupError(f"frame {asked.frame}")
                told = frames[asked.frame].parities(asked.number, integers(asked.cuts))
            except (LookupError, ValueError) as error:
                raise BlockDiscarded(
                    "MESSAGE_MALFORMED", f"a parity was asked for that is none: {error}"
                ) from None
            await line.send(Told(packed(told)))
        block.parity_bits = sum(frame.leaked_bits for frame in frames)
        block.flipped_bits = asked.flipped
