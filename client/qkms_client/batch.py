"""The calls of a batch, one function for each method of CryptoService.

    from qkms_client import batch

    sealed = client.batch([batch.encrypt("payments", row) for row in rows])

Arguments are those of the client's own methods. An item is made once, and may be
sent again.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from qkms_client.call import Rules
from qkms_client.consistency import Consistency
from qkms_client.flow import Flow
from qkms_client.flows import crypto, kem, signing
from qkms_client.secret import DataKey, Decapsulated, Decrypted, DerivedKey, Encapsulated
from qkms_client.types import Encrypted, Key, Mac, PublicKey, Rewrapped, Signature, Verification

T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, repr=False)
class Item(Generic[T_co]):
    """One call of a batch, whose result is a T_co. Its arguments may be secret: it shows none."""

    flow: Callable[[Rules, float | None], Flow[T_co]]


def encrypt(
    key: str | Key,
    plaintext: bytes,
    *,
    context: Mapping[str, str] | None = None,
    aad: bytes = b"",
    consistency: Consistency | None = None,
) -> Item[Encrypted]:
    """As Client.encrypt."""
    return Item(lambda rules, timeout: crypto.encrypt(rules, key, plaintext, context, aad, consistency, timeout))


def decrypt(
    key: str | Key,
    ciphertext: bytes | Encrypted,
    *,
    version: int | None = None,
    context: Mapping[str, str] | None = None,
    aad: bytes = b"",
    consistency: Consistency | None = None,
) -> Item[Decrypted]:
    """As Client.decrypt."""
    return Item(
        lambda rules, timeout: crypto.decrypt(rules, key, ciphertext, version, context, aad, consistency, timeout)
    )


def rewrap(
    key: str | Key,
    ciphertext: bytes | Encrypted,
    *,
    context: Mapping[str, str] | None = None,
    aad: bytes = b"",
    consistency: Consistency | None = None,
) -> Item[Rewrapped]:
    """As Client.rewrap."""
    return Item(lambda rules, timeout: crypto.rewrap(rules, key, ciphertext, context, aad, consistency, timeout))


def generate_data_key(
    key: str | Key,
    *,
    context: Mapping[str, str] | None = None,
    without_plaintext: bool = False,
    consistency: Consistency | None = None,
) -> Item[DataKey]:
    """As Client.generate_data_key."""
    return Item(
        lambda rules, timeout: crypto.generate_data_key(
            rules, key, context, without_plaintext, consistency, timeout
        )
    )


def derive_key(
    key: str | Key,
    context: Mapping[str, str],
    *,
    version: int | None = None,
    length: int = 32,
    consistency: Consistency | None = None,
) -> Item[DerivedKey]:
    """As Client.derive_key."""
    return Item(
        lambda rules, timeout: crypto.derive_key(rules, key, context, version, length, consistency, timeout)
    )


def random_bytes(length: int) -> Item[bytes]:
    """As Client.random_bytes."""
    return Item(lambda rules, timeout: crypto.random_bytes(rules, length, timeout))


def sign(
    key: str | Key,
    message: bytes,
    *,
    digested: bool = False,
    context: bytes = b"",
    p1363: bool = False,
    consistency: Consistency | None = None,
) -> Item[Signature]:
    """As Client.sign."""
    manner = signing.Manner(digested, context, p1363)
    return Item(lambda rules, timeout: signing.sign(rules, key, message, manner, consistency, timeout))


def verify(
    key: str | Key,
    message: bytes,
    signature: bytes | Signature,
    *,
    version: int | None = None,
    digested: bool = False,
    context: bytes = b"",
    p1363: bool = False,
    consistency: Consistency | None = None,
) -> Item[Verification]:
    """As Client.verify."""
    manner = signing.Manner(digested, context, p1363)
    return Item(
        lambda rules, timeout: signing.verify(
            rules, key, message, signature, version, manner, consistency, timeout
        )
    )


def mac(
    key: str | Key,
    data: bytes,
    *,
    consistency: Consistency | None = None,
) -> Item[Mac]:
    """As Client.mac."""
    return Item(lambda rules, timeout: signing.mac(rules, key, data, consistency, timeout))


def verify_mac(
    key: str | Key,
    data: bytes,
    mac: bytes | Mac,
    *,
    version: int | None = None,
    consistency: Consistency | None = None,
) -> Item[Verification]:
    """As Client.verify_mac."""
    return Item(lambda rules, timeout: signing.verify_mac(rules, key, data, mac, version, consistency, timeout))


def get_public_key(
    key: str | Key,
    *,
    version: int | None = None,
    consistency: Consistency | None = None,
) -> Item[PublicKey]:
    """As Client.get_public_key."""
    return Item(lambda rules, timeout: signing.get_public_key(rules, key, version, consistency, timeout))


def encapsulate(
    key: str | Key,
    *,
    consistency: Consistency | None = None,
) -> Item[Encapsulated]:
    """As Client.encapsulate."""
    return Item(lambda rules, timeout: kem.encapsulate(rules, key, consistency, timeout))


def decapsulate(
    key: str | Key,
    ciphertext: bytes | Encapsulated,
    *,
    version: int | None = None,
    consistency: Consistency | None = None,
) -> Item[Decapsulated]:
    """As Client.decapsulate."""
    return Item(lambda rules, timeout: kem.decapsulate(rules, key, ciphertext, version, consistency, timeout))
