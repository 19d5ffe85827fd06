"""Two parties distil a key from clicks over an authenticated line, and throw a block away when they must."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bb84_runs import GOOD_LINK, GOOD_PULSES, Notes, distilled, notes, parties
from qkms_qkd.bb84.chain.authentication import SLOT_BYTES, AuthenticationKeys
from qkms_qkd.bb84.chain.block import Block, Limits
from qkms_qkd.bb84.chain.errors import AuthenticationKeyExhausted
from qkms_qkd.bb84.chain.finite_key import secret_key_bits
from qkms_qkd.bb84.chain.line import Wire
from qkms_qkd.bb84.chain.messages import (
    Amplify,
    Corrected,
    Detected,
    FrameSeed,
    Message,
    Parities,
    Sifted,
    Slots,
    Tag,
    Told,
    Verified,
    Verify,
    decode,
    encode,
)
from qkms_qkd.bb84.decoy import binary_entropy
from qkms_qkd.bb84.physics.records import Detections
from qkms_qkd.bb84.physics.setup import KEY_BASIS

SECRET = bytes(range(256)) * 2


@pytest.fixture(scope="module")
def written() -> Notes:
    return notes(GOOD_LINK, GOOD_PULSES)


class Tampering:
    """A wire that changes frames of one form on their way to the other end."""

    def __init__(self, end: Wire, form: type[Message], which: int, change: "Change") -> None:
        self._end, self._form, self._left, self._change = end, form, which, change
        self.done = False

    async def send(self, frame: bytes) -> None:
        if not self.done and isinstance(decode(frame), self._form):
            self._left -= 1
            if self._left < 0:
                self.done = True
                for changed in self._change(frame):
                    await self._end.send(changed)
                return
        await self._end.send(frame)

    async def receive(self) -> bytes:
        return await self._end.receive()


def as_integers(numbers: list[int]) -> bytes:
    """As they travel."""
    return np.array(numbers, dtype="<i8").tobytes()


class Change:
    """What becomes of a frame."""

    def __call__(self, frame: bytes) -> list[bytes]:
        """The frames that arrive instead."""
        raise NotImplementedError


class FlippedBit(Change):
    """One bit of the last byte: of the bits, of the value, of the count that the message ends with."""

    def __call__(self, frame: bytes) -> list[bytes]:
        return [frame[:-1] + bytes([frame[-1] ^ 1])]


class Twice(Change):
    """The frame, and again."""

    def __call__(self, frame: bytes) -> list[bytes]:
        return [frame, frame]


class Garbage(Change):
    """Bytes that are no message."""

    def __call__(self, frame: bytes) -> list[bytes]:
        return [b"\xc1" + frame]


def test_both_hold_the_same_key_of_the_proven_length(written: Notes) -> None:
    alice, bob = parties(GOOD_LINK, SECRET)
    hers, his = distilled((alice, bob), written)
    assert hers.discarded is his.discarded is None
    assert hers.key == his.key
    assert len(hers.key) > 200
    assert hers.bounds is not None
    # Told of the key: the parities and the value of 128 bits; the paper's log2(2/eps_cor) is one more.
    assert hers.secret_bits == secret_key_bits(hers.bounds, hers.parity_bits + 129) // 8 * 8
    assert 8 * (len(hers.key) + hers.replenished_bytes) == hers.secret_bits
    assert (hers.tally, hers.parity_bits, hers.flipped_bits) == (his.tally, his.parity_bits, his.flipped_bits)


def test_every_sifted_bit_is_accounted_for(written: Notes) -> None:
    sent, found = written
    hers, _ = distilled(parties(GOOD_LINK, SECRET), written)
    kept = (sent.basis == found.basis) & (sent.basis == KEY_BASIS)
    assert hers.sifted_bits == kept.sum() == sum(hers.tally.key)
    assert hers.flipped_bits == (kept & (sent.bit != found.bit)).sum() > 0
    rate = hers.flipped_bits / hers.sifted_bits
    assert 1.0 < hers.parity_bits / (hers.sifted_bits * binary_entropy(rate)) < 1.2


def test_authentication_lives_on_what_it_makes(written: Notes) -> None:
    pair = parties(GOOD_LINK, SECRET)
    keys = set()
    for block in range(5):
        hers, his = distilled(pair, written)
        keys.add(hers.key)
        assert hers.replenished_bytes == his.replenished_bytes == SLOT_BYTES
        assert pair[0].keys.held() == pair[1].keys.held() == list(range(block + 1, block + 5))
    # The same clicks, but each time another matrix. The last block ran on keys that the first one made.
    assert len(keys) == 5
    assert pair[0].keys.take(8).bob == pair[1].keys.take(8).bob


def test_out_of_authentication_key_the_link_stops() -> None:
    poor = notes(GOOD_LINK, 1000)
    pair = parties(GOOD_LINK, SECRET)
    for _ in range(4):
        assert distilled(pair, poor)[0].discarded is not None
    with pytest.raises(AuthenticationKeyExhausted, match="new pre-shared secret"):
        distilled(pair, poor)


def test_keys_that_only_one_end_has_are_not_used(written: Notes) -> None:
    alice, bob = parties(GOOD_LINK, SECRET)
    alice.keys.take(0)
    bob.keys.take(2)
    bob.keys.add(7, bytes(SLOT_BYTES))
    hers, his = distilled((alice, bob), written)
    assert hers.key == his.key != b""
    assert alice.keys.held() == bob.keys.held()
    assert alice.keys.left_slots == 1 + hers.replenished_bytes // SLOT_BYTES


def test_without_a_key_in_common_the_block_is_discarded(written: Notes) -> None:
    alice, bob = parties(GOOD_LINK, SECRET)
    bob.keys.keep_only([])
    bob.keys.add(7, bytes(SLOT_BYTES))
    hers, his = distilled((alice, bob), written)
    assert hers.discarded is not None
    assert hers.discarded.code == "AUTHENTICATION_KEY_NOT_SHARED"
    assert his.discarded is not None
    assert "pre-shared" in his.discarded.message


@pytest.mark.parametrize(
    ("form", "which", "by_alice"),
    [
        (Slots, 0, False),
        (Slots, 0, True),
        (Detected, 0, False),
        (Sifted, 0, True),
        (Parities, 0, False),
        (Told, 3, True),
        (Corrected, 0, False),
        (Verify, 0, True),
        (Verified, 0, False),
        (Amplify, 0, True),
        (Tag, 0, False),
        (Tag, 0, True),
        (Tag, 1, False),
        (Tag, 1, True),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
@pytest.mark.parametrize("change", [FlippedBit(), Garbage(), Twice()], ids=["flipped", "garbage", "twice"])
def test_a_tampered_message_costs_the_block(
    written: Notes, form: type[Message], which: int, by_alice: bool, change: Change
) -> None:
    pair = parties(GOOD_LINK, SECRET)
    tampering: list[Tampering] = []

    def wires(ends: tuple[Wire, Wire]) -> tuple[Wire, Wire]:
        tampering.append(Tampering(ends[0] if by_alice else ends[1], form, which, change))
        return (tampering[0], ends[1]) if by_alice else (ends[0], tampering[0])

    hers, his = distilled(pair, written, wires)
    assert tampering[0].done
    victim, other = (his, hers) if by_alice else (hers, his)
    # Repeating the last frame of either changes nothing: nobody reads it any more.
    last = isinstance(change, Twice) and form is Tag and which == 1
    if last:
        assert victim.key == other.key != b""
    else:
        assert_discarded(victim)
    # The next block is as if nothing had been, even if one end kept its key and the other did not.
    again, and_he = distilled(pair, written)
    assert again.discarded is and_he.discarded is None
    assert again.key == and_he.key != b""
    assert pair[0].keys.held() == pair[1].keys.held()


def assert_discarded(block: Block) -> None:
    assert block.discarded is not None
    assert block.discarded.code in ("MESSAGE_FORGED", "MESSAGE_MALFORMED", "NOT_VERIFIED", "PEER_DISCARDED")
    assert block.key == b""


_BYTES = st.binary(max_size=40)
_NUMBER = st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 40)
_FORGED = st.one_of(
    st.builds(Slots, st.lists(_NUMBER, max_size=5), st.none() | _NUMBER),
    st.builds(Detected, _NUMBER, st.lists(_NUMBER, max_size=5).map(as_integers), _BYTES, _BYTES, st.booleans()),
    st.builds(Sifted, _BYTES, _BYTES, _BYTES),
    st.builds(FrameSeed, _BYTES),
    st.builds(Parities, _NUMBER, _NUMBER, st.lists(_NUMBER, max_size=5).map(as_integers)),
    st.builds(Told, _BYTES),
    st.builds(Corrected, _NUMBER),
    st.builds(Verify, _BYTES, _BYTES),
    st.builds(Verified, st.booleans()),
    st.builds(Amplify, _NUMBER, _NUMBER, _NUMBER, _NUMBER, _BYTES),
    st.builds(Tag, _BYTES),
)


@settings(deadline=None, max_examples=120)
@given(forged=_FORGED, which=st.integers(0, 30), extra=st.booleans())
def test_whatever_is_forged_costs_a_block_and_nothing_else(forged: Message, which: int, extra: bool) -> None:
    """In place of a message of its form, or before it."""

    class Forgery(Change):
        def __call__(self, frame: bytes) -> list[bytes]:
            return [encode(forged), frame] if extra else [encode(forged)]

    few = notes(GOOD_LINK, 3000)
    pair = parties(GOOD_LINK, SECRET)
    forgery = Forgery()
    by_alice = isinstance(forged, Sifted | FrameSeed | Told | Verify | Amplify)

    def wires(ends: tuple[Wire, Wire]) -> tuple[Wire, Wire]:
        tampering = Tampering(ends[0] if by_alice else ends[1], type(forged), which % 3, forgery)
        return (tampering, ends[1]) if by_alice else (ends[0], tampering)

    for block in distilled(pair, few, wires):
        assert block.discarded is not None
        assert block.key == b""
    for block in distilled(pair, few):
        assert block.verified
    assert pair[0].keys.held() == pair[1].keys.held()


def test_a_stranger_without_the_secret_gets_no_key(written: Notes) -> None:
    alice, _ = parties(GOOD_LINK, SECRET)
    _, stranger = parties(GOOD_LINK, bytes(512))
    for block in distilled((alice, stranger), written):
        assert block.discarded is not None
        assert block.discarded.code in ("MESSAGE_FORGED", "PEER_DISCARDED")
        assert block.parity_bits == 0


def test_a_key_basis_that_is_worse_than_the_test_basis_is_seen(written: Notes) -> None:
    """An eavesdropper who measures in one basis only: the test basis is clean."""
    sent, found = written
    wrong = (found.basis == KEY_BASIS) & (np.random.default_rng(1).random(found.bit.size) < 0.12)
    attacked = replace(found, bit=found.bit ^ wrong.astype(np.uint8))
    hers, his = distilled(parties(GOOD_LINK, SECRET), (sent, attacked))
    assert hers.tally.qber is not None
    assert hers.tally.qber < 0.02
    for block in (hers, his):
        assert block.discarded is not None
        assert "key basis" in block.discarded.message


def test_the_limit_is_a_setting(written: Notes) -> None:
    hers, _ = distilled(parties(GOOD_LINK, SECRET, limits=Limits(max_qber=0.001)), written)
    assert hers.discarded is not None
    assert hers.discarded.code == "QBER_TOO_HIGH"
    assert "0.10%" in hers.discarded.message


def test_too_few_pulses_say_why(written: Notes) -> None:
    for pulses, why in ((2, "too few clicks"), (10_000, "single photon")):
        hers, _ = distilled(parties(GOOD_LINK, SECRET), notes(GOOD_LINK, pulses))
        assert hers.discarded is not None
        assert hers.discarded.code == "NO_SECRET_BITS"
        assert why in hers.discarded.message


def test_clicks_that_alice_never_sent_are_refused(written: Notes) -> None:
    sent, found = written
    shifted = Detections(found.position + 1, found.basis, found.bit, found.double, found.pulses)
    hers, his = distilled(parties(GOOD_LINK, SECRET), (sent, shifted))
    assert hers.discarded is not None
    assert hers.discarded.code == "MESSAGE_MALFORMED"
    assert_discarded(his)


def test_messages_and_blocks_show_no_key(written: Notes) -> None:
    hers, _ = distilled(parties(GOOD_LINK, SECRET), written)
    assert "redacted" in repr(hers)
    assert hers.key.hex() not in repr(hers)
    assert "redacted" in repr(written[0])
    assert "redacted" in repr(written[1])


def test_every_message_survives_its_coding() -> None:
    for message in (
        Parities(3, 1, bytes(8)),
        Told(b"\x80"),
        Corrected(7),
        Verified(True),
        Amplify(8, 9, 0, 4, b"\x00"),
    ):
        assert decode(encode(message)) == message


def test_the_two_ends_may_run_in_turn_on_any_wire(written: Notes) -> None:
    """Over a transport that delivers late, and one frame at a time, the outcome is the same."""

    class Late:
        def __init__(self, end: Wire) -> None:
            self._end = end

        async def send(self, frame: bytes) -> None:
            await asyncio.sleep(0)
            await self._end.send(bytes(frame))

        async def receive(self) -> bytes:
            await asyncio.sleep(0)
            return await self._end.receive()

    plain, _ = distilled(parties(GOOD_LINK, SECRET), written)
    late, _ = distilled(parties(GOOD_LINK, SECRET), written, lambda ends: (Late(ends[0]), Late(ends[1])))
    assert plain.key == late.key


def test_authentication_may_keep_a_larger_reserve(written: Notes) -> None:
    alice, bob = parties(GOOD_LINK, SECRET)
    alice.keys, bob.keys = (AuthenticationKeys(SECRET, reserve_slots=5) for _ in range(2))
    hers, his = distilled((alice, bob), written)
    assert hers.key == his.key
    assert hers.replenished_bytes == 2 * SLOT_BYTES
    assert alice.keys.held() == bob.keys.held() == [1, 2, 3, 4, 5]
