"""What becomes of one block at either party: the record, and the judgements that both make alike. Pure."""

import math
from dataclasses import dataclass, field

from qkms_qkd.bb84.chain.authentication import SLOT_BYTES, AuthenticationKeys
from qkms_qkd.bb84.chain.errors import BlockDiscarded
from qkms_qkd.bb84.chain.finite_key import EPS_SECRET, Bounds, overhead_bits, secret_key_bits
from qkms_qkd.bb84.chain.messages import Amplify, packed
from qkms_qkd.bb84.chain.tally import Tally
from qkms_qkd.bb84.chain.toeplitz import amplify
from qkms_qkd.bb84.chain.verification import VALUE_BITS
from qkms_qkd.bb84.physics.records import Bits

MAX_QBER = 0.11
"""Where 1 - 2 H2(e) ends: no one-way error correction leaves a secret above it."""


@dataclass(frozen=True, slots=True)
class Limits:
    """`max_qber` (a fraction): blocks above are discarded. `eps_secret`: see `finite_key`."""

    max_qber: float = MAX_QBER
    eps_secret: float = EPS_SECRET


@dataclass(slots=True)
class Block:
    """How far a block came, at one party. `key` is what may be used, `discarded` why there is none.

    Of the `secret_bits` that privacy amplification gave, `replenished_bytes` went to authentication."""

    tally: Tally = field(default_factory=Tally)
    bounds: Bounds | None = None
    sifted_bits: int = 0
    flipped_bits: int = 0
    parity_bits: int = 0
    verified: bool = False
    secret_bits: int = 0
    replenished_bytes: int = 0
    sent_bytes: int = 0
    sent_frames: int = 0
    key: bytes = b""
    discarded: BlockDiscarded | None = None

    def __repr__(self) -> str:
        state = self.discarded.code if self.discarded else f"{self.secret_bits} secret bits"
        return f"Block({state}, sifted_bits={self.sifted_bits}, key=<redacted>)"

    @property
    def leaked_bits(self) -> int:
        """What was said about the key: parities, the verification value, and one bit by its correctness term."""
        return self.parity_bits + VALUE_BITS + 1


def judge_test_basis(block: Block, limits: Limits) -> float:
    """The QBER of the test basis, if the block may go on. Raises BlockDiscarded."""
    qber = block.tally.qber
    if qber is None or not block.sifted_bits:
        raise BlockDiscarded("NO_SECRET_BITS", "too few clicks: one of the bases has none; send more pulses")
    if qber > limits.max_qber:
        raise BlockDiscarded(
            "QBER_TOO_HIGH", f"QBER {qber:.2%} in the test basis, the limit is {limits.max_qber:.2%}"
        )
    return qber


def judge_key_basis(block: Block, limits: Limits) -> None:
    """Whether as many errors were corrected as may have been. Raises BlockDiscarded."""
    qber = block.flipped_bits / block.sifted_bits
    if qber > limits.max_qber:
        raise BlockDiscarded(
            "QBER_TOO_HIGH", f"QBER {qber:.2%} in the key basis, the limit is {limits.max_qber:.2%}"
        )


def key_length(block: Block, limits: Limits) -> int:
    """The length of the key in bits, whole bytes. Raises BlockDiscarded."""
    if block.bounds is None:
        raise ValueError("a block needs bounds first")
    length = secret_key_bits(block.bounds, block.leaked_bits, limits.eps_secret) // 8 * 8
    if length == 0:
        raise BlockDiscarded("NO_SECRET_BITS", why_no_key(block.bounds, block, limits))
    return length


def why_no_key(found: Bounds, block: Block, limits: Limits) -> str:
    """The finite-size account of a block without a key."""
    if found.key_single <= 0 or found.test_single <= 0:
        basis = "key" if found.key_single <= 0 else "test"
        return f"the decoys prove no click in the {basis} basis to come from a single photon"
    need = block.leaked_bits + math.ceil(overhead_bits(limits.eps_secret))
    if found.phase_error >= 0.5:
        return "the test basis allows any phase error: too few or too many errors to tell"
    return (
        f"at most {found.phase_error:.1%} phase errors leave {found.secret_bits:.0f} secret bits, "
        f"and {need} were told or are spent on privacy amplification"
    )


def finish(block: Block, corrected: Bits, final: Amplify, seed: Bits, keys: AuthenticationKeys) -> None:
    """Makes the key, and gives authentication its share first."""
    secret = packed(amplify(corrected, final.key_bits, seed))
    share = final.slots * SLOT_BYTES
    keys.add(final.first_slot, secret[:share])
    block.secret_bits, block.replenished_bytes = final.key_bits, share
    block.key = secret[share:]
