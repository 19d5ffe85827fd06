"""Cascade error correction: Bob asks for parities, Alice answers, Bob flips his wrong bits.

Brassard and Salvail (Eurocrypt '93, LNCS 765, 410). The first block size and the many cheap last passes are as
Martinez-Mateo, Pacher, Peev, Ciurana and Martin recommend (Quantum Inf. Comput. 15, 453, 2015); the second and
third passes have smaller blocks than theirs, which costs 2% more parities and saves most exchanges. Every
parity that was ever told put to use. In each pass the bits are in another order; what Alice told of a pass are
parities of prefixes of that order, at cuts. Between two neighbouring cuts the parity is thus known, however it
was come by: blocks of the pass and pieces of earlier bisections alike. Where Bob's parity of a piece differs,
he bisects the piece: one new cut, one leaked bit. A corrected bit changes the piece that holds it in every
pass, which is the cascade. Each exchange bisects all odd pieces of one pass, the earliest that has any: its
pieces are disjoint, so no error is looked for twice.

The parties share no memory: `Answers` is Alice's, `Corrections` Bob's, messages pass between them. Orders come
from SHAKE-256 over a public seed, the same on any machine. Leaked: one bit per cut that was asked for. The
parity of the whole is told in the first pass and not again. Pure.
"""

import hashlib
import math
from collections.abc import Generator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from qkms_qkd.bb84.chain.errors import BlockDiscarded
from qkms_qkd.bb84.physics.records import Bits

Cuts = NDArray[np.int64]
PASSES = 14
SEED_BYTES = 16
FRAME_BITS = 1 << 16


