"""Sealing of stored keys under a key file: AES-256-GCM, random 96-bit nonce in front.

The key file has mode 0600 and is made when missing. What this stops: a copied database or backup
without the key file. What it does not: whoever can read both.
"""

import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
_NONCE_BYTES = 12


class SealError(Exception):
    """The key file or a sealed key is not what it should be."""

    code = "KME_SEAL"


class Seal:
    """Seals and opens under one 32-byte key."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def seal(self, plaintext: bytes, context: bytes) -> bytes:
        """Nonce (12 bytes) || AES-256-GCM with `context` as associated data."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, plaintext, context)

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """The plaintext. Raises SealError if it was sealed under another key or context."""
        try:
            return self._aead.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], context)
        except (InvalidTag, ValueError):
            raise SealError(
                "a stored key does not open: the key file does not belong to this database, or the database "
                "was altered; restore both from the same time or start with an empty data_dir"
            ) from None


def load_seal(path: Path) -> Seal:
    """The seal of this key file, made with mode 0600 when missing. Raises SealError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return Seal(_read(path))
    key = AESGCM.generate_key(bit_length=KEY_BYTES * 8)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
        file.flush()
        os.fsync(file.fileno())
    return Seal(key)


def _read(path: Path) -> bytes:
    if path.stat().st_mode & 0o077:
        raise SealError(f"{path} is readable by others; run: chmod 600 {path}")
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise SealError(f"{path} holds {len(key)} bytes instead of {KEY_BYTES}; restore it or empty the data_dir")
    return key
