"""Mode `pkcs11`: under an AES-256 key that never leaves a token (PKCS #11 v2.40).

    k      = 32 fresh random bytes for each write
    sealed = 0x03 || IV (12) || AES-256-GCM by the token(IV, k, AAD = LP(label, cluster, node)) (48) ||
             a node's own seal (`keys.local`) under k

An envelope, since tokens are slow and take little data. The key is found by its
label; it is made, sensitive and not extractable, only while there is no store
yet: a store whose key is gone must not get another one in silence. The PIN is
used to log in and not kept. Needs the extra `pkcs11` of qkms-node.
"""

import secrets
from pathlib import Path
from typing import Any

import pkcs11

from qkms import labels
from qkms_node.keys.local import LocalSealRejected, open_local, seal_local
from qkms_node.keys.secret import LocalSealKey
from qkms_node.service.seals.seal import SealError, SealRejected

FORMAT = b"\x03"
IV_BYTES = 12
_IV_END = 1 + IV_BYTES
_KEY_END = _IV_END + 32 + 16


class TokenSeal:
    """A logged-in session with the token. `may_make_key`: when there is no store yet. Raises SealError."""

    def __init__(
        self,
        module: Path,
        token_label: str,
        key_label: str,
        pin: bytes,
        cluster_id: str,
        node_id: str,
        *,
        may_make_key: bool,
    ) -> None:
        self._cluster_id = cluster_id
        self._node_id = node_id
        self._where = f"token {token_label} of {module}"
        try:
            token = pkcs11.lib(str(module)).get_token(token_label=token_label)
            self._session = token.open(rw=True, user_pin=pin.decode())
        except (pkcs11.PKCS11Error, UnicodeDecodeError, RuntimeError) as error:
            # Only the kind: a library's message might repeat the PIN.
            raise _login_error(self._where, error) from None
        try:
            self._key = self._find(key_label, may_make_key)
        except BaseException:
            self._session.close()
            raise

    def seal(self, payload: bytes) -> bytes:
        """As Seal.seal."""
        iv = secrets.token_bytes(IV_BYTES)
        fresh = secrets.token_bytes(32)
        try:
            wrapped = self._key.encrypt(fresh, mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=self._gcm(iv))
        except pkcs11.PKCS11Error as error:
            raise SealError(
                f"{self._where} did not encrypt: {type(error).__name__}; is it still there?"
            ) from error
        with LocalSealKey(fresh) as key:
            nonce = secrets.token_bytes(24)
            sealed = seal_local(key, payload, cluster_id=self._cluster_id, node_id=self._node_id, nonce=nonce)
        return FORMAT + iv + bytes(wrapped) + sealed

    def open(self, data: bytes) -> bytes:
        """As Seal.open."""
        if data[:1] != FORMAT or len(data) < _KEY_END:
            raise SealError("the root store was not sealed in mode pkcs11; set [seal] mode back to what sealed it")
        iv, wrapped = data[1:_IV_END], data[_IV_END:_KEY_END]
        try:
            opened = self._key.decrypt(wrapped, mechanism=pkcs11.Mechanism.AES_GCM, mechanism_param=self._gcm(iv))
            with LocalSealKey(bytes(opened)) as key:
                return open_local(key, data[_KEY_END:], cluster_id=self._cluster_id, node_id=self._node_id)
        except (pkcs11.PKCS11Error, LocalSealRejected) as error:
            raise SealRejected(
                f"it cannot be opened with the key of {self._where}: {type(error).__name__}; "
                "it was sealed with another key or by another node, or altered"
            ) from error

    def wipe(self) -> None:
        """Ends the session: the token then asks for the PIN again."""
        self._session.close()

    def _gcm(self, iv: bytes) -> pkcs11.GCMParams:
        return pkcs11.GCMParams(iv, labels.lp(labels.HSM_SEAL, self._cluster_id, self._node_id), 128)

    def _find(self, label: str, may_make: bool) -> Any:  # the stubs know no encrypting key
        try:
            return self._session.get_key(pkcs11.ObjectClass.SECRET_KEY, pkcs11.KeyType.AES, label=label)
        except pkcs11.NoSuchKey:
            if not may_make:
                raise SealError(
                    f"{self._where} has no AES key {label}, under which the root store is sealed; bring the token "
                    "with that key, or remove the store to be given the roots again by the cluster"
                ) from None
        except pkcs11.PKCS11Error as error:
            raise SealError(f"{self._where}, key {label}: {type(error).__name__}") from error
        return self._session.generate_key(
            pkcs11.KeyType.AES,
            256,
            label=label,
            store=True,
            capabilities=pkcs11.MechanismFlag.ENCRYPT | pkcs11.MechanismFlag.DECRYPT,
            template={pkcs11.Attribute.SENSITIVE: True, pkcs11.Attribute.EXTRACTABLE: False},
        )


def _login_error(where: str, error: Exception) -> SealError:
    kind = type(error).__name__
    if kind in ("PinIncorrect", "PinInvalid", "PinLenRange", "UnicodeDecodeError"):
        return SealRejected(f"{where} does not take this PIN; tokens lock after a few wrong ones")
    return SealError(f"{where} cannot be used: {kind}; check [seal] module and token_label, and that it is there")