def block_bits(frame_bits: int, qber: float) -> list[int]:
    """The block size of each pass, for a frame of so many bits at this error rate (a fraction)."""
    first = 2 ** math.ceil(math.log2(1.0 / min(0.25, max(qber, 1.0 / frame_bits))) - 0.5)
    sizes = [min(size, frame_bits) for size in (first, 4 * first, 64 * first)]
    return sizes + [max(1, (frame_bits + 1) // 2)] * (PASSES - len(sizes))


def split(key: Bits) -> list[Bits]:
    """The frames of a sifted key, as equal as can be, each of at most FRAME_BITS."""
    return np.array_split(key, max(1, -(-key.size // FRAME_BITS)))


def frame_seed(seed: bytes, frame: int) -> bytes:
    """The seed of the orders in this frame of the block."""
    return seed + frame.to_bytes(4, "big")


def order(seed: bytes, number: int, frame_bits: int) -> NDArray[np.int64]:
    """The order of the bits in pass `number`: the first pass has them as they came."""
    if number == 0:
        return np.arange(frame_bits)
    stream = hashlib.shake_256(seed + number.to_bytes(4, "big")).digest(8 * frame_bits)
    return np.argsort(np.frombuffer(stream, dtype="<u8"), kind="stable")


def _prefix_parities(bits: Bits) -> Bits:
    """Entry i is the parity of the first i bits."""
    return np.concatenate([np.zeros(1, np.uint8), np.bitwise_xor.accumulate(bits)])


@dataclass(slots=True)
class Answers:
    """Alice's side for one frame. `leaked_bits` counts what she told."""

    bits: Bits
    seed: bytes
    leaked_bits: int = 0
    _prefixes: dict[int, Bits] = field(default_factory=dict)

    def parities(self, number: int, cuts: Cuts) -> Bits:
        """The parities of the first `cuts[i]` bits in the order of pass `number`. Raises ValueError."""
        if not 0 <= number < PASSES:
            raise ValueError(f"there is no pass {number}")
        if cuts.size and not (cuts.min() >= 1 and cuts.max() <= self.bits.size):
            raise ValueError("a cut lies outside the frame")
        if number not in self._prefixes:
            self._prefixes[number] = _prefix_parities(self.bits[order(self.seed, number, self.bits.size)])
        self.leaked_bits += cuts.size
        return self._prefixes[number][cuts]

    def __repr__(self) -> str:
        return f"Answers(frame_bits={self.bits.size}, leaked_bits={self.leaked_bits})"


def frames(key: Bits, seed: bytes) -> list[Answers]:
    """Alice's side for every frame of a sifted key."""
    return [Answers(bits, frame_seed(seed, frame)) for frame, bits in enumerate(split(key))]


@dataclass(frozen=True, slots=True)
class Question:
    """Asks for the parities of the first `cuts[i]` bits in the order of pass `number`."""

    number: int
    cuts: Cuts


@dataclass(slots=True)
class _Pass:
    """`told` are Alice's prefix parities at `cuts`; `odd` says of each piece whether Bob's parity differs."""

    order: NDArray[np.int64]
    place: NDArray[np.int64]
    cuts: Cuts
    told: Bits
    odd: NDArray[np.bool_]


class Corrections:
    """Bob's side for one frame. `bits` are his, more and more corrected; `flipped` counts corrections."""

    def __init__(self, bits: Bits, seed: bytes, qber: float) -> None:
        self.bits = bits.copy()
        self.flipped = 0
        self._settled = np.zeros(bits.size, dtype=np.bool_)
        self._seed = seed
        self._sizes = block_bits(bits.size, qber)
        self._passes: list[_Pass] = []

    def questions(self) -> Generator[Question, Bits, None]:
        """Every question to Alice in turn; it must be sent Alice's parities for each. Comes to an end whatever is
        told: each question makes a cut, no bit is flipped twice. Raises BlockDiscarded."""
        for number, size in enumerate(self._sizes):
            yield from self._open(number, size)
            while (
                busy := next((one for one in range(number + 1) if self._passes[one].odd.any()), None)
            ) is not None:
                yield from self._narrow(busy)

    def _open(self, number: int, size: int) -> Generator[Question, Bits, None]:
        frame = self.bits.size
        cuts = np.append(np.arange(0, frame, size), frame)
        zero = np.zeros(1, np.uint8)
        if number == 0:
            told = np.append(zero, (yield Question(number, cuts[1:])))
        else:
            inner = (yield Question(number, cuts[1:-1])) if cuts.size > 2 else zero[:0]
            told = np.concatenate([zero, inner, self._passes[0].told[-1:]])
        arrangement = order(self._seed, number, frame)
        place = np.empty_like(arrangement)
        place[arrangement] = np.arange(frame)
        differs = told ^ _prefix_parities(self.bits[arrangement])[cuts]
        self._passes.append(_Pass(arrangement, place, cuts, told, differs[1:] != differs[:-1]))

    def _narrow(self, number: int) -> Generator[Question, Bits, None]:
        """Flips the odd pieces of one bit, or else halves all odd pieces of the pass."""
        one = self._passes[number]
        odd = np.flatnonzero(one.odd)
        low, high = one.cuts[odd], one.cuts[odd + 1]
        if (single := high - low == 1).any():
            self._flip(one.order[low[single]])
            return
        middle = (low + high) // 2
        told = yield Question(number, middle)
        in_left = (told ^ one.told[odd] ^ self._left_parities(one, low, middle)) == 1
        one.odd[odd] = in_left
        one.odd = np.insert(one.odd, odd + 1, ~in_left)
        one.cuts = np.insert(one.cuts, odd + 1, middle)
        one.told = np.insert(one.told, odd + 1, told)

    def _left_parities(self, one: _Pass, low: Cuts, middle: Cuts) -> Bits:
        """Bob's parities of the bits from `low` to `middle`, none of them empty."""
        lengths = middle - low
        starts = np.cumsum(lengths) - lengths
        places = np.arange(int(lengths.sum())) + np.repeat(low - starts, lengths)
        return np.bitwise_xor.reduceat(self.bits[one.order[places]], starts)

    def _flip(self, wrong: NDArray[np.int64]) -> None:
        # Alice told the very bits that are flipped here. To flip one back she must have told something else.
        if self._settled[wrong].any():
            raise BlockDiscarded("MESSAGE_FORGED", "the parities that were told contradict each other")
        self._settled[wrong] = True
        self.bits[wrong] ^= 1
        self.flipped += wrong.size
        for one in self._passes:
            piece = np.searchsorted(one.cuts, one.place[wrong], side="right") - 1
            np.logical_xor.at(one.odd, piece, True)
