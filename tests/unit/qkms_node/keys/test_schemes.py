"""Whatever bytes come in the place of a signature, MAC or ciphertext: an answer, or a clear refusal."""

import copy
from contextlib import suppress
from secrets import token_bytes

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qkms_node.keys.algorithms import ALGORITHMS, KEMS, MACS, PUBLIC_KEY_ENCRYPTION, SIGNATURES, WITH_PUBLIC_KEY
from qkms_node.keys.errors import CiphertextMalformed, CiphertextRejected, InputRefused, PlaintextTooLong
from qkms_node.keys.rsa import RsaOaep, RsaPss
from qkms_node.keys.scheme import Manner, Scheme
from qkms_node.keys.secret import KeyEncryptionKey, VersionSecret
from qkms_node.keys.version import VersionBinding, check_value, unwrap_version, wrap_version

ANY = st.binary(max_size=600)
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_drawn: dict[str, VersionSecret] = {}


def material_of(algorithm: str) -> VersionSecret:
    """One key of each algorithm; the two of RSA share theirs, which no node does."""
    name = algorithm.replace("OAEP", "PSS").replace("4096", "3072")
    if name not in _drawn:
        _drawn[name] = ALGORITHMS[name].draw(token_bytes)
    return _drawn[name]


def scheme_of(algorithm: str) -> Scheme:
    """The scheme, RSA with 3072 bits for both sizes."""
    if algorithm.startswith("RSA"):
        return RsaPss(3072) if "PSS" in algorithm else RsaOaep(3072)
    return ALGORITHMS[algorithm]


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_material_survives_its_wrap_and_gives_the_same_public_half(algorithm: str) -> None:
    scheme, material = scheme_of(algorithm), material_of(algorithm)
    kek, bound = KeyEncryptionKey(b"k" * 32), VersionBinding("orders", 3, algorithm, 7)
    wrapped = wrap_version(kek, material, bound, bytes(12))
    opened = unwrap_version(kek, wrapped, bound)
    assert len(wrapped) == len(material.reveal()) + 28
    assert opened.reveal() == material.reveal()
    public = scheme.public_key(material)
    assert scheme.public_key(opened) == public
    assert bool(public) == (algorithm in WITH_PUBLIC_KEY)
    assert check_value(opened, "orders", 3, public) == check_value(material, "orders", 3, public)
    other = ALGORITHMS["ED25519"].draw(token_bytes)
    assert check_value(other, "orders", 3, public) != check_value(material, "orders", 3, public)


@pytest.mark.parametrize("algorithm", sorted(name for name in ALGORITHMS if not ALGORITHMS[name].slow_to_draw))
def test_every_draw_is_another_key(algorithm: str) -> None:
    scheme = ALGORITHMS[algorithm]
    one, other = scheme.draw(token_bytes), scheme.draw(token_bytes)
    assert one.reveal() != other.reveal()
    assert type(one) is VersionSecret
    with pytest.raises(TypeError):
        copy.copy(one)


@pytest.mark.parametrize("algorithm", sorted(SIGNATURES))
@FEW
@given(signature=ANY, message=ANY)
def test_no_bytes_are_a_signature_by_chance(algorithm: str, signature: bytes, message: bytes) -> None:
    public = SIGNATURES[algorithm].public_key(material_of(algorithm))
    assert not SIGNATURES[algorithm].verify(public, message, signature, Manner())
    if SIGNATURES[algorithm].has_raw:
        assert not SIGNATURES[algorithm].verify(public, message, signature, Manner(raw=True))


@pytest.mark.parametrize("algorithm", sorted(MACS))
@FEW
@given(mac=ANY, data=ANY)
def test_no_bytes_are_a_mac_by_chance(algorithm: str, mac: bytes, data: bytes) -> None:
    assert not MACS[algorithm].verify(material_of(algorithm), data, mac)


@pytest.mark.parametrize("algorithm", sorted(KEMS))
@FEW
@given(ciphertext=st.one_of(ANY, st.integers(1088, 1568).map(bytes), st.binary(min_size=1120, max_size=1120)))
def test_any_ciphertext_gives_32_bytes_or_a_refusal(algorithm: str, ciphertext: bytes) -> None:
    with suppress(CiphertextMalformed, CiphertextRejected):
        assert len(KEMS[algorithm].decapsulate(material_of(algorithm), ciphertext)) == 32


