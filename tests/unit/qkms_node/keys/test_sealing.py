"""Whatever is sealed opens again, and not after any change of a bit or of what it is bound to."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkms.errors import CryptoError, InvalidInput
from qkms.kem import HybridCiphertext, HybridPrivateKey
from qkms_node.keys.data import (
    OVERHEAD,
    CiphertextMalformed,
    CiphertextRejected,
    ciphertext_version,
    context_hash,
    derived_key,
    encryption_key,
    open_sealed,
    seal,
)
from qkms_node.keys.local import LocalSealRejected, open_local, seal_local
from qkms_node.keys.secret import KeyEncryptionKey, LocalSealKey, QkdSecret, RootSecret, VersionSecret
from qkms_node.keys.share import Binding, SealedShare, ShareRejected, open_share, seal_share
from qkms_node.keys.version import VersionBinding, WrapRejected, check_value, unwrap_version, wrap_version

contexts = st.dictionaries(st.text(max_size=6), st.text(max_size=6), max_size=4)
ROOT = RootSecret(b"r" * 32)
KEK = KeyEncryptionKey(b"k" * 32)
MATERIAL = VersionSecret(b"m" * 32)
BOUND = VersionBinding("orders", 3, "AES_256_GCM", 7)
KEY = encryption_key(MATERIAL, "AES_256_GCM", "orders", 3, {"a": "b"})
SEAL_KEY = LocalSealKey(b"s" * 32)
PRIVATE = HybridPrivateKey.from_bytes(bytes(range(96)))
PSK = QkdSecret(b"q" * 32)
SHARE_BOUND = Binding("dev", 7, "node-1", "node-2", "5c1d")
SHARE = seal_share(ROOT, SHARE_BOUND, PRIVATE.public, PSK)


def flip(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


def open_store(data: bytes) -> bytes:
    return open_local(SEAL_KEY, data, cluster_id="dev", node_id="node-1")


def open_share_bytes(data: bytes) -> object:
    share = SealedShare(HybridCiphertext(data[:1088], data[1088:1120]), data[1120:])
    return open_share(share, SHARE_BOUND, PRIVATE, PSK)


@dataclass(frozen=True)
class Kind:
    """A kind of sealed bytes: how they open, and the class of refusal of each bit's change."""

    sealed: bytes
    open: Callable[[bytes], object]
    rejected: type[CryptoError]
    malformed: type[CryptoError] | None = None
    malformed_bits: int = 0


