"""A node's audit key: Ed25519 and ML-DSA-65, made at the first start, sealed beside the audit files.

Both halves sign each anchor, so that a forger must break both. The private
halves (32-byte seeds) are sealed as the root store is; in mode peers, where
nothing is stored, each start has a key of its own. Whoever takes the node over
can sign as it: what a signature proves is that records were not changed after
they were anchored.
"""

import secrets
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey

from qkms.audit import AuditPublicKey, Head, SignedHead, statement
from qkms_node.errors import QkmsError
from qkms_node.files import replace_durably
from qkms_node.service.roots import RootStore
from qkms_node.service.seals.seal import SealRejected

FILE_NAME = "key.sealed"
SEED_BYTES = 32


class _Seeds(msgspec.Struct, frozen=True):
    ed25519: bytes
    mldsa65: bytes

    def __repr__(self) -> str:
        return "_Seeds(redacted)"


class AuditKey:
    """Signs heads of this node's calls."""

    def __init__(self, seeds: _Seeds, cluster_id: str, node_id: str) -> None:
        self._cluster_id = cluster_id
        self._node_id = node_id
        self._ed25519 = Ed25519PrivateKey.from_private_bytes(seeds.ed25519)
        self._mldsa65 = MLDSA65PrivateKey.from_seed_bytes(seeds.mldsa65)
        self.public = AuditPublicKey(
            self._ed25519.public_key().public_bytes_raw(), self._mldsa65.public_key().public_bytes_raw()
        )

    def sign(self, head: Head) -> SignedHead:
        """Both signatures under a head."""
        data = statement(self._cluster_id, self._node_id, self.public.key_id, head)
        return SignedHead(
            self._node_id, self.public.key_id, head, self._ed25519.sign(data), self._mldsa65.sign(data)
        )


def open_audit_key(folder: Path, roots: RootStore, cluster_id: str, node_id: str) -> AuditKey:
    """The key in `folder`, made and stored durably if there is none.

    Raises QkmsError AUDIT_KEY_UNKNOWN or SEALED, SealError, OSError.
    """
    path = folder / FILE_NAME
    if not path.exists() or not roots.stores:
        made = _Seeds(secrets.token_bytes(SEED_BYTES), secrets.token_bytes(SEED_BYTES))
        if not roots.stores:
            return AuditKey(made, cluster_id, node_id)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_durably(path, roots.seal_own(msgspec.msgpack.encode(made), "audit"))
    try:
        seeds = msgspec.msgpack.decode(roots.open_own(path.read_bytes(), "audit"), type=_Seeds)
        return AuditKey(seeds, cluster_id, node_id)
    except (SealRejected, msgspec.MsgspecError, ValueError) as error:
        # Not chained: the text of the error might hold what was sealed.
        raise QkmsError(
            "AUDIT_KEY_UNKNOWN",
            f"{path} cannot be opened with this node's seal ({type(error).__name__}); restore what it needs, "
            "or move the audit folder aside to begin a new chain under a new key",
        ) from None