@FEW
@given(ciphertext=st.one_of(ANY, st.binary(min_size=384, max_size=384)))
def test_any_oaep_ciphertext_is_refused_without_a_reason(ciphertext: bytes) -> None:
    with pytest.raises((CiphertextMalformed, CiphertextRejected)) as caught:
        RsaOaep(3072).decrypt(material_of("RSA_3072_OAEP_SHA256"), ciphertext)
    if len(ciphertext) == 384:
        assert str(caught.value) == "the ciphertext does not open"
        assert caught.value.__cause__ is None


def test_oaep_says_how_much_it_takes() -> None:
    scheme = PUBLIC_KEY_ENCRYPTION["RSA_3072_OAEP_SHA256"]
    material = material_of("RSA_3072_OAEP_SHA256")
    public = scheme.public_key(material)
    for plaintext in (b"", bytes(318)):
        assert scheme.decrypt(material, scheme.encrypt(public, plaintext)) == plaintext
    with pytest.raises(PlaintextTooLong, match="319 bytes, the limit is 318") as caught:
        scheme.encrypt(public, bytes(319))
    assert (caught.value.limit, caught.value.code) == (318, "PLAINTEXT_TOO_LONG")


@pytest.mark.parametrize("algorithm", sorted(SIGNATURES))
def test_a_scheme_takes_what_it_says_and_no_more(algorithm: str) -> None:
    scheme = SIGNATURES[algorithm]
    scheme.check(b"", Manner())
    for manner, message, field, taken in (
        (Manner(digested=True), bytes(scheme.digest_bytes), "digest", scheme.digest_bytes > 0),
        (Manner(digested=True), bytes(scheme.digest_bytes + 1), "digest", False),
        (Manner(context=bytes(scheme.context_bytes)), b"", "context", True),
        (Manner(context=bytes(scheme.context_bytes + 1)), b"", "context", False),
        (Manner(raw=True), b"", "encoding", algorithm.startswith("ECDSA")),
        (Manner(digested=True, context=b"c"), bytes(scheme.digest_bytes), "context", False),
    ):
        if taken:
            scheme.check(message, manner)
            continue
        with pytest.raises(InputRefused) as caught:
            scheme.check(message, manner)
        assert caught.value.field in (field, "digest")
        assert caught.value.code == "INPUT_REFUSED"
        assert str(caught.value) == f"{caught.value.field} {caught.value.problem}"


@pytest.mark.parametrize("algorithm", sorted(name for name in KEMS if "SLH" not in name))
def test_both_ends_of_an_encapsulation_have_one_secret(algorithm: str) -> None:
    scheme, material = KEMS[algorithm], material_of(algorithm)
    ciphertext, secret = scheme.encapsulate(scheme.public_key(material))
    assert scheme.decapsulate(material, ciphertext) == secret
    assert len(secret) == 32


def test_an_x25519_key_of_small_order_is_refused() -> None:
    scheme, material = KEMS["X25519MLKEM768"], material_of("X25519MLKEM768")
    ciphertext, _ = scheme.encapsulate(scheme.public_key(material))
    with pytest.raises(CiphertextRejected):
        scheme.decapsulate(material, ciphertext[:-32] + bytes(32))


@pytest.mark.parametrize("raw", [False, True])
@pytest.mark.parametrize("algorithm", sorted(name for name in SIGNATURES if name.startswith("ECDSA")))
def test_an_ecdsa_signature_verifies_in_the_form_that_it_was_made_in(algorithm: str, raw: bool) -> None:
    scheme, material = SIGNATURES[algorithm], material_of(algorithm)
    signature = scheme.sign(material, b"message", Manner(raw=raw))
    public = scheme.public_key(material)
    assert scheme.verify(public, b"message", signature, Manner(raw=raw))
    assert not scheme.verify(public, b"message", signature, Manner(raw=not raw))
    assert not scheme.verify(public, b"another", signature, Manner(raw=raw))
