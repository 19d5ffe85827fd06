"""Data sealed under a key version, and keys derived from it.

    K_ctx = HKDF-Expand(K_v, LP(label, algorithm, key, version, H(context)))
    r     = 24 random bytes; ke || kc = HKDF-Expand(K_ctx, LP(label, r), 64)
    output = 0x01 || version (4 bytes) || r (24) || kc (32) || AES-256-GCM(ke, nonce 0, AAD)

A fresh `ke` per message removes the 2^32 limit of random nonces. `kc` commits
to the key: AES-GCM alone lets a crafted ciphertext open under two keys
(partitioning oracles, invisible salamanders). 73 bytes of overhead and the
version. A derived key has a label of its own: handed to a service, it opens
nothing that was encrypted under the same version and context.
"""

import hashlib
import hmac
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from qkms import labels
from qkms.hkdf import expand

from qkms_node.keys.secret import EncryptionKey, VersionSecret

FORMAT = b"\x01"
RANDOM_BYTES = 24
_VERSION_END = 5
_RANDOM_END = _VERSION_END + RANDOM_BYTES
_COMMIT_END = _RANDOM_END + 32
_TAG_BYTES = 16
OVERHEAD = _COMMIT_END + _TAG_BYTES
_NONCE = bytes(12)


class CiphertextMalformed(Exception):
    """Not a ciphertext of this format: truncated, or made by something else."""

    code = "CIPHERTEXT_MALFORMED"


class CiphertextRejected(Exception):
    """A ciphertext that does not verify: altered, or with another key, context or AAD."""

    code = "CIPHERTEXT_REJECTED"


def context_hash(context: Mapping[str, str]) -> bytes:
    """SHA-256 (32 bytes) of a context, independent of its order."""
    pairs = sorted((name.encode(), value.encode()) for name, value in context.items())
    joined = b"".join(labels.lp(name, value) for name, value in pairs)
    return hashlib.sha256(labels.lp(labels.CONTEXT) + joined).digest()


def encryption_key(
    material: VersionSecret, algorithm: str, key_id: str, version: int, context: Mapping[str, str]
) -> EncryptionKey:
    """K_ctx, under which data of one context is sealed."""
    info = labels.lp(labels.ENCRYPTION_KEY, algorithm, key_id, version, context_hash(context))
    return EncryptionKey(expand(material.reveal(), info, 32))


def derived_key(
    material: VersionSecret, algorithm: str, key_id: str, version: int, context: Mapping[str, str]
) -> bytes:
    """The derived key (32 bytes) of a version for a context, to hand to a service."""
    info = labels.lp(labels.DERIVED_KEY, algorithm, key_id, version, context_hash(context))
    return expand(material.reveal(), info, 32)


def seal(key: EncryptionKey, version: int, plaintext: bytes, aad: bytes, r: bytes) -> bytes:
    """The ciphertext of `plaintext`. `r` is 24 fresh random bytes."""
    if len(r) != RANDOM_BYTES:
        raise ValueError(f"r has {RANDOM_BYTES} bytes, not {len(r)}")
    header = FORMAT + version.to_bytes(4, "big") + r
    message_key, commit = _message_keys(key, r)
    return header + commit + AESGCM(message_key).encrypt(_NONCE, plaintext, _aad(header, aad))


def ciphertext_version(ciphertext: bytes) -> int:
    """The key version that made `ciphertext`. Raises CiphertextMalformed."""
    if len(ciphertext) < OVERHEAD:
        raise CiphertextMalformed(f"is {len(ciphertext)} bytes, a ciphertext has at least {OVERHEAD}")
    if ciphertext[:1] != FORMAT:
        raise CiphertextMalformed(f"has format {ciphertext[0]}, this node reads format {FORMAT[0]}")
    return int.from_bytes(ciphertext[1:_VERSION_END], "big")


def open_sealed(key: EncryptionKey, ciphertext: bytes, aad: bytes) -> bytes:
    """The plaintext. Raises CiphertextMalformed or CiphertextRejected."""
    ciphertext_version(ciphertext)
    header = ciphertext[:_RANDOM_END]
    message_key, commit = _message_keys(key, header[_VERSION_END:])
    if not hmac.compare_digest(commit, ciphertext[_RANDOM_END:_COMMIT_END]):
        raise CiphertextRejected("the ciphertext does not verify")
    try:
        return AESGCM(message_key).decrypt(_NONCE, ciphertext[_COMMIT_END:], _aad(header, aad))
    except InvalidTag as error:
        raise CiphertextRejected("the ciphertext does not verify") from error


def _message_keys(key: EncryptionKey, r: bytes) -> tuple[bytes, bytes]:
    block = expand(key.reveal(), labels.lp(labels.SEALED_DATA, r), 64)
    return block[:32], block[32:]


def _aad(header: bytes, aad: bytes) -> bytes:
    # No LP around the caller's data: it may be longer than a 16-bit length, and it comes last.
    return labels.lp(labels.SEALED_DATA, header) + aad
