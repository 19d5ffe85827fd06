"""Mode `passphrase`: under a key that Argon2id makes of a passphrase.

    sealed = 0x02 || parameters (25) || check (32) || a node's own seal (`keys.local`) under that key

The parameters stand beside what they protect and are replaced with it. Others
in the configuration count when the passphrase is set, that is with a new store.
The passphrase itself is kept nowhere.
"""

import secrets

from qkms.errors import InvalidInput, PassphraseRejected
from qkms.passphrase import CHECK_BYTES, ENCODED_BYTES, SALT_BYTES, Argon2Parameters, passphrase_keys
from qkms_node.keys.local import LocalSealRejected, open_local, seal_local
from qkms_node.keys.secret import LocalSealKey
from qkms_node.service.seals.seal import SealError, SealRejected

FORMAT = b"\x02"
_HEADER = 1 + ENCODED_BYTES + CHECK_BYTES


class PassphraseSeal:
    """`stored`: what is on disk; None: this passphrase becomes the node's. Raises SealError, SealRejected.

    Takes the time and memory of the parameters.
    """

    def __init__(
        self,
        passphrase: bytes,
        stored: bytes | None,
        cluster_id: str,
        node_id: str,
        *,
        memory_kib: int,
        passes: int,
        lanes: int,
    ) -> None:
        self._cluster_id = cluster_id
        self._node_id = node_id
        try:
            if stored is None:
                parameters = Argon2Parameters(secrets.token_bytes(SALT_BYTES), memory_kib, passes, lanes)
                keys = passphrase_keys(passphrase, parameters)
            else:
                parameters, check = read_header(stored)
                keys = passphrase_keys(passphrase, parameters)
                keys.verify(check)
        except PassphraseRejected as error:
            raise SealRejected(str(error)) from error
        except InvalidInput as error:
            raise SealError(str(error)) from error
        self._header = FORMAT + parameters.encode() + keys.check
        self._key = LocalSealKey(keys.key)

    def seal(self, payload: bytes) -> bytes:
        """As Seal.seal."""
        nonce = secrets.token_bytes(24)
        return self._header + seal_local(
            self._key, payload, cluster_id=self._cluster_id, node_id=self._node_id, nonce=nonce
        )

    def open(self, data: bytes) -> bytes:
        """As Seal.open."""
        try:
            return open_local(self._key, data[_HEADER:], cluster_id=self._cluster_id, node_id=self._node_id)
        except LocalSealRejected as error:
            raise SealRejected(f"the passphrase is right, but the store does not open: {error}") from error

    def wipe(self) -> None:
        """As Seal.wipe."""
        self._key.wipe()


def read_header(stored: bytes) -> tuple[Argon2Parameters, bytes]:
    """Parameters and check of a sealed store. Raises SealError; InvalidInput for parameters out of bounds."""
    if stored[:1] != FORMAT or len(stored) < _HEADER:
        raise SealError("the root store was not sealed in mode passphrase; set [seal] mode back to what sealed it")
    return Argon2Parameters.decode(stored[1 : 1 + ENCODED_BYTES]), stored[1 + ENCODED_BYTES : _HEADER]
