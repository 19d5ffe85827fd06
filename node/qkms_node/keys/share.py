"""Shares: the root of an epoch sealed for one node under QKD, ML-KEM-768 and X25519.

    PRK = HKDF-Extract(salt = psk or 32 zero bytes, IKM = ss_MLKEM768 || ss_X25519)
    k   = HKDF-Expand(PRK, LP(label, cluster, epoch, leader, node, key_ID,
                              SHA-256(LP(both public keys, both ciphertexts))), 32)
    sealed = AES-256-GCM(k, nonce 0, root)

`k` serves once, so the fixed nonce is safe. The share stays closed while the
QKD key, ML-KEM-768 or X25519 holds. Leaves out the sender: who may stage a
root is the ledger's affair, and the caller checks the commitment.
"""

import hashlib
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qkms import labels
from qkms.errors import InvalidInput, KemRejected
from qkms.hkdf import expand, extract
from qkms.kem import HybridCiphertext, HybridPrivateKey, HybridPublicKey, SharedSecrets, encapsulate
from qkms_node.keys.errors import ShareRejected
from qkms_node.keys.secret import QkdSecret, RootSecret

__all__ = ["Binding", "SealedShare", "ShareRejected", "open_share", "seal_share"]

_NONCE = bytes(12)
_NO_PSK = bytes(32)


@dataclass(frozen=True)
class Binding:
    """What a share is bound to; `qkd_key_id` is empty when no QKD key entered."""

    cluster_id: str
    epoch: int
    leader_id: str
    node_id: str
    qkd_key_id: str


@dataclass(frozen=True)
class SealedShare:
    """The ciphertexts of both key agreements and the sealed root (48 bytes: root and GCM tag). Public."""

    ciphertext: HybridCiphertext
    sealed: bytes


def seal_share(root: RootSecret, bound: Binding, public: HybridPublicKey, psk: QkdSecret | None) -> SealedShare:
    """Seals `root` to the holder of `public`; `psk` is the QKD key between leader and node.

    Draws randomness (`qkms.kem.encapsulate`). Raises KemRejected for a bad public key,
    InvalidInput unless `psk` is given exactly when `bound` names a QKD key.
    """
    _check_pair(bound, psk)
    ciphertext, secrets = encapsulate(public)
    key = _share_key(secrets, psk, bound, public, ciphertext)
    return SealedShare(ciphertext, AESGCM(key).encrypt(_NONCE, root.reveal(), None))


def open_share(share: SealedShare, bound: Binding, private: HybridPrivateKey, psk: QkdSecret | None) -> RootSecret:
    """The root in `share`. Raises ShareRejected; InvalidInput as `seal_share` does.

    No share opens both with and without a QKD key: its key_ID is bound, so a share
    stripped of it (a downgrade to PQC) does not open.
    """
    _check_pair(bound, psk)
    try:
        secrets = private.decapsulate(share.ciphertext)
        cipher = AESGCM(_share_key(secrets, psk, bound, private.public, share.ciphertext))
        return RootSecret.filled(lambda buffer: cipher.decrypt_into(_NONCE, share.sealed, None, buffer))
    except (InvalidTag, KemRejected, ValueError) as error:
        raise ShareRejected(
            f"the share of root epoch {bound.epoch} for node {bound.node_id} does not open: "
            "the two ends hold different keys, or it was altered"
        ) from error


def _check_pair(bound: Binding, psk: QkdSecret | None) -> None:
    if (psk is None) != (bound.qkd_key_id == ""):
        raise InvalidInput("a share names a QKD key exactly when it is sealed under one")


def _share_key(
    secrets: SharedSecrets,
    psk: QkdSecret | None,
    bound: Binding,
    public: HybridPublicKey,
    ciphertext: HybridCiphertext,
) -> bytes:
    prk = extract(psk.reveal() if psk is not None else _NO_PSK, secrets.mlkem + secrets.x25519)
    # Binding keys and ciphertexts stops variants that agree on the same secret:
    # X25519, for one, ignores the top bit of a public key.
    exchange = hashlib.sha256(labels.lp(public.mlkem, public.x25519, ciphertext.mlkem, ciphertext.x25519)).digest()
    info = labels.lp(
        labels.SHARE,
        bound.cluster_id,
        bound.epoch,
        bound.leader_id,
        bound.node_id,
        bound.qkd_key_id,
        exchange,
    )
    return expand(prk, info, 32)
