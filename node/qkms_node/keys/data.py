"""Data sealed under a key version, and keys derived from it.

    K_ctx = HKDF-Expand(K_v, LP(label, algorithm, key, version, H(context)), 32)
    r     = 24 random bytes; ke || kc = HKDF-Expand(K_ctx, LP(label, r), 64)
    output = 0x01 || version (4, big-endian) || r (24) || kc (32) ||
             AES-256-GCM(ke, nonce 0, AAD = LP(label, 0x01 || version || r) || caller's AAD)

A fresh `ke` per message removes the 2^32 limit of random nonces. `kc` commits
to key and context (not to the AAD): AES-GCM alone lets a crafted ciphertext
open under two keys (partitioning oracles, invisible salamanders). A derived
key has a label of its own: handed to a service, it opens nothing that was
encrypted under the same version and context.
"""

import hashlib
import hmac
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qkms import labels
from qkms.errors import InvalidInput
from qkms.hkdf import expand, expand_into
from qkms_node.keys.errors import CiphertextMalformed, CiphertextRejected
from qkms_node.keys.secret import EncryptionKey, VersionSecret

__all__ = [
    "DERIVED_BYTES",
    "OVERHEAD",
    "CiphertextMalformed",
    "CiphertextRejected",
    "ciphertext_version",
    "context_hash",
    "derived_key",
    "encryption_key",
    "open_sealed",
    "seal",
]

FORMAT = b"\x01"
RANDOM_BYTES = 24
MAX_VERSION = 0xFFFF_FFFF
DERIVED_BYTES = range(16, 1025)
"""The lengths that a derived key may have."""
_VERSION_END = 5
_RANDOM_END = _VERSION_END + RANDOM_BYTES
_COMMIT_END = _RANDOM_END + 32
_TAG_BYTES = 16
OVERHEAD = _COMMIT_END + _TAG_BYTES
"""Bytes by which a ciphertext is longer than its plaintext: 77."""
_NONCE = bytes(12)


def context_hash(context: Mapping[str, str]) -> bytes:
    """SHA-256 (32 bytes) of LP(label, name, value, ...) with the pairs sorted by the UTF-8 bytes of the name.

    Independent of the order of `context`. Raises InvalidInput for a name or value over 65535
    bytes or not valid Unicode.
    """
    pairs = sorted(context.items())  # by code point, which is the order of the UTF-8 bytes
    return hashlib.sha256(labels.lp(labels.CONTEXT, *(part for pair in pairs for part in pair))).digest()


def encryption_key(
    material: VersionSecret, algorithm: str, key_id: str, version: int, context: Mapping[str, str]
) -> EncryptionKey:
    """K_ctx, under which data of one context is sealed. Raises InvalidInput as `context_hash` does."""
    info = labels.lp(labels.ENCRYPTION_KEY, algorithm, key_id, version, context_hash(context))
    return EncryptionKey.filled(lambda buffer: expand_into(material.reveal(), info, buffer))


def derived_key(
    material: VersionSecret,
    algorithm: str,
    key_id: str,
    version: int,
    context: Mapping[str, str],
    length: int = 32,
) -> bytes:
    """The derived key of a version for a context, `length` bytes (16 to 1024), to hand to a service.

    The length is bound, so that who holds a longer key does not know the shorter ones. Raises
    InvalidInput for another length, and as `context_hash` does.
    """
    if length not in DERIVED_BYTES:
        raise InvalidInput(f"a derived key has {DERIVED_BYTES[0]} to {DERIVED_BYTES[-1]} bytes, not {length}")
    info = labels.lp(labels.DERIVED_KEY, algorithm, key_id, version, context_hash(context), length)
    return expand(material.reveal(), info, length)


def seal(key: EncryptionKey, version: int, plaintext: bytes, aad: bytes, r: bytes) -> bytes:
    """The ciphertext of `plaintext`, 77 bytes longer. `r` is 24 fresh random bytes.

    Raises InvalidInput for another length of `r` or a version outside 1 to 2^32 - 1.
    """
    if len(r) != RANDOM_BYTES:
        raise InvalidInput(f"r has {RANDOM_BYTES} bytes, not {len(r)}")
    if not 1 <= version <= MAX_VERSION:
        raise InvalidInput(f"version {version} does not fit a ciphertext; versions are 1 to {MAX_VERSION}")
    header = FORMAT + version.to_bytes(4, "big") + r
    message_key, commit = _message_keys(key, r)
    return header + commit + AESGCM(message_key).encrypt(_NONCE, plaintext, _aad(header, aad))


def ciphertext_version(ciphertext: bytes) -> int:
    """The key version (1 to 2^32 - 1) that `ciphertext` names; not verified. Raises CiphertextMalformed."""
    if len(ciphertext) < OVERHEAD:
        raise CiphertextMalformed(f"is {len(ciphertext)} bytes, a ciphertext has at least {OVERHEAD}")
    if ciphertext[:1] != FORMAT:
        raise CiphertextMalformed(f"has format {ciphertext[0]}, this node reads format {FORMAT[0]}")
    version = int.from_bytes(ciphertext[1:_VERSION_END], "big")
    if version == 0:
        raise CiphertextMalformed("names key version 0; versions are counted from 1")
    return version


def open_sealed(key: EncryptionKey, ciphertext: bytes, aad: bytes) -> bytes:
    """The plaintext. `key` is that of the version the ciphertext names.

    Raises CiphertextMalformed, or CiphertextRejected, which does not say what did not
    match: telling key, context, AAD and alteration apart would be an oracle.
    """
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
