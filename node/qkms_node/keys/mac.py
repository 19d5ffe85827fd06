"""HMAC (RFC 2104, FIPS 198-1) with SHA-256 and SHA-512. Material: as many random bytes as the hash has.

No key derives and authenticates: HKDF-Expand is an HMAC under the same key, so
whoever may ask for MACs of chosen data could compute derived keys.
"""

import hmac
from typing import Literal

from qkms_node.keys.scheme import MacScheme, RandomBytes
from qkms_node.keys.secret import VersionSecret

HASH_BYTES = {"sha256": 32, "sha512": 64}


class Hmac(MacScheme):
    """HMAC with one hash, its output not truncated: 32 or 64 bytes."""

    def __init__(self, hash_name: Literal["sha256", "sha512"]) -> None:
        self._hash = hash_name

    def draw(self, random: RandomBytes) -> VersionSecret:
        """A key as long as the hash (NIST SP 800-107, 5.3.4: longer gains nothing)."""
        return VersionSecret(random(HASH_BYTES[self._hash]))

    def mac(self, material: VersionSecret, data: bytes) -> bytes:
        """The MAC, 32 or 64 bytes."""
        return hmac.digest(bytes(material.reveal()), data, self._hash)

    def verify(self, material: VersionSecret, data: bytes, mac: bytes) -> bool:
        """Whether `mac` is that of `data`, whole: a truncated one is not."""
        return hmac.compare_digest(self.mac(material, data), mac)
