"""Key versions wrapped under the key encryption key of an epoch.

K_v is random, never derived, so that erasing one version's wrapped bytes
really destroys it, and a new epoch only rewraps. AES-256-GCM (NIST SP
800-38D) with a random 96-bit nonce under KEK_e: a cluster stays far below
2^32 wraps per epoch.
"""

import hashlib
import hmac
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from qkms import labels
from qkms.hkdf import expand

from qkms_node.keys.secret import KeyEncryptionKey, VersionSecret

NONCE_BYTES = 12
CHECK_BYTES = 16


class WrapRejected(Exception):
    """A wrapped key version does not open: altered, or of another key, version or epoch."""

    code = "WRAP_REJECTED"


@dataclass(frozen=True)
class VersionBinding:
    """What a wrapped version is bound to: moved under another name or number it does not open."""

    key_id: str
    version: int
    algorithm: str
    epoch: int

    def aad(self) -> bytes:
        """The additional authenticated data of the wrap."""
        return labels.lp(labels.VERSION_WRAP, self.key_id, self.version, self.algorithm, self.epoch)


def wrap_version(kek: KeyEncryptionKey, material: VersionSecret, bound: VersionBinding, nonce: bytes) -> bytes:
    """nonce (12 bytes) || AES-256-GCM (48 bytes). `nonce` must be fresh and random."""
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"a wrap nonce has {NONCE_BYTES} bytes, not {len(nonce)}")
    return nonce + AESGCM(kek.reveal()).encrypt(nonce, material.reveal(), bound.aad())


def unwrap_version(kek: KeyEncryptionKey, wrapped: bytes, bound: VersionBinding) -> VersionSecret:
    """The material of a version. Raises WrapRejected."""
    try:
        opened = AESGCM(kek.reveal()).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], bound.aad())
        return VersionSecret(opened)
    except (InvalidTag, ValueError) as error:
        raise WrapRejected(
            f"keys/{bound.key_id}/versions/{bound.version} does not open under root epoch {bound.epoch}"
        ) from error


def check_value(material: VersionSecret, key_id: str, version: int) -> bytes:
    """16 public bytes by which two nodes see that they hold the same material."""
    key = expand(material.reveal(), labels.CHECK_VALUE, 32)
    return hmac.new(key, labels.lp(labels.CHECK_VALUE, key_id, version), hashlib.sha256).digest()[:CHECK_BYTES]
