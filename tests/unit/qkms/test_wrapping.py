"""Material wrapped for transport: opens for its key and purpose only, and any tool's RSA-OAEP opens too."""

import hashlib
import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.keywrap import aes_key_wrap_with_padding
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from pqcrypto.kem import ml_kem_768

from qkms import labels
from qkms.errors import InvalidInput
from qkms.hkdf import expand
from qkms.wrapping import Method, WrappingPrivateKey, WrappingRejected, wrap

PURPOSE = "keys/payments/imports/1"
KEYS = {method: WrappingPrivateKey.generate(method) for method in Method}
OTHERS = {method: WrappingPrivateKey.generate(method) for method in Method}


def spki(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("method", list(Method), ids=lambda m: m.name)
@settings(max_examples=20, deadline=None)
@given(material=st.binary(min_size=1, max_size=318))
def test_what_is_wrapped_opens_again(method: Method, material: bytes) -> None:
    assert KEYS[method].unwrap(wrap(method, KEYS[method].public, material, PURPOSE), PURPOSE) == material


@pytest.mark.parametrize("method", list(Method), ids=lambda m: m.name)
def test_it_opens_for_no_other_key_and_in_no_other_form(method: Method) -> None:
    wrapped = wrap(method, KEYS[method].public, bytes(32), PURPOSE)
    with pytest.raises(WrappingRejected):
        OTHERS[method].unwrap(wrapped, PURPOSE)
    for bad in (b"", wrapped[:-1], wrapped + b"x", wrapped[:-1] + bytes([wrapped[-1] ^ 1]), bytes(len(wrapped))):
        with pytest.raises(WrappingRejected) as refused:
            KEYS[method].unwrap(bad, PURPOSE)
        assert refused.value.__cause__ is None


def test_the_post_quantum_way_is_bound_to_its_purpose() -> None:
    method = Method.MLKEM768_AES_KWP
    wrapped = wrap(method, KEYS[method].public, bytes(32), PURPOSE)
    with pytest.raises(WrappingRejected):
        KEYS[method].unwrap(wrapped, "keys/payments/versions/1")


def test_the_construction_is_the_one_that_is_written_down_with_another_ml_kem() -> None:
    method = Method.MLKEM768_AES_KWP
    public = KEYS[method].public
    ciphertext, shared = ml_kem_768.encaps(public)
    info = labels.lp(labels.MATERIAL_WRAP, PURPOSE, hashlib.sha256(labels.lp(public, ciphertext)).digest())
    wrapped = ciphertext + aes_key_wrap_with_padding(expand(shared, info, 32), b"material of another maker")
    assert KEYS[method].unwrap(wrapped, PURPOSE) == b"material of another maker"


@pytest.mark.parametrize("method", list(Method), ids=lambda m: m.name)
def test_private_keys_round_trip_and_do_not_leak(method: Method) -> None:
    again = WrappingPrivateKey.from_bytes(method, KEYS[method].to_bytes())
    assert again.public == KEYS[method].public
    assert again.method is method
    assert repr(again) == "WrappingPrivateKey(redacted)"
    with pytest.raises(TypeError):
        pickle.dumps(again)


@pytest.mark.parametrize("method", list(Method), ids=lambda m: m.name)
def test_what_is_no_private_key_is_refused(method: Method) -> None:
    with pytest.raises(WrappingRejected):
        WrappingPrivateKey.from_bytes(method, b"nonsense")


def test_a_private_key_of_another_kind_is_refused() -> None:
    elliptic = ec.generate_private_key(ec.SECP256R1())
    data = elliptic.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    with pytest.raises(WrappingRejected):
        WrappingPrivateKey.from_bytes(Method.RSA_OAEP_SHA256, data)


def test_public_keys_that_are_none_or_too_weak_are_refused() -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    elliptic = ec.generate_private_key(ec.SECP256R1())
    for public in (b"", b"nonsense", spki(weak), spki(elliptic)):
        with pytest.raises(WrappingRejected):
            wrap(Method.RSA_OAEP_SHA256, public, bytes(32), PURPOSE)
    for public in (b"", bytes(1183), b"\xff" * 1184):
        with pytest.raises(WrappingRejected):
            wrap(Method.MLKEM768_AES_KWP, public, bytes(32), PURPOSE)


def test_material_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidInput, match="318"):
        wrap(Method.RSA_OAEP_SHA256, KEYS[Method.RSA_OAEP_SHA256].public, bytes(319), PURPOSE)
    with pytest.raises(InvalidInput):
        wrap(Method.MLKEM768_AES_KWP, KEYS[Method.MLKEM768_AES_KWP].public, b"", PURPOSE)
