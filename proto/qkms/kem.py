"""ML-KEM-768 (FIPS 203) and X25519 (RFC 7748) side by side.

Gives two shared secrets and never mixes them: the callers' schedules do, each
with its own label and transcript. The only module of the cryptographic layers
that draws randomness, in `HybridPrivateKey.generate` and `encapsulate`: the
library offers ML-KEM no other way.

Leaves out wiping: the library's key objects cannot be wiped.
"""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from qkms.errors import KemRejected
from qkms.redacted import Redacted

__all__ = [
    "MLKEM_CIPHERTEXT_BYTES",
    "MLKEM_PUBLIC_BYTES",
    "MLKEM_SEED_BYTES",
    "X25519_BYTES",
    "HybridCiphertext",
    "HybridPrivateKey",
    "HybridPublicKey",
    "KemRejected",
    "SharedSecrets",
    "encapsulate",
]

MLKEM_PUBLIC_BYTES = 1184
MLKEM_CIPHERTEXT_BYTES = 1088
MLKEM_SEED_BYTES = 64
X25519_BYTES = 32


@dataclass(frozen=True)
class HybridPublicKey:
    """An ML-KEM-768 encapsulation key (1184 bytes) and an X25519 public key (32 bytes). Raises KemRejected."""

    mlkem: bytes
    x25519: bytes

    def __post_init__(self) -> None:
        _sized("ML-KEM-768 encapsulation key", self.mlkem, MLKEM_PUBLIC_BYTES)
        _sized("X25519 public key", self.x25519, X25519_BYTES)


@dataclass(frozen=True)
class HybridCiphertext:
    """An ML-KEM-768 ciphertext (1088 bytes) and the sender's X25519 public key (32 bytes). Raises KemRejected."""

    mlkem: bytes
    x25519: bytes

    def __post_init__(self) -> None:
        _sized("ML-KEM-768 ciphertext", self.mlkem, MLKEM_CIPHERTEXT_BYTES)
        _sized("X25519 public key", self.x25519, X25519_BYTES)


@dataclass(frozen=True, repr=False, eq=False)
class SharedSecrets(Redacted):
    """The two shared secrets, 32 bytes each, not yet mixed."""

    mlkem: bytes
    x25519: bytes


class HybridPrivateKey(Redacted):
    """A private key for both algorithms; `public` is its public key."""

    def __init__(self, mlkem: MLKEM768PrivateKey, x25519: X25519PrivateKey) -> None:
        self._mlkem = mlkem
        self._x25519 = x25519
        self.public = HybridPublicKey(
            mlkem.public_key().public_bytes_raw(), x25519.public_key().public_bytes_raw()
        )

    @classmethod
    def generate(cls) -> "HybridPrivateKey":
        """A fresh key pair for each algorithm. Draws randomness."""
        return cls(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, data: bytes) -> "HybridPrivateKey":
        """The inverse of `to_bytes`. Raises KemRejected."""
        _sized("private key", data, MLKEM_SEED_BYTES + X25519_BYTES)
        return cls(
            MLKEM768PrivateKey.from_seed_bytes(data[:MLKEM_SEED_BYTES]),
            X25519PrivateKey.from_private_bytes(data[MLKEM_SEED_BYTES:]),
        )

    def to_bytes(self) -> bytes:
        """The ML-KEM seed d || z (64 bytes, FIPS 203) and the X25519 scalar (32 bytes). Secret."""
        return self._mlkem.private_bytes_raw() + self._x25519.private_bytes_raw()

    def decapsulate(self, ciphertext: HybridCiphertext) -> SharedSecrets:
        """The shared secrets of `ciphertext`. Raises KemRejected for an X25519 key of small order.

        A ciphertext made for another key gives other secrets, not an error (FIPS 203,
        implicit rejection): what is sealed under them then does not open.
        """
        return SharedSecrets(self._mlkem.decapsulate(ciphertext.mlkem), _exchange(self._x25519, ciphertext.x25519))


def encapsulate(public: HybridPublicKey) -> tuple[HybridCiphertext, SharedSecrets]:
    """A ciphertext for `public` and the shared secrets. Draws randomness. Raises KemRejected for a bad key."""
    try:
        mlkem = MLKEM768PublicKey.from_public_bytes(public.mlkem)
    except ValueError as error:
        raise KemRejected(
            "the ML-KEM-768 encapsulation key has a coefficient out of range (FIPS 203, 7.2)"
        ) from error
    ephemeral = X25519PrivateKey.generate()
    x25519_secret = _exchange(ephemeral, public.x25519)
    mlkem_secret, mlkem_ciphertext = mlkem.encapsulate()
    ciphertext = HybridCiphertext(mlkem_ciphertext, ephemeral.public_key().public_bytes_raw())
    return ciphertext, SharedSecrets(mlkem_secret, x25519_secret)


def _exchange(private: X25519PrivateKey, public: bytes) -> bytes:
    # A point of small order gives an all-zero secret, which the attacker knows (RFC 7748, 6.1).
    # The library refuses it; the tests hold it to that with every such point.
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise KemRejected("the X25519 public key is a point of small order") from error


def _sized(what: str, data: bytes, size: int) -> None:
    if len(data) != size:
        raise KemRejected(f"{what}: {len(data)} bytes, it must be {size}")
