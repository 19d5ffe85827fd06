"""The recovery key of a cluster, and its shares as text.

    s       = 32 random bytes, the recovery secret; never stored, only shared
    private = HKDF-Expand(s, LP(label, set id), 96): an ML-KEM-768 seed and an X25519 scalar
    tag     = HMAC-SHA256(HKDF-Expand(s, LP(label)), LP(label, set id, threshold))[:16]
    share   = Shamir over s || tag
    text    = "qkmsr1-" || base32 in groups of 8 of
              (set id (8) || threshold (1) || x (1) || share (48) || checksum (6))

The public key stands in the ledger and every root epoch is sealed to it. The
checksum finds typing errors in one share; the tag finds shares that do not
belong together, before anything is opened with the result. Leaves out
randomness, which is an argument, and who keeps which share.
"""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from qkms import labels, shamir
from qkms.errors import InvalidInput, SharesRejected
from qkms.hkdf import expand
from qkms.kem import MLKEM_SEED_BYTES, X25519_BYTES, HybridPrivateKey
from qkms.redacted import Redacted
from qkms.sealed import Purpose

SECRET_BYTES = 32
SET_ID_BYTES = 8
TAG_BYTES = 16
SHARED_BYTES = SECRET_BYTES + TAG_BYTES
PREFIX = "qkmsr1-"
_GROUP = 8
_CHECKSUM_BYTES = 6
_HEAD = SET_ID_BYTES + 2
_BINARY = _HEAD + SHARED_BYTES + _CHECKSUM_BYTES


@dataclass(frozen=True, repr=False, eq=False)
class RecoveryShare(Redacted):
    """One share. `set_id`: of the recovery key (hexadecimal), `x`: its number in the set."""

    set_id: str
    threshold: int
    x: int
    data: bytes


@dataclass(frozen=True, repr=False, eq=False)
class RecoveryKey(Redacted):
    """A recovery key: what the shares give back."""

    set_id: str
    threshold: int
    private: HybridPrivateKey


def sealed_root(cluster_id: str, set_id: str, epoch: int) -> Purpose:
    """What a root is bound to that stands in the ledger sealed to the recovery key."""
    return (labels.RECOVERY_ROOT, cluster_id, set_id, epoch)


def handover(cluster_id: str, set_id: str, epoch: int, node_id: str) -> Purpose:
    """What a root is bound to that is handed to a node by whoever opened it with the recovery key."""
    return (labels.RECOVERY_HANDOVER, cluster_id, set_id, epoch, node_id)


def make_shares(
    secret: bytes, set_id: bytes, threshold: int, count: int, coefficients: bytes
) -> tuple[RecoveryKey, list[RecoveryShare]]:
    """A recovery key and its shares, from fresh random bytes.

    `secret`: 32 bytes, `set_id`: 8, `coefficients`: (threshold - 1) * 48. Raises InvalidInput
    for other lengths and unless 2 <= threshold <= count <= 255.
    """
    if len(secret) != SECRET_BYTES or len(set_id) != SET_ID_BYTES:
        raise InvalidInput(f"a recovery secret has {SECRET_BYTES} bytes and a set id {SET_ID_BYTES}")
    name = set_id.hex()
    shares = shamir.split(secret + _tag(secret, name, threshold), threshold, count, coefficients)
    return _key(secret, name, threshold), [RecoveryShare(name, threshold, x, d) for x, d in shares.items()]


def join_shares(shares: Sequence[RecoveryShare]) -> RecoveryKey:
    """The recovery key of at least `threshold` shares of one set. Raises SharesRejected."""
    if not shares:
        raise SharesRejected("no recovery shares were given")
    first = shares[0]
    sets = sorted({share.set_id for share in shares})
    if len(sets) > 1:
        raise SharesRejected(f"the shares are of different sets ({', '.join(sets)}); give shares of one set")
    by_x: dict[int, bytes] = {}
    for share in shares:
        if share.threshold != first.threshold or not hmac.compare_digest(
            by_x.setdefault(share.x, share.data), share.data
        ):
            raise SharesRejected(f"two shares of set {first.set_id} contradict each other; one was made elsewhere")
    if len(by_x) < first.threshold:
        raise SharesRejected(
            f"{len(by_x)} different shares of set {first.set_id} were given, it takes {first.threshold}"
        )
    shared = shamir.combine(by_x)
    secret, tag = shared[:SECRET_BYTES], shared[SECRET_BYTES:]
    if not hmac.compare_digest(tag, _tag(secret, first.set_id, first.threshold)):
        raise SharesRejected(
            f"the shares of set {first.set_id} do not belong together: one was altered or forged; try others"
        )
    return _key(secret, first.set_id, first.threshold)


def share_text(share: RecoveryShare) -> str:
    """The share as text to print and type: letters, digits and hyphens."""
    body = bytes.fromhex(share.set_id) + bytes([share.threshold, share.x]) + share.data
    encoded = base64.b32encode(body + _checksum(body)).decode().rstrip("=").lower()
    return PREFIX + "-".join(encoded[i : i + _GROUP] for i in range(0, len(encoded), _GROUP))


def read_share(text: str) -> RecoveryShare:
    """The inverse of `share_text`; case, spaces and hyphens do not matter. Raises SharesRejected."""
    plain = "".join(text.split()).lower()
    if not plain.startswith(PREFIX):
        raise SharesRejected(f"this is no recovery share: one begins with {PREFIX}")
    encoded = plain.removeprefix(PREFIX).replace("-", "").upper()
    try:
        data = base64.b32decode(encoded + "=" * (-len(encoded) % 8))
    except ValueError:
        # Not chained: the error would be raised with the share in reach.
        raise SharesRejected("this recovery share has a character that no share has; type it again") from None
    body, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
    # The last character has bits to spare: a share has one spelling, so that every typing error shows.
    spelt = base64.b32encode(data).decode().rstrip("=") == encoded
    if not spelt or len(data) != _BINARY or not hmac.compare_digest(checksum, _checksum(body)):
        raise SharesRejected("this recovery share has a typing error, or is not complete; type it again")
    threshold, x = body[SET_ID_BYTES], body[SET_ID_BYTES + 1]
    if x == 0 or threshold < 2:
        raise SharesRejected("this recovery share names a number or threshold that no share has")
    return RecoveryShare(body[:SET_ID_BYTES].hex(), threshold, x, body[_HEAD:])


def _key(secret: bytes, set_id: str, threshold: int) -> RecoveryKey:
    seed = expand(secret, labels.lp(labels.RECOVERY_KEY, set_id), MLKEM_SEED_BYTES + X25519_BYTES)
    return RecoveryKey(set_id, threshold, HybridPrivateKey.from_bytes(seed))


def _tag(secret: bytes, set_id: str, threshold: int) -> bytes:
    key = expand(secret, labels.lp(labels.RECOVERY_CHECK), 32)
    return hmac.digest(key, labels.lp(labels.RECOVERY_CHECK, set_id, threshold), "sha256")[:TAG_BYTES]


def _checksum(body: bytes) -> bytes:
    return hashlib.sha256(labels.lp(labels.RECOVERY_CHECKSUM, body)).digest()[:_CHECKSUM_BYTES]
