"""ML-KEM-768 (FIPS 203) and X25519 (RFC 7748) side by side.

Gives two shared secrets and never mixes them: the callers' schedules do, each
with its own label and transcript. This module draws randomness (key pairs and
encapsulation): the libraries offer ML-KEM no other way.
"""

import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

MLKEM_PUBLIC_BYTES = 1184
MLKEM_CIPHERTEXT_BYTES = 1088
MLKEM_SEED_BYTES = 64
X25519_BYTES = 32


class KemRejected(Exception):
    """A public key, ciphertext or private key that cannot be used. Ask the peer for a fresh one."""

    code = "KEM_REJECTED"


@dataclass(frozen=True)
class HybridPublicKey:
    """An ML-KEM-768 encapsulation key (1184 bytes) and an X25519 public key (32 bytes)."""

    mlkem: bytes
    x25519: bytes

    def __post_init__(self) -> None:
        _sized("ML-KEM-768 encapsulation key", self.mlkem, MLKEM_PUBLIC_BYTES)
        _sized("X25519 public key", self.x25519, X25519_BYTES)


@dataclass(frozen=True)
class HybridCiphertext:
    """An ML-KEM-768 ciphertext (1088 bytes) and the sender's ephemeral X25519 key (32 bytes)."""

    mlkem: bytes
    x25519: bytes

    def __post_init__(self) -> None:
        _sized("ML-KEM-768 ciphertext", self.mlkem, MLKEM_CIPHERTEXT_BYTES)
        _sized("X25519 public key", self.x25519, X25519_BYTES)


@dataclass(frozen=True, repr=False, eq=False)
class SharedSecrets:
    """The two shared secrets, 32 bytes each, not yet mixed."""

    mlkem: bytes
    x25519: bytes

    def __repr__(self) -> str:
        return "SharedSecrets(redacted)"


class HybridPrivateKey:
    """A private key for both algorithms."""

    def __init__(self, mlkem: MLKEM768PrivateKey, x25519: X25519PrivateKey) -> None:
        self._mlkem = mlkem
        self._x25519 = x25519
        self.public = HybridPublicKey(
            mlkem.public_key().public_bytes_raw(), x25519.public_key().public_bytes_raw()
        )

    @classmethod
    def generate(cls) -> "HybridPrivateKey":
        """A fresh key pair for each algorithm."""
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
        """The shared secrets of `ciphertext`. Raises KemRejected.

        A ciphertext made for another key gives other secrets, not an error (FIPS 203,
        implicit rejection): what is sealed under them then does not open.
        """
        return SharedSecrets(
            self._mlkem.decapsulate(ciphertext.mlkem), _exchange(self._x25519, ciphertext.x25519)
        )

    def __repr__(self) -> str:
        return "HybridPrivateKey(redacted)"

    def __reduce__(self) -> str:
        raise TypeError("a private key is not pickled")


def encapsulate(public: HybridPublicKey) -> tuple[HybridCiphertext, SharedSecrets]:
    """A ciphertext for `public` and the shared secrets. Raises KemRejected for a bad key."""
    ephemeral = X25519PrivateKey.generate()
    try:
        mlkem = MLKEM768PublicKey.from_public_bytes(public.mlkem)
    except ValueError as error:
        raise KemRejected("the ML-KEM-768 encapsulation key is not valid (FIPS 203, 7.2)") from error
    mlkem_secret, mlkem_ciphertext = mlkem.encapsulate()
    secrets = SharedSecrets(mlkem_secret, _exchange(ephemeral, public.x25519))
    return HybridCiphertext(mlkem_ciphertext, ephemeral.public_key().public_bytes_raw()), secrets


def _exchange(private: X25519PrivateKey, public: bytes) -> bytes:
    # A point of small order gives an all-zero secret that the attacker knows (RFC 7748, 6.1).
    try:
        shared = private.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError as error:
        raise KemRejected("the X25519 public key is a point of small order") from error
    if hmac.compare_digest(shared, bytes(X25519_BYTES)):
        raise KemRejected("the X25519 public key is a point of small order")
    return shared


def _sized(what: str, data: bytes, size: int) -> None:
    if len(data) != size:
        raise KemRejected(f"{what}: {len(data)} bytes, it must be {size}")
