"""Key versions wrapped under the key encryption key of an epoch.

    wrapped = nonce (12) || AES-256-GCM(KEK_e, nonce, K_v, AAD = LP(label, key, version, algorithm, e))

K_v is drawn at random, never derived, so that erasing one version's wrapped
bytes really destroys it, and a new epoch only rewraps. For an algorithm with
two halves it is the private one; the public one (SubjectPublicKeyInfo) stands
in the ledger in clear and is bound by the check value. The nonce is random
(NIST SP 800-38D, 8.2.2): a cluster stays far below 2^32 wraps per epoch.
"""

import hmac
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qkms import labels
from qkms.errors import InvalidInput
from qkms.hkdf import expand
from qkms_node.keys.errors import CheckValueMismatch, WrapRejected
from qkms_node.keys.secret import KeyEncryptionKey, VersionSecret

__all__ = [
    "CheckValueMismatch",
    "VersionBinding",
    "WrapRejected",
    "check_value",
    "check_version",
    "unwrap_version",
    "wrap_version",
]

NONCE_BYTES = 12
TAG_BYTES = 16
CHECK_BYTES = 16


@dataclass(frozen=True)
class VersionBinding:
    """What a wrapped version is bound to: moved under another name, number or epoch it does not open."""

    key_id: str
    version: int
    algorithm: str
    epoch: int

    def aad(self) -> bytes:
        """The additional authenticated data of the wrap."""
        return labels.lp(labels.VERSION_WRAP, self.key_id, self.version, self.algorithm, self.epoch)


def wrap_version(kek: KeyEncryptionKey, material: VersionSecret, bound: VersionBinding, nonce: bytes) -> bytes:
    """The wrapped version, 28 bytes longer than its material.

    `nonce` is 12 fresh random bytes; raises InvalidInput for another length.
    """
    if len(nonce) != NONCE_BYTES:
        raise InvalidInput(f"a wrap nonce has {NONCE_BYTES} bytes, not {len(nonce)}")
    return nonce + AESGCM(kek.reveal()).encrypt(nonce, material.reveal(), bound.aad())


def unwrap_version(kek: KeyEncryptionKey, wrapped: bytes, bound: VersionBinding) -> VersionSecret:
    """The material of a version. Raises WrapRejected."""
    cipher, aad = AESGCM(kek.reveal()), bound.aad()
    nonce, sealed = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
    try:
        size = len(sealed) - TAG_BYTES
        return VersionSecret.filled(lambda buffer: cipher.decrypt_into(nonce, sealed, aad, buffer), size)
    except (InvalidTag, ValueError) as error:
        raise WrapRejected(
            f"keys/{bound.key_id}/versions/{bound.version} does not open under root epoch {bound.epoch}"
        ) from error


def check_value(material: VersionSecret, key_id: str, version: int, public_key: bytes = b"") -> bytes:
    """16 public bytes by which two nodes see that they hold the same material; one way.

    They also bind the public half, so that another one put in its place in a node's
    ledger is noticed where the version is opened.
    """
    key = expand(material.reveal(), labels.lp(labels.CHECK_VALUE), 32)
    parts = (key_id, version, public_key) if public_key else (key_id, version)
    return hmac.digest(key, labels.lp(labels.CHECK_VALUE, *parts), "sha256")[:CHECK_BYTES]


def check_version(material: VersionSecret, key_id: str, version: int, public_key: bytes, expected: bytes) -> None:
    """Raises CheckValueMismatch unless material and public half are those of the check value. Constant time."""
    if not hmac.compare_digest(check_value(material, key_id, version, public_key), expected):
        raise CheckValueMismatch(
            f"keys/{key_id}/versions/{version}: material and public key do not match their check value; "
            "this node's ledger was altered, or the version was wrapped wrongly"
        )
