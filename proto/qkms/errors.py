"""Errors of the cryptographic layers: one family, a stable `code` each, never a secret in a message."""


class CryptoError(Exception):
    """Base of all errors of the cryptographic layers."""

    code = "CRYPTO_ERROR"


class InvalidInput(CryptoError, ValueError):
    """An argument outside what the construction allows (a length, a number, a repetition). A caller's fault."""

    code = "INVALID_INPUT"


class KemRejected(CryptoError):
    """A public key, ciphertext or private key that cannot be used. Ask the peer for a fresh one."""

    code = "KEM_REJECTED"


class SessionRejected(CryptoError):
    """The peer's part of a session cannot be accepted. Open a new session."""

    code = "SESSION_REJECTED"


class SealedRejected(CryptoError):
    """Sealed bytes that do not open: for another key or purpose, or altered."""

    code = "SEALED_REJECTED"


class SharesRejected(CryptoError):
    """Recovery shares that cannot be read or do not belong together. Nothing was opened with them."""

    code = "SHARES_REJECTED"


class PassphraseRejected(CryptoError):
    """Another passphrase than the one it was sealed under."""

    code = "PASSPHRASE_REJECTED"


class BackupRejected(CryptoError):
    """A backup that is no backup, truncated, reordered or altered. Nothing of it may be used."""

    code = "BACKUP_REJECTED"
