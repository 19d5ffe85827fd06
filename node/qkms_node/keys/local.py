"""A node's own secrets sealed under its key file.

    k = HKDF-Expand(key, LP(label, nonce), 32);  file = 0x01 || nonce (24) || AES-256-GCM(k, nonce 0)

A key per write removes any limit on the number of writes. Cluster and node
are authenticated: a store copied from another node is refused even with its
key file.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from qkms import labels
from qkms.hkdf import expand

from qkms_node.keys.secret import LocalSealKey

FORMAT = b"\x01"
NONCE_BYTES = 24
_ZERO = bytes(12)


class LocalSealRejected(Exception):
    """A sealed file does not open: another key file, another node, or altered."""

    code = "LOCAL_SEAL_REJECTED"


def seal_local(key: LocalSealKey, payload: bytes, *, cluster_id: str, node_id: str, nonce: bytes) -> bytes:
    """`payload` sealed for this node. `nonce` is 24 fresh random bytes."""
    if len(nonce) != NONCE_BYTES:
        raise ValueError(f"a seal nonce has {NONCE_BYTES} bytes, not {len(nonce)}")
    return FORMAT + nonce + _cipher(key, nonce).encrypt(_ZERO, payload, _aad(cluster_id, node_id))


def open_local(key: LocalSealKey, data: bytes, *, cluster_id: str, node_id: str) -> bytes:
    """The inverse of `seal_local`. Raises LocalSealRejected."""
    if data[:1] != FORMAT or len(data) < 1 + NONCE_BYTES:
        raise LocalSealRejected("not a sealed store of this format")
    nonce = data[1 : 1 + NONCE_BYTES]
    try:
        return _cipher(key, nonce).decrypt(_ZERO, data[1 + NONCE_BYTES :], _aad(cluster_id, node_id))
    except (InvalidTag, ValueError) as error:
        raise LocalSealRejected("does not open: another key file, a store of another node, or altered") from error


def _cipher(key: LocalSealKey, nonce: bytes) -> AESGCM:
    return AESGCM(expand(key.reveal(), labels.lp(labels.LOCAL_SEAL, nonce), 32))


def _aad(cluster_id: str, node_id: str) -> bytes:
    return labels.lp(labels.LOCAL_SEAL, cluster_id, node_id)
