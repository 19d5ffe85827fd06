"""What the use of keys returns, as far as it is no secret; a part of `types`."""

import base64
from dataclasses import dataclass, field

from qkms_client.enums import Grade, PublicKeyFormat
from qkms_client.header import Header


@dataclass(frozen=True)
class Encrypted:
    """A ciphertext, and the version and grade it is under."""

    ciphertext: bytes
    version: int
    grade: Grade
    header: Header | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Rewrapped:
    """A ciphertext under the primary version, `version`; `source_version` is the one it was under.

    Where the two are the same, the ciphertext is the one given.
    """

    ciphertext: bytes
    version: int
    source_version: int
    grade: Grade
    header: Header | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Signature:
    """A signature in the encoding of its standard. To verify it, keep the version beside it."""

    signature: bytes
    version: int
    grade: Grade
    header: Header | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Mac:
    """A MAC of 32 or 64 bytes. To verify it, keep the version beside it."""

    mac: bytes
    version: int
    grade: Grade
    header: Header | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Verification:
    """Whether a signature or MAC is valid; true or false accordingly."""

    valid: bool
    version: int
    header: Header | None = field(default=None, compare=False, repr=False)

    def __bool__(self) -> bool:
        return self.valid


@dataclass(frozen=True)
class PublicKey:
    """The public half of a key version.

    SPKI_DER is X.509 SubjectPublicKeyInfo in DER, RAW_CONCATENATION the ML-KEM-768
    encapsulation key (1184 bytes) and the X25519 key (32 bytes).
    """

    public_key: bytes
    format: PublicKeyFormat
    algorithm: str
    version: int
    grade: Grade
    header: Header | None = field(default=None, compare=False, repr=False)

    def pem(self) -> str:
        """The key in PEM (RFC 7468). Raises ValueError for a raw one, which has no such form."""
        if self.format is not PublicKeyFormat.SPKI_DER:
            raise ValueError(
                f"a public key of {self.algorithm} has no PEM form; use its {len(self.public_key)} bytes"
            )
        text = base64.b64encode(self.public_key).decode("ascii")
        lines = [text[i : i + 64] for i in range(0, len(text), 64)]
        return "\n".join(("-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""))
