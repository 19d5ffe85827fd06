"""A node's own secrets sealed under its key file.

    k      = HKDF-Expand(key, LP(label, nonce), 32)
    sealed = 0x01 || nonce (24) || AES-256-GCM(k, nonce 0, AAD = LP(label, 0x01, cluster, node))

A key per write, from 192 random bits, removes any limit on the number of
writes. Cluster and node are authenticated: a store copied from another node is
refused even with its key file. Leaves out freshness: an older store of the same
node opens.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qkms import labels
from qkms.errors import InvalidInput
from qkms.hkdf import expand
from qkms_node.keys.errors import LocalSealRejected
from qkms_node.keys.secret import LocalSealKey

__all__ = ["LocalSealRejected", "open_local", "seal_local"]

FORMAT = b"\x01"
NONCE_BYTES = 24
_HEADER = 1 + NONCE_BYTES
_ZERO = bytes(12)


def seal_local(key: LocalSealKey, payload: bytes, *, cluster_id: str, node_id: str, nonce: bytes) -> bytes:
    """`payload` sealed for this node, 41 bytes longer. `nonce` is 24 fresh random bytes, else InvalidInput."""
    if len(nonce) != NONCE_BYTES:
        raise InvalidInput(f"a seal nonce has {NONCE_BYTES} bytes, not {len(nonce)}")
    return FORMAT + nonce + _cipher(key, nonce).encrypt(_ZERO, payload, _aad(cluster_id, node_id))


def open_local(key: LocalSealKey, data: bytes, *, cluster_id: str, node_id: str) -> bytes:
    """The inverse of `seal_local`. Raises LocalSealRejected."""
    if data[:1] != FORMAT:
        raise LocalSealRejected("it is not a sealed store of this format")
    nonce, sealed = data[1:_HEADER], data[_HEADER:]
    try:
        return _cipher(key, nonce).decrypt(_ZERO, sealed, _aad(cluster_id, node_id))
    except InvalidTag as error:
        raise LocalSealRejected(
            "it does not open: another key file, a store of another node, truncated or altered"
        ) from error


def _cipher(key: LocalSealKey, nonce: bytes) -> AESGCM:
    return AESGCM(expand(key.reveal(), labels.lp(labels.LOCAL_SEAL, nonce), 32))


def _aad(cluster_id: str, node_id: str) -> bytes:
    return labels.lp(labels.LOCAL_SEAL, FORMAT, cluster_id, node_id)
