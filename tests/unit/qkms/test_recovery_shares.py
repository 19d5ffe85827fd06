"""Recovery shares as text: typing errors, wrong, mixed and forged shares are told and open nothing."""

import secrets
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkms.errors import InvalidInput, SealedRejected, SharesRejected
from qkms.recovery import (
    SHARED_BYTES,
    RecoveryKey,
    RecoveryShare,
    join_shares,
    make_shares,
    read_share,
    share_text,
)
from qkms.sealed import OVERHEAD, open_sealed_to, seal_to


def made(threshold: int = 3, count: int = 5) -> tuple[RecoveryKey, list[RecoveryShare]]:
    coefficients = secrets.token_bytes((threshold - 1) * SHARED_BYTES)
    return make_shares(secrets.token_bytes(32), secrets.token_bytes(8), threshold, count, coefficients)


KEY, SHARES = made()
TEXTS = [share_text(share) for share in SHARES]


@pytest.mark.parametrize("chosen", [(0, 1, 2), (4, 2, 0), (0, 1, 2, 3, 4), (1, 1, 3, 4)])
def test_enough_shares_give_the_key_that_roots_were_sealed_to(chosen: tuple[int, ...]) -> None:
    sealed = seal_to(KEY.private.public, b"root", ("purpose", 1))
    key = join_shares([read_share(TEXTS[i]) for i in chosen])
    assert (key.set_id, key.threshold) == (KEY.set_id, 3)
    assert open_sealed_to(key.private, sealed, ("purpose", 1)) == b"root"
    assert len(sealed) == OVERHEAD + 4


def test_a_share_is_read_however_it_was_typed() -> None:
    typed = TEXTS[0].upper().replace("-", " - ").replace("QKMSR1 -", "QKMSR1-", 1)
    assert read_share(f"  {typed}\n").data == SHARES[0].data


@settings(max_examples=60)
@given(st.integers(7, len(TEXTS[0]) - 1), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_one_wrong_character_is_noticed(place: int, letter: str) -> None:
    text = TEXTS[0]
    if text[place] in ("-", letter):
        return
    with pytest.raises(SharesRejected, match="typing error"):
        read_share(text[:place] + letter + text[place + 1 :])


@settings(max_examples=40)
@given(st.text(max_size=200) | st.text(alphabet="abcdef234567-", max_size=200).map(lambda t: "qkmsr1-" + t))
def test_any_text_is_refused_without_a_crash(text: str) -> None:
    with pytest.raises(SharesRejected):
        read_share(text)


def test_too_few_mixed_and_forged_shares_are_told_apart() -> None:
    _, others = made()
    forged = replace(SHARES[2], data=bytes([SHARES[2].data[0] ^ 1]) + SHARES[2].data[1:])
    foreign = replace(others[0], set_id=SHARES[0].set_id)
    for shares, told in (
        ([], "no recovery shares"),
        (SHARES[:2], "2 different shares .* it takes 3"),
        ([*SHARES[:2], SHARES[1]], "2 different shares"),
        ([*SHARES[:2], others[2]], "different sets"),
        ([*SHARES[:2], forged], "do not belong together"),
        ([*SHARES[:2], foreign], "contradict each other"),
        ([*SHARES[1:3], foreign], "do not belong together"),
        ([*SHARES[:3], forged], "contradict each other"),
        ([*SHARES[:2], replace(SHARES[2], threshold=2)], "contradict each other"),
        ([replace(s, threshold=2) for s in SHARES[:2]], "do not belong together"),
    ):
        with pytest.raises(SharesRejected, match=told):
            join_shares(shares)


def test_another_set_opens_nothing() -> None:
    key, _ = made()
    sealed = seal_to(KEY.private.public, b"root", ("a",))
    for private, purpose in ((key.private, ("a",)), (KEY.private, ("b",))):
        with pytest.raises(SealedRejected):
            open_sealed_to(private, sealed, purpose)
    for damaged in (b"", sealed[:-1], sealed[:-1] + b"x", bytes(len(sealed))):
        with pytest.raises(SealedRejected):
            open_sealed_to(KEY.private, damaged, ("a",))


def test_shares_do_not_show_themselves() -> None:
    assert repr(SHARES[0]) == "RecoveryShare(redacted)"
    assert repr(KEY) == "RecoveryKey(redacted)"
    with pytest.raises(InvalidInput):
        make_shares(bytes(31), bytes(8), 2, 3, bytes(48))
