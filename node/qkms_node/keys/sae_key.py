"""SAE keys sealed under the root of an epoch, for the ledger.

    k      = HKDF-Expand(KEK_e, LP(label, key_ID, master, LP(slave, ...), e), 32)
    sealed = AES-256-GCM(k, nonce 0, key)

The key is random, never derived: erasing its sealed form destroys it. `k` serves once, since a key_ID is drawn
once, so the fixed nonce is safe. The parties are bound: moved to a record of other parties, a key does not open.
"""

from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qkms import labels
from qkms.hkdf import expand
from qkms_node.keys.errors import WrapRejected
from qkms_node.keys.secret import KeyEncryptionKey

_NONCE = bytes(12)
OVERHEAD = 16
"""Bytes by which a sealed key is longer than the key."""


@dataclass(frozen=True)
class SaeKeyBinding:
    """What a sealed SAE key is bound to. `key_id` is a fresh UUID; the parties are SAE ids."""

    key_id: str
    master: str
    slaves: tuple[str, ...]
    epoch: int


def seal_sae_key(kek: KeyEncryptionKey, key: bytes, bound: SaeKeyBinding) -> bytes:
    """The key sealed, 16 bytes longer."""
    return _cipher(kek, bound).encrypt(_NONCE, key, None)


def open_sae_key(kek: KeyEncryptionKey, sealed: bytes, bound: SaeKeyBinding) -> bytes:
    """The inverse of `seal_sae_key`. Raises WrapRejected."""
    try:
        return _cipher(kek, bound).decrypt(_NONCE, sealed, None)
    except InvalidTag as error:
        raise WrapRejected(f"saeKeys/{bound.key_id} does not open under root epoch {bound.epoch}") from error


def _cipher(kek: KeyEncryptionKey, bound: SaeKeyBinding) -> AESGCM:
    slaves = labels.lp(*bound.slaves)
    info = labels.lp(labels.SAE_KEY_SEAL, bound.key_id, bound.master, slaves, bound.epoch)
    return AESGCM(expand(kek.reveal(), info, 32))
