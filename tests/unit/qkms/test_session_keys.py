"""The session key schedule: its vectors, and that it depends on everything both ends agreed on."""

import copy
import json
import pickle
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkms.errors import CryptoError, InvalidInput
from qkms.kem import HybridCiphertext, HybridPrivateKey, HybridPublicKey, SharedSecrets
from qkms.session import (
    Answer,
    Initiator,
    Offer,
    Parameters,
    Party,
    Responder,
    SessionKeys,
    SessionRejected,
    check_tag,
    confirm_tag,
    derive_keys,
    fingerprint,
    transcript_hash,
)

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "vectors" / "session.json").read_text())[
    "cases"
]

BYTES = {
    "initiator_private",
    "initiator_nonce",
    "mlkem_ciphertext",
    "responder_x25519",
    "responder_nonce",
    "responder_tag",
    "psk",
}

PSK = bytes(range(32))
SECRETS = SharedSecrets(b"m" * 32, b"x" * 32)
PARAMETERS = Parameters("id", "alice", "bob", 7, ("k1", "k2"))
OFFER = Offer(HybridPublicKey(b"e" * 1184, b"i" * 32), b"n" * 32)
ANSWER = Answer(HybridCiphertext(b"c" * 1088, b"r" * 32), b"o" * 32)
KEYS = derive_keys(PSK, SECRETS, 1, bytes(32))


def run_initiator(case: dict[str, Any]) -> tuple[SessionKeys, bytes]:
    raw = {name: bytes.fromhex(value) for name, value in case.items() if name in BYTES}
    initiator = Initiator(HybridPrivateKey.from_bytes(raw["initiator_private"]), raw["initiator_nonce"])
    parameters = Parameters(
        case["session_id"], case["initiator"], case["responder"], case["epoch"],
        tuple(case["qkd_key_ids"]), case["suite"],
    )  # fmt: skip
    ciphertext = HybridCiphertext(raw["mlkem_ciphertext"], raw["responder_x25519"])
    keys, th = initiator.finish(parameters, Answer(ciphertext, raw["responder_nonce"]), raw["psk"])
    check_tag(keys, Party.RESPONDER, th, raw["responder_tag"])
    return keys, th


@pytest.mark.parametrize("case", [c for c in VECTORS if "fails" not in c], ids=lambda c: c["title"])
def test_vectors_that_hold(case: dict[str, Any]) -> None:
    keys, th = run_initiator(case)
    assert th.hex() == case["transcript_hash"]
    for field in fields(SessionKeys):
        assert getattr(keys, field.name).hex() == case[field.name]
    assert confirm_tag(keys, Party.INITIATOR, th).hex() == case["initiator_tag"]
    assert fingerprint(keys) == case["fingerprint"]


@pytest.mark.parametrize("case", [c for c in VECTORS if "fails" in c], ids=lambda c: c["title"])
def test_vectors_that_fail(case: dict[str, Any]) -> None:
    with pytest.raises(CryptoError) as caught:
        run_initiator(case)
    assert caught.value.code == case["fails"]
    assert case["psk"] not in str(caught.value)


def agree(
    party_change: dict[str, Any] | None = None, psk: bytes = PSK
) -> tuple[SessionKeys, SessionKeys, bytes, bytes]:
    initiator = Initiator(HybridPrivateKey.generate(), b"1" * 32)
    responder = Responder(initiator.offer, b"2" * 32)
    ours, our_th = initiator.finish(PARAMETERS, responder.answer, PSK)
    theirs, their_th = responder.finish(replace(PARAMETERS, **(party_change or {})), psk)
    return ours, theirs, our_th, their_th


def test_both_ends_agree_and_confirm() -> None:
    ours, theirs, our_th, their_th = agree()
    assert our_th == their_th
    for field in fields(SessionKeys):
        assert getattr(ours, field.name) == getattr(theirs, field.name)
    check_tag(ours, Party.RESPONDER, our_th, confirm_tag(theirs, Party.RESPONDER, their_th))
    check_tag(theirs, Party.INITIATOR, their_th, confirm_tag(ours, Party.INITIATOR, our_th))
    assert fingerprint(ours) == fingerprint(theirs)


@pytest.mark.parametrize(
    "change",
    [
        {"session_id": "other"},
        {"initiator": "mallory"},
        {"responder": "mallory"},
        {"epoch": 8},
        {"qkd_key_ids": ("k1",)},
        {"qkd_key_ids": ("k1", "k3")},
        {"qkd_key_ids": ("k1k2",)},
        {"initiator": "aliceb", "responder": "ob"},
    ],
    ids=str,
)
def test_ends_that_differ_do_not_confirm(change: dict[str, Any]) -> None:
    ours, theirs, our_th, their_th = agree(change)
    assert fingerprint(ours) != fingerprint(theirs)
    with pytest.raises(SessionRejected, match="responder's confirmation tag"):
        check_tag(ours, Party.RESPONDER, our_th, confirm_tag(theirs, Party.RESPONDER, their_th))


