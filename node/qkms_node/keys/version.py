"""Key versions wrapped under the key encryption key of an epoch.

    wrapped = nonce (12) || AES-256-GCM(KEK_e, nonce, K_v, AAD = LP(label, key, version, algorithm, e))

K_v is random, never derived, so that erasing one version's wrapped bytes
really destroys it, and a new epoch only rewraps. The nonce is random (NIST SP
800-38D, 8.2.2): a cluster stays far below 2^32 wraps per epoch.
"""

import hmac
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qkms import labels
from qkms.errors import InvalidInput
from qkms.hkdf import expand
from qkms_node.keys.errors import WrapRejected
from qkms_node.keys.secret import KeyEncryptionKey, VersionSecret

__all__ = ["VersionBinding", "WrapRejected", "check_value", "unwrap_version", "wrap_version"]

NONCE_BYTES = 12
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
    """The wrapped version, 60 bytes. `nonce` is 12 fresh random bytes; raises InvalidInput for another length."""
    if len(nonce) != NONCE_BYTES:
        raise InvalidInput(f"a wrap nonce has {NONCE_BYTES} bytes, not {len(nonce)}")
    return nonce + AESGCM(kek.reveal()).encrypt(nonce, material.reveal(), bound.aad())


def unwrap_version(kek: KeyEncryptionKey, wrapped: bytes, bound: VersionBinding) -> VersionSecret:
    """The material of a version. Raises WrapRejected."""
    cipher, aad = AESGCM(kek.reveal()), bound.aad()
    nonce, sealed = wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:]
    try:
        return VersionSecret.filled(lambda buffer: cipher.decrypt_into(nonce, sealed, aad, buffer))
    except (InvalidTag, ValueError) as error:
        raise WrapRejected(
            f"keys/{bound.key_id}/versions/{bound.version} does not open under root epoch {bound.epoch}"
        ) from error


def check_value(material: VersionSecret, key_id: str, version: int) -> bytes:
    """16 public bytes by which two nodes see that they hold the same material; one way."""
    key = expand(material.reveal(), labels.lp(labels.CHECK_VALUE), 32)
    return hmac.digest(key, labels.lp(labels.CHECK_VALUE, key_id, version), "sha256")[:CHECK_BYTES]
