"""Tags of the classical line: Wegman-Carter, one key each, from a store that runs out."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkms_qkd.bb84.chain.authentication import SLOT_BYTES, AuthenticationKeys, RunningTag
from qkms_qkd.bb84.chain.errors import AuthenticationKeyExhausted

KEY = bytes(range(1, 33))


def tag(frames: list[bytes], key: bytes = KEY) -> bytes:
    running = RunningTag(key)
    for frame in frames:
        running.add(frame)
    return running.tag()


@settings(deadline=None)
@given(st.lists(st.binary(max_size=70), max_size=6), st.binary(min_size=32, max_size=32))
def test_as_computed_with_integers(frames: list[bytes], key: bytes) -> None:
    """RFC 8439, 2.5: a polynomial modulo 2^130 - 5 at r, and the one-time pad s added."""
    data = b"".join(len(frame).to_bytes(8, "big") + frame for frame in frames)
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    total = 0
    for start in range(0, len(data), 16):
        total = (total + int.from_bytes(data[start : start + 16] + b"\x01", "little")) * r % (2**130 - 5)
    assert tag(frames, key) == ((total + int.from_bytes(key[16:], "little")) % 2**128).to_bytes(16, "little")


@settings(deadline=None)
@given(
    frames=st.lists(st.binary(max_size=40), min_size=1, max_size=5),
    other=st.lists(st.binary(max_size=40), min_size=1, max_size=5),
)
def test_other_frames_have_other_tags(frames: list[bytes], other: list[bytes]) -> None:
    assert (tag(frames) == tag(other)) == (frames == other)


@settings(deadline=None)
@given(frames=st.lists(st.binary(min_size=1, max_size=40), min_size=2, max_size=5), data=st.data())
def test_frames_cannot_be_changed_joined_swapped_or_left_out(frames: list[bytes], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(frames) - 2))
    bit = data.draw(st.integers(0, 8 * len(frames[at]) - 1))
    flipped = bytearray(frames[at])
    flipped[bit // 8] ^= 1 << bit % 8
    forged = [
        [*frames[:at], bytes(flipped), *frames[at + 1 :]],
        [*frames[:at], frames[at] + frames[at + 1], *frames[at + 2 :]],
        [*frames[:at], *frames[at + 1 :]],
        [*frames, b""],
    ]
    if frames[at] != frames[at + 1]:
        forged.append([*frames[:at], frames[at + 1], frames[at], *frames[at + 2 :]])
    assert all(tag(other) != tag(frames) for other in forged)


def test_both_ends_take_the_same_keys_and_none_twice() -> None:
    secret = bytes(i % 251 for i in range(2 * SLOT_BYTES))
    one, other = AuthenticationKeys(secret), AuthenticationKeys(secret)
    taken = []
    for slot in (0, 1):
        keys, again = one.take(slot), other.take(slot)
        assert (keys.alice, keys.bob) == (again.alice, again.bob)
        taken += [*keys.alice, *keys.bob]
    assert len(set(taken)) == 8
    assert b"".join(taken) == secret
    with pytest.raises(KeyError):
        one.take(0)


def test_exhausted_keys_say_what_to_do() -> None:
    keys = AuthenticationKeys(bytes(2 * SLOT_BYTES - 1))
    assert keys.held() == [0]
    keys.take(0)
    with pytest.raises(AuthenticationKeyExhausted, match=r"new pre-shared secret") as raised:
        keys.held()
    assert raised.value.code == "AUTHENTICATION_KEY_EXHAUSTED"


def test_the_store_is_filled_up_to_where_it_began() -> None:
    keys = AuthenticationKeys(bytes(4 * SLOT_BYTES))
    assert keys.wanted_slots == 0
    keys.take(2)
    keys.take(0)
    assert keys.wanted_slots == 2
    keys.add(keys.reserve_numbers(1), bytes(SLOT_BYTES))
    assert (keys.held(), keys.wanted_slots) == ([1, 3, 4], 1)


def test_numbers_are_never_given_again() -> None:
    """Not those of slots that were promised and never made, nor those of slots that the other party made."""
    keys = AuthenticationKeys(bytes(SLOT_BYTES))
    assert [keys.reserve_numbers(3), keys.reserve_numbers(1)] == [1, 4]
    keys.add(9, bytes(2 * SLOT_BYTES))
    assert keys.reserve_numbers(1) == 11


def test_what_only_one_holds_is_dropped() -> None:
    keys = AuthenticationKeys(bytes(4 * SLOT_BYTES))
    keys.keep_only([1, 3, 7])
    assert keys.held() == [1, 3]


def test_secrets_are_not_shown() -> None:
    keys = AuthenticationKeys(b"\xabSECRET" * 32)
    shown = f"{keys!r} {keys.take(0)!r}"
    assert "SECRET" not in shown