KINDS = {
    "data": Kind(
        seal(KEY, 3, b"plain", b"aad", b"r" * 24),
        lambda data: open_sealed(KEY, data, b"aad"),
        CiphertextRejected,
        CiphertextMalformed,
        8,
    ),
    "version": Kind(
        wrap_version(KEK, MATERIAL, BOUND, b"n" * 12),
        lambda data: unwrap_version(KEK, data, BOUND),
        WrapRejected,
    ),
    "local": Kind(
        seal_local(SEAL_KEY, b"roots", cluster_id="dev", node_id="node-1", nonce=b"n" * 24),
        open_store,
        LocalSealRejected,
    ),
    "share": Kind(
        SHARE.ciphertext.mlkem + SHARE.ciphertext.x25519 + SHARE.sealed, open_share_bytes, ShareRejected
    ),
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_every_single_bit_counts(kind: Kind) -> None:
    kind.open(kind.sealed)
    for bit in range(len(kind.sealed) * 8):
        expected = kind.malformed if kind.malformed and bit < kind.malformed_bits else kind.rejected
        with pytest.raises(CryptoError) as caught:
            kind.open(flip(kind.sealed, bit))
        assert type(caught.value) is expected, f"bit {bit}"


@pytest.mark.parametrize("name", ["data", "version", "local"])
def test_every_truncation_is_refused(name: str) -> None:
    kind = KINDS[name]
    for size in range(len(kind.sealed)):
        with pytest.raises(CryptoError) as caught:
            kind.open(kind.sealed[:size])
        short = kind.malformed is not None and size < OVERHEAD
        assert type(caught.value) is (kind.malformed if short else kind.rejected), f"{size} bytes"


@given(st.binary(max_size=200))
def test_random_bytes_never_open_and_never_crash(data: bytes) -> None:
    for kind in (KINDS["data"], KINDS["version"], KINDS["local"]):
        with pytest.raises(kind.rejected if kind.malformed is None else (kind.rejected, kind.malformed)):
            kind.open(data)


@given(
    contexts,
    st.binary(max_size=300),
    st.binary(max_size=50),
    st.integers(1, 2**32 - 1),
    st.binary(min_size=24, max_size=24),
)
def test_data_round_trip(context: dict[str, str], plaintext: bytes, aad: bytes, version: int, r: bytes) -> None:
    key = encryption_key(MATERIAL, "AES_256_GCM", "orders", version, context)
    sealed = seal(key, version, plaintext, aad, r)
    assert len(sealed) == len(plaintext) + OVERHEAD == len(plaintext) + 77
    assert ciphertext_version(sealed) == version
    turned = dict(reversed(context.items()))
    again = encryption_key(MATERIAL, "AES_256_GCM", "orders", version, turned)
    assert open_sealed(again, sealed, aad) == plaintext


@given(contexts, contexts)
def test_contexts_share_a_hash_only_if_equal(one: dict[str, str], other: dict[str, str]) -> None:
    assert (context_hash(one) == context_hash(other)) == (one == other)


def test_keys_depend_on_everything_and_a_derived_key_is_never_an_encryption_key() -> None:
    inputs = [
        ("AES_256_GCM", "orders", 3, {"a": "b"}),
        ("AES_128_GCM", "orders", 3, {"a": "b"}),
        ("AES_256_GCM", "order", 3, {"a": "b"}),
        ("AES_256_GCM", "orders", 4, {"a": "b"}),
        ("AES_256_GCM", "orders", 3, {"a": "c"}),
        ("AES_256_GCM", "orders", 3, {}),
    ]
    keys = {bytes(encryption_key(MATERIAL, *args).reveal()) for args in inputs}
    keys |= {derived_key(MATERIAL, *args) for args in inputs}
    keys |= {bytes(encryption_key(VersionSecret(bytes(32)), *args).reveal()) for args in inputs}
    assert len(keys) == 18


@pytest.mark.parametrize("length", [0, 15, 1025])
def test_derived_keys_have_16_to_1024_bytes(length: int) -> None:
    with pytest.raises(InvalidInput, match=f"16 to 1024 bytes, not {length}"):
        derived_key(MATERIAL, "AES_256_GCM", "orders", 3, {}, length)


def test_data_sealed_twice_shares_nothing() -> None:
    one, other = (seal(KEY, 3, b"plain", b"", r * 24) for r in (b"1", b"2"))
    assert one[29:61] != other[29:61]
    assert one[61:] != other[61:]


@pytest.mark.parametrize("other", [b"", b"aa", b"aad ", b"aae"])
def test_other_aad_is_rejected(other: bytes) -> None:
    with pytest.raises(CiphertextRejected):
        open_sealed(KEY, KINDS["data"].sealed, other)


@pytest.mark.parametrize("size", [0, 23, 25])
def test_r_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(InvalidInput, match=str(size)):
        seal(KEY, 3, b"", b"", bytes(size))


@pytest.mark.parametrize("version", [-1, 0, 2**32])
def test_version_that_no_ciphertext_names_is_refused(version: int) -> None:
    with pytest.raises(InvalidInput, match="version"):
        seal(KEY, version, b"", b"", bytes(24))


def test_oversized_context_is_refused() -> None:
    with pytest.raises(InvalidInput):
        context_hash({"a": "b" * 65536})


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=12, max_size=12))
def test_version_round_trip(material: bytes, nonce: bytes) -> None:
    wrapped = wrap_version(KEK, VersionSecret(material), BOUND, nonce)
    assert len(wrapped) == 60
    opened = unwrap_version(KEK, wrapped, BOUND)
    assert isinstance(opened, VersionSecret)
    assert opened.reveal() == material


def test_refused_version_is_named_without_its_material() -> None:
    with pytest.raises(WrapRejected, match="keys/orders/versions/3 does not open under root epoch 8") as caught:
        unwrap_version(KEK, KINDS["version"].sealed, replace(BOUND, epoch=8))
    assert caught.value.code == "WRAP_REJECTED"


@pytest.mark.parametrize("size", [0, 11, 13])
def test_wrap_nonce_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(InvalidInput, match=str(size)):
        wrap_version(KEK, MATERIAL, BOUND, bytes(size))


def test_check_value_depends_on_material_name_and_number() -> None:
    values = {
        check_value(MATERIAL, "orders", 3),
        check_value(VersionSecret(bytes(32)), "orders", 3),
        check_value(MATERIAL, "order", 3),
        check_value(MATERIAL, "orders", 4),
    }
    assert len(values) == 4
    assert {len(value) for value in values} == {16}


@given(st.binary(max_size=300), st.text(max_size=9), st.text(max_size=9), st.binary(min_size=24, max_size=24))
def test_local_round_trip(payload: bytes, cluster: str, node: str, nonce: bytes) -> None:
    sealed = seal_local(SEAL_KEY, payload, cluster_id=cluster, node_id=node, nonce=nonce)
    assert len(sealed) == len(payload) + 41
    assert open_local(SEAL_KEY, sealed, cluster_id=cluster, node_id=node) == payload
    with pytest.raises(LocalSealRejected, match="another node"):
        open_local(SEAL_KEY, sealed, cluster_id=cluster, node_id=node + "x")


@pytest.mark.parametrize("size", [0, 23, 25])
def test_local_nonce_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(InvalidInput, match=str(size)):
        seal_local(SEAL_KEY, b"", cluster_id="dev", node_id="node-1", nonce=bytes(size))
