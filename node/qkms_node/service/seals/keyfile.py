"""Mode `keyfile`: under 32 bytes in a file of mode 0600, made on first use."""

import secrets
from pathlib import Path

from qkms_node.files import replace_durably
from qkms_node.keys.local import LocalSealRejected, open_local, seal_local
from qkms_node.keys.secret import LocalSealKey
from qkms_node.service.seals.seal import SealError, SealRejected

KEY_BYTES = 32


class KeyFileSeal:
    """Raises SealError when the file cannot be used."""

    def __init__(self, path: Path, cluster_id: str, node_id: str) -> None:
        self._path = path
        self._cluster_id = cluster_id
        self._node_id = node_id
        self._key = LocalSealKey(_read_or_make(path))

    def seal(self, payload: bytes) -> bytes:
        """As Seal.seal."""
        nonce = secrets.token_bytes(24)
        return seal_local(self._key, payload, cluster_id=self._cluster_id, node_id=self._node_id, nonce=nonce)

    def open(self, data: bytes) -> bytes:
        """As Seal.open."""
        try:
            return open_local(self._key, data, cluster_id=self._cluster_id, node_id=self._node_id)
        except LocalSealRejected as error:
            raise SealRejected(
                f"it cannot be opened with the key file {self._path} ({error}); restore the right one, or "
                "remove the sealed file to be given the roots again by the cluster"
            ) from error

    def wipe(self) -> None:
        """As Seal.wipe."""
        self._key.wipe()


def _read_or_make(path: Path) -> bytes:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_durably(path, secrets.token_bytes(KEY_BYTES))
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise SealError(f"{path}: mode {mode:04o} lets others read the seal key; chmod it to 0600")
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise SealError(f"{path}: holds {len(key)} bytes, a seal key has {KEY_BYTES}; restore the right file")
    return key
