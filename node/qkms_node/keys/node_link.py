"""What seals the traffic of one direction between two nodes, inside TLS, under a key that a QKD link delivered.

    PRK    = HKDF-Extract(salt = QKD key, IKM = nonce of the sender (32) || nonce of the receiver (32))
    k      = HKDF-Expand(PRK, LP(label, cluster, sender, receiver, key_ID), 32)
    record = AES-256-GCM(k, nonce = number of the record, 12 bytes big-endian, AAD = label)
    proof  = HKDF-Expand(HKDF-Extract(salt = QKD key, IKM = nonce of the sender),
                         LP(proof label, cluster, sender, receiver, key_ID), 32)

Both nonces are fresh for each connection, so that one QKD key serves several connections in turn and no (k,
nonce) pair comes twice. The number is not sent: a record that is lost, repeated or moved does not open.
Ordering: records are opened in the order in which they were sealed. The proof shows the receiver that both hold
one key before anything is sealed under it: a KME that delivers another would else close the way between two
nodes. Leaves out which records a peer may send (see `consensus.link_layer`), and forward secrecy within the life
of one QKD key.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qkms import labels
from qkms.errors import InvalidInput
from qkms.hkdf import expand, extract
from qkms_node.keys.errors import LinkRecordRejected
from qkms_node.keys.secret import QkdSecret

NONCE_BYTES = 32
PROOF_BYTES = 32
OVERHEAD_BYTES = 16
# NIST SP 800-38D bounds the blocks under one key far above; a record of 1.25 MiB is 2^16.3 blocks.
MAX_RECORDS = 1 << 32

_AAD = labels.lp(labels.NODE_LINK)


def key_proof(
    secret: QkdSecret, *, cluster_id: str, sender: str, receiver: str, key_id: str, sender_nonce: bytes
) -> bytes:
    """What the sender shows of the key, 32 bytes; says nothing else of it. Raises SecretWiped."""
    # Its input is half as long as that of a cipher, and its label another: it is no part of any record's key.
    prk = extract(secret.reveal(), sender_nonce)
    return expand(prk, labels.lp(labels.NODE_LINK_PROOF, cluster_id, sender, receiver, key_id), PROOF_BYTES)


class LinkCipher:
    """The records of one connection in one direction: one end seals, the other opens."""

    def __init__(
        self,
        secret: QkdSecret,
        *,
        cluster_id: str,
        sender: str,
        receiver: str,
        key_id: str,
        sender_nonce: bytes,
        receiver_nonce: bytes,
    ) -> None:
        """Raises InvalidInput for nonces that are not 32 bytes, SecretWiped."""
        if len(sender_nonce) != NONCE_BYTES or len(receiver_nonce) != NONCE_BYTES:
            raise InvalidInput(f"a nonce of a node link has {NONCE_BYTES} bytes")
        prk = extract(secret.reveal(), sender_nonce + receiver_nonce)
        info = labels.lp(labels.NODE_LINK, cluster_id, sender, receiver, key_id)
        self._cipher = AESGCM(expand(prk, info, 32))
        self._number = 0

    def seal(self, plain: bytes) -> bytes:
        """The next record, 16 bytes longer. Raises InvalidInput after 2^32 of them."""
        return self._cipher.encrypt(self._next(), plain, _AAD)

    def open(self, record: bytes) -> bytes:
        """The inverse of `seal`, in the same order. Raises LinkRecordRejected, and then never opens any more."""
        try:
            return self._cipher.decrypt(self._next(), record, _AAD)
        except InvalidTag as error:
            self._number = MAX_RECORDS
            raise LinkRecordRejected(
                "a record under the QKD key does not open: altered, repeated or lost on the way, or another key"
            ) from error

    def _next(self) -> bytes:
        if self._number >= MAX_RECORDS:
            raise InvalidInput("this key of a node link has served; take another")
        number, self._number = self._number, self._number + 1
        return number.to_bytes(12, "big")
