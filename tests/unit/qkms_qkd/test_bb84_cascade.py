"""Cascade: corrects what it should, counts every parity told, and fails only where verification sees it."""

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkms_qkd.bb84.chain.cascade import (
    FRAME_BITS,
    PASSES,
    Answers,
    Corrections,
    block_bits,
    frames,
    order,
    split,
)
from qkms_qkd.bb84.chain.errors import BlockDiscarded
from qkms_qkd.bb84.chain.verification import failure_probability, value
from qkms_qkd.bb84.decoy import binary_entropy
from qkms_qkd.bb84.physics.records import Bits

SEED = bytes(range(16))


def exchange(alice: Bits, bob: Bits, qber: float, seed: bytes = SEED) -> tuple[Answers, Corrections, int]:
    """Both sides after their exchange, and how many parities passed between them."""
    answers, corrections = Answers(alice, seed), Corrections(bob, seed, qber)
    questions = corrections.questions()
    told = 0
    question = next(questions)
    while True:
        parities = answers.parities(question.number, question.cuts)
        told += parities.size
        try:
            question = questions.send(parities)
        except StopIteration:
            return answers, corrections, told


def noisy(bits: int, qber: float, rng: np.random.Generator) -> tuple[Bits, Bits]:
    alice = rng.integers(0, 2, bits, dtype=np.uint8)
    return alice, alice ^ (rng.random(bits) < qber).astype(np.uint8)


@pytest.mark.parametrize("qber", [0.01, 0.02, 0.033, 0.05, 0.08])
def test_efficiency_at_ten_kilobits(qber: float) -> None:
    rng = np.random.default_rng(1)
    told = entropy = 0.0
    for _ in range(10):
        alice, bob = noisy(10_000, qber, rng)
        answers, corrections, counted = exchange(alice, bob, qber)
        assert (corrections.bits == alice).all()
        assert corrections.flipped == (alice != bob).sum()
        assert answers.leaked_bits == counted
        told += counted
        entropy += 10_000 * binary_entropy(float((alice != bob).mean()))
    assert 1.0 < told / entropy < 1.2


@settings(deadline=None, max_examples=150)
@given(
    bits=st.integers(1, 1500),
    qber=st.floats(0, 0.5),
    estimate=st.floats(0, 0.5),
    seed=st.binary(min_size=20, max_size=20),
)
def test_always_ends_equal_or_is_caught(bits: int, qber: float, estimate: float, seed: bytes) -> None:
    alice, bob = noisy(bits, qber, np.random.default_rng(list(seed)))
    answers, corrections, told = exchange(alice, bob, estimate, seed)
    equal = bool((corrections.bits == alice).all())
    assert equal == (value(corrections.bits, SEED) == value(alice, SEED))
    assert answers.leaked_bits == told
    assert (alice == answers.bits).all()


@settings(deadline=None, max_examples=60)
@given(bits=st.integers(1, 800), lies=st.floats(0.001, 1), seed=st.integers(0, 2**32))
def test_comes_to_an_end_whatever_is_told(bits: int, lies: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    alice, bob = noisy(bits, 0.05, rng)
    answers, corrections = Answers(alice, SEED), Corrections(bob, SEED, 0.05)
    questions = corrections.questions()
    question = next(questions)
    with suppress(StopIteration, BlockDiscarded):
        for _ in range(PASSES * bits + PASSES):
            told = answers.parities(question.number, question.cuts)
            question = questions.send(told ^ (rng.random(told.size) < lies).astype(np.uint8))
        raise AssertionError("more questions than there are cuts")


def test_one_error_is_found_by_halving() -> None:
    """Sixteen bits in blocks of four, the sixth wrong: the second block is odd, then its second half is not."""
    bits = np.array([1, 0, 0, 1, 1, 1, 0, 1, 0, 0, 1, 0, 1, 1, 0, 0], dtype=np.uint8)
    wrong = bits.copy()
    wrong[5] ^= 1
    answers, corrections = Answers(bits, SEED), Corrections(wrong, SEED, 0.2)
    questions = corrections.questions()
    asked = []
    question = next(questions)
    for _ in range(3):
        asked.append((question.number, question.cuts.tolist()))
        told = answers.parities(question.number, question.cuts)
        if len(asked) == 1:
            assert told.tolist() == [0, 1, 0, 0]
        question = questions.send(told)
    assert asked == [(0, [4, 8, 12, 16]), (0, [6]), (0, [5])]
    assert corrections.bits.tolist() == bits.tolist()
    # In passes 1 and 2 the frame is one block, whose parity is known.
    assert (question.number, question.cuts.tolist()) == (3, [8])


def test_without_errors_only_the_blocks_are_told() -> None:
    bits = np.random.default_rng(2).integers(0, 2, 10_000, dtype=np.uint8)
    answers, corrections, _ = exchange(bits, bits, 0.02)
    blocks = sum(-(-10_000 // size) for size in block_bits(10_000, 0.02))
    # The parity of the whole is told once, not in every pass.
    assert answers.leaked_bits == blocks - (PASSES - 1)
    assert corrections.flipped == 0


def test_orders_are_the_same_on_any_machine() -> None:
    assert order(SEED, 0, 5).tolist() == [0, 1, 2, 3, 4]
    assert order(SEED, 1, 8).tolist() == [0, 6, 2, 5, 7, 1, 3, 4]
    assert sorted(order(SEED, 3, 1000).tolist()) == list(range(1000))
    assert order(SEED, 3, 1000).tolist() != order(SEED, 4, 1000).tolist()


def test_frames_are_of_bounded_and_like_size() -> None:
    key = np.zeros(2 * FRAME_BITS + 2, dtype=np.uint8)
    sizes = [part.size for part in split(key)]
    assert sum(sizes) == key.size
    assert max(sizes) <= FRAME_BITS
    assert max(sizes) - min(sizes) <= 1
    one, two, _ = frames(key, SEED)
    assert one.seed != two.seed


@pytest.mark.parametrize(("number", "cuts"), [(-1, [1]), (PASSES, [1]), (0, [0]), (0, [101]), (0, [5, -3])])
def test_alice_answers_no_question_that_is_none(number: int, cuts: list[int]) -> None:
    answers = Answers(np.ones(100, dtype=np.uint8), SEED)
    with pytest.raises(ValueError, match=r"pass|frame"):
        answers.parities(number, np.array(cuts))
    assert answers.leaked_bits == 0


def test_one_wrong_bit_changes_the_verification_value() -> None:
    key = np.random.default_rng(3).integers(0, 2, 5000, dtype=np.uint8)
    point = bytes(range(1, 17))
    values = {value(key, point)}
    for place in (0, 7, 4999):
        other = key.copy()
        other[place] ^= 1
        values.add(value(other, point))
    assert len(values) == 4
    assert value(np.append(key, np.uint8(0)), point) not in values
    assert failure_probability(10**7) < 2**-86


def test_the_verification_value_is_a_polynomial_in_the_point() -> None:
    """Computed with Python's integers from RFC 8439, 2.5: coefficients of 16 bytes and a one, modulo 2^130 - 5."""
    key = np.random.default_rng(4).integers(0, 2, 1003, dtype=np.uint8)
    point = bytes(range(100, 116))
    data = (1003).to_bytes(8, "big") + np.packbits(key).tobytes()
    at = int.from_bytes(point, "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for start in range(0, len(data), 16):
        total = (total + int.from_bytes(data[start : start + 16] + b"\x01", "little")) * at % (2**130 - 5)
    assert value(key, point) == (total % 2**128).to_bytes(16, "little")
