"""What the algorithms of keys have in common: families of operations, each an interface.

A scheme has no state: material and public halves are arguments. Library
objects that hold a private key live for one call, because only the buffer of
a `VersionSecret` can be wiped.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from qkms_node.keys.errors import InputRefused
from qkms_node.keys.secret import VersionSecret

RandomBytes = Callable[[int], bytes]
"""Gives so many fresh random bytes; an argument, because this layer is pure."""


class Scheme(ABC):
    """One algorithm. `operations` are the methods of the protocol it has, in words."""

    operations: ClassVar[tuple[str, ...]]
    slow_to_draw: ClassVar[bool] = False
    """Drawing takes longer than an event loop may stand still."""

    @abstractmethod
    def draw(self, random: RandomBytes) -> VersionSecret:
        """Fresh material, in the encoding that the scheme's other methods take."""

    def public_key(self, material: VersionSecret) -> bytes:
        """The public half; empty where there is none."""
        return b""


class SealingScheme(Scheme):
    """Symmetric encryption and derivation (construction: `keys.data`)."""

    operations = ("encrypt", "decrypt", "rewrap", "generate data key", "derive")

    def draw(self, random: RandomBytes) -> VersionSecret:
        """32 random bytes."""
        return VersionSecret(random(32))


class MacScheme(Scheme):
    """Message authentication."""

    operations = ("mac", "verify mac")

    @abstractmethod
    def mac(self, material: VersionSecret, data: bytes) -> bytes:
        """The MAC of `data`, whole."""

    @abstractmethod
    def verify(self, material: VersionSecret, data: bytes, mac: bytes) -> bool:
        """Whether `mac` is that of `data`. Constant time."""


@dataclass(frozen=True)
class Manner:
    """How to sign: `digested` input, a `context` (bytes), a `raw` r || s signature."""

    digested: bool = False
    context: bytes = b""
    raw: bool = False


class SignatureScheme(Scheme):
    """Signatures. The limits say what of `Manner` a scheme has."""

    operations = ("sign", "verify", "get public key")
    digest_bytes: ClassVar[int] = 0
    """Length of a digest in place of the message; 0: the scheme takes none."""
    context_bytes: ClassVar[int] = 0
    """The longest context."""
    has_raw: ClassVar[bool] = False
    """Whether there is a second encoding, r || s."""

    @abstractmethod
    def sign(self, material: VersionSecret, message: bytes, manner: Manner) -> bytes:
        """The signature, in the encoding of the standard. `manner` was checked."""

    @abstractmethod
    def verify(self, public_key: bytes, message: bytes, signature: bytes, manner: Manner) -> bool:
        """Whether `signature` is one; False for whatever is not. `manner` was checked."""

    def check(self, message: bytes, manner: Manner) -> None:
        """Raises InputRefused for what this scheme does not take."""
        if manner.digested and not self.digest_bytes:
            raise InputRefused("digest", "is not taken by this algorithm: send the message")
        if manner.digested and len(message) != self.digest_bytes:
            raise InputRefused("digest", f"is {len(message)} bytes, this algorithm takes {self.digest_bytes}")
        if len(manner.context) > self.context_bytes:
            limit = f"at most {self.context_bytes} bytes" if self.context_bytes else "no context"
            raise InputRefused("context", f"is {len(manner.context)} bytes, this algorithm takes {limit}")
        if manner.raw and not self.has_raw:
            raise InputRefused("encoding", "P1363 is of ECDSA only")


class KemScheme(Scheme):
    """Key encapsulation."""

    operations = ("encapsulate", "decapsulate", "get public key")

    @abstractmethod
    def encapsulate(self, public_key: bytes) -> tuple[bytes, bytes]:
        """A ciphertext, and the shared secret in it. Draws randomness in the library."""

    @abstractmethod
    def decapsulate(self, material: VersionSecret, ciphertext: bytes) -> bytes:
        """The shared secret. Raises CiphertextMalformed, CiphertextRejected."""


class PublicKeyEncryptionScheme(Scheme):
    """Encryption to a public key."""

    operations = ("encrypt", "decrypt", "get public key")

    @abstractmethod
    def encrypt(self, public_key: bytes, plaintext: bytes) -> bytes:
        """The ciphertext. Raises PlaintextTooLong. Draws randomness in the library."""

    @abstractmethod
    def decrypt(self, material: VersionSecret, ciphertext: bytes) -> bytes:
        """The plaintext. Raises CiphertextMalformed, CiphertextRejected."""
