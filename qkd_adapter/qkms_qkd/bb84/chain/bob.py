"""Bob: he measured the pulses. He reports clicks, asks for parities and corrects his bits to Alice's.

See `alice` for the order of a block. An alarm of his detectors' monitor ends the block before anything is said.
"""

from collections.abc import Callable

import numpy as np

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
    packed,
    unpacked,
)
from qkms_qkd.bb84.chain.opening import open_as_bob
from qkms_qkd.bb84.chain.tally import tally
from qkms_qkd.bb84.chain.toeplitz import seed_bits
from qkms_qkd.bb84.chain.verification import POINT_BYTES, value
from qkms_qkd.bb84.physics.records import Bits, Detections
from qkms_qkd.bb84.physics.setup import KEY_BASIS, TEST_BASIS, Setup

PORTION_CLICKS = 1 << 18
"""Clicks per message: about 2.2 MB."""


class Bob:
    """The other end of the link."""

    def __init__(
        self,
        setup: Setup,
        keys: AuthenticationKeys,
        limits: Limits,
        progress: Callable[[float], None] = lambda done: None,
    ) -> None:
        """`progress` is told how much of the error correction is done (0 to 1)."""
        self.keys = keys
        self._progress = progress
        self._setup = setup
        self._limits = limits

    async def distil(self, found: Detections, wire: Wire, alarm: str | None = None) -> Block:
        """His account of the block. `alarm` is what the monitor says of the detectors. Raises
        AuthenticationKeyExhausted."""

        async def opened() -> tuple[Line, list[int]]:
            if alarm is not None:
                raise BlockDiscarded("DETECTORS_BLINDED", alarm)
            return await open_as_bob(wire, self.keys)

        async def steps(block: Block, line: Line, alices_slots: list[int]) -> None:
            await self._distil(block, found, line, alices_slots)

        return await account(wire, opened, steps)

    async def _distil(self, block: Block, found: Detections, line: Line, alices_slots: list[int]) -> None:
        raw = await self._sift(block, found, line)
        await line.confirm()
        self.keys.keep_only(alices_slots)
        qber = judge_test_basis(block, self._limits)
        block.bounds = bounds(block.tally, self._setup, self._limits.eps_secret)
        key = await self._correct(block, raw, qber, line)
        judge_key_basis(block, self._limits)

        asked = await line.receive(Verify)
        if len(asked.point) != POINT_BYTES:
            raise BlockDiscarded("MESSAGE_MALFORMED", f"the point of verification has {len(asked.point)} bytes")
        block.verified = value(key, asked.point) == asked.value
        await line.send(Verified(block.verified))
        if not block.verified:
            raise BlockDiscarded("NOT_VERIFIED", "the keys differ after error correction")

        final = await line.receive(Amplify)
        if final.leaked_bits != block.parity_bits or not 0 < final.key_bits <= key_length(block, self._limits):
            raise BlockDiscarded(
                "MESSAGE_MALFORMED", "the other party counts other bits told, or wants a longer key"
            )
        if not 0 <= final.slots * SLOT_BYTES * 8 <= final.key_bits:
            raise BlockDiscarded("MESSAGE_MALFORMED", "more authentication keys are to be made than the key holds")
        seed = unpacked(final.seed, seed_bits(key.size, final.key_bits))
        await line.confirm()
        finish(block, key, final, seed, self.keys)

    async def _sift(self, block: Block, found: Detections, line: Line) -> Bits:
        """His sifted key, still with errors; fills the tally."""
        parts: list[Bits] = []
        number = found.position.size
        for start in range(0, max(1, number), PORTION_CLICKS):
            stop = min(number, start + PORTION_CLICKS)
            basis, bit = found.basis[start:stop], found.bit[start:stop]
            positions = found.position[start:stop].astype("<i8").tobytes()
            test_bits = packed(bit[basis == TEST_BASIS])
            await line.send(Detected(stop - start, positions, packed(basis), test_bits, stop < number))
            heard = await line.receive(Sifted)
            same = unpacked(heard.kept, stop - start) == 1
            basis, bit = basis[same], bit[same]
            mine = bit[basis == TEST_BASIS]
            hers = unpacked(heard.test_bits, mine.size)
            parts.append(bit[basis == KEY_BASIS])
            block.tally += tally(basis, _intensities(heard.intensities, basis.size), mine ^ hers)
        key = np.concatenate(parts)
        block.sifted_bits = key.size
        return key

    async def _correct(self, block: Block, raw: Bits, qber: float, line: Line) -> Bits:
        """His key after error correction."""
        seed = (await line.receive(FrameSeed)).seed
        parts: list[Bits] = []
        frames = cascade.split(raw)
        for frame, bits in enumerate(frames):
            corrections = cascade.Corrections(bits, cascade.frame_seed(seed, frame), qber)
            questions = corrections.questions()
            question = next(questions, None)
            while question is not None:
                await line.send(Parities(frame, question.number, question.cuts.astype("<i8").tobytes()))
                told = unpacked((await line.receive(Told)).bits, question.cuts.size)
                block.parity_bits += question.cuts.size
                try:
                    question = questions.send(told)
                except StopIteration:
                    question = None
            block.flipped_bits += corrections.flipped
            parts.append(corrections.bits)
            self._progress((frame + 1) / len(frames))
        await line.send(Corrected(block.flipped_bits))
        return np.concatenate(parts)


def _intensities(data: bytes, count: int) -> Bits:
    found = np.frombuffer(data, np.uint8)
    if found.size != count or (found > 2).any():
        raise BlockDiscarded("MESSAGE_MALFORMED", "the intensities of the sifted clicks make no sense")
    return found