def test_ends_with_another_psk_do_not_confirm() -> None:
    ours, theirs, our_th, their_th = agree(psk=bytes(32))
    assert our_th == their_th
    with pytest.raises(SessionRejected):
        check_tag(theirs, Party.INITIATOR, their_th, confirm_tag(ours, Party.INITIATOR, our_th))


def test_an_offer_cannot_be_answered_for_another_key() -> None:
    initiator, other = (Initiator(HybridPrivateKey.generate(), bytes(32)) for _ in range(2))
    responder = Responder(other.offer, b"2" * 32)
    ours, our_th = initiator.finish(PARAMETERS, responder.answer, PSK)
    theirs, their_th = responder.finish(PARAMETERS, PSK)
    with pytest.raises(SessionRejected):
        check_tag(ours, Party.RESPONDER, our_th, confirm_tag(theirs, Party.RESPONDER, their_th))


def test_transcript_does_not_depend_on_the_order_of_key_ids() -> None:
    turned = replace(PARAMETERS, qkd_key_ids=("k2", "k1"))
    assert transcript_hash(turned, OFFER, ANSWER) == transcript_hash(PARAMETERS, OFFER, ANSWER)


def flip(data: bytes, bit: int) -> bytes:
    index = bit // 8 % len(data)
    return data[:index] + bytes([data[index] ^ 1 << bit % 8]) + data[index + 1 :]


@given(st.sampled_from(["mlkem", "x25519", "nonce"]), st.booleans(), st.integers(0, 1184 * 8 - 1))
def test_transcript_depends_on_every_bit_of_offer_and_answer(part: str, of_offer: bool, bit: int) -> None:
    offer, answer = OFFER, ANSWER
    if part == "nonce":
        offer = replace(offer, nonce=flip(offer.nonce, bit)) if of_offer else offer
        answer = answer if of_offer else replace(answer, nonce=flip(answer.nonce, bit))
    elif of_offer:
        altered = flip(getattr(offer.public, part), bit)
        offer = replace(offer, public=replace(offer.public, **{part: altered}))
    else:
        altered = flip(getattr(answer.ciphertext, part), bit)
        answer = replace(answer, ciphertext=replace(answer.ciphertext, **{part: altered}))
    assert transcript_hash(PARAMETERS, offer, answer) != transcript_hash(PARAMETERS, OFFER, ANSWER)


def test_nonces_and_x25519_keys_are_not_interchangeable() -> None:
    turned_offer, turned_answer = replace(OFFER, nonce=ANSWER.nonce), replace(ANSWER, nonce=OFFER.nonce)
    assert transcript_hash(PARAMETERS, turned_offer, turned_answer) != transcript_hash(PARAMETERS, OFFER, ANSWER)


@given(
    st.sampled_from(["psk", "mlkem", "x25519", "th", "suite"]),
    st.integers(0, 255),
)
def test_every_key_depends_on_every_bit_of_every_secret(part: str, bit: int) -> None:
    psk, secrets, th, suite = PSK, SECRETS, bytes(32), 1
    if part == "psk":
        psk = flip(psk, bit)
    elif part == "th":
        th = flip(th, bit)
    elif part == "suite":
        suite = 2 + bit
    else:
        secrets = replace(secrets, **{part: flip(getattr(secrets, part), bit)})
    changed = derive_keys(psk, secrets, suite, th)
    for field in fields(SessionKeys):
        assert getattr(changed, field.name) != getattr(KEYS, field.name)


def test_the_four_keys_and_the_fingerprint_differ() -> None:
    keys = {getattr(KEYS, field.name) for field in fields(SessionKeys)}
    assert len(keys) == 4
    assert {len(key) for key in keys} == {32}
    assert len(fingerprint(KEYS)) == 32
    assert not any(fingerprint(KEYS) in key.hex() for key in keys)


@given(st.integers(0, 255))
def test_every_bit_of_a_tag_counts(bit: int) -> None:
    tag = confirm_tag(KEYS, Party.INITIATOR, bytes(32))
    check_tag(KEYS, Party.INITIATOR, bytes(32), tag)
    with pytest.raises(SessionRejected):
        check_tag(KEYS, Party.INITIATOR, bytes(32), flip(tag, bit))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_psk_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(InvalidInput, match=str(size)):
        derive_keys(bytes(size), SECRETS, 1, bytes(32))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_nonce_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(SessionRejected, match="offer"):
        Initiator(HybridPrivateKey.generate(), bytes(size))
    with pytest.raises(SessionRejected, match="answer"):
        Responder(Offer(HybridPrivateKey.generate().public, bytes(32)), bytes(size))


def test_secrets_of_a_session_do_not_leak_by_accident() -> None:
    initiator = Initiator(HybridPrivateKey.generate(), bytes(32))
    for holder in (KEYS, initiator, Responder(initiator.offer, bytes(32))):
        assert repr(holder) == f"{holder}" == f"{type(holder).__name__}(redacted)"
        for leak in (pickle.dumps, copy.copy, copy.deepcopy, hash):
            with pytest.raises(TypeError, match=type(holder).__name__):
                leak(holder)
        with pytest.raises(TypeError, match="constant time"):
            assert holder == holder
