"""Root epochs: mixing seeds, committing to the result, deriving from it.

    R_e = HKDF-Extract(salt = R_{e-1} or 32 zero bytes,
                       IKM  = LP(32 random bytes) || LP(key_ID, QKD key) per seed, by key_ID)

A seed enters the root, it never replaces it: the root is secret if any one
source was good. Leaves out where seeds come from and how the root travels.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from qkms import labels
from qkms.errors import InvalidInput
from qkms.hkdf import expand, expand_into, extract
from qkms_node.keys.errors import CommitmentMismatch
from qkms_node.keys.secret import KeyEncryptionKey, QkdSecret, RootSecret

__all__ = [
    "CommitmentMismatch",
    "Seed",
    "check_commitment",
    "commitment",
    "derive_kek",
    "mix_root",
    "session_psk",
]

LOCAL_BYTES = 32


@dataclass(frozen=True, eq=False)
class Seed:
    """What a QKD link delivered, with its ETSI GS QKD 014 key_ID."""

    key_id: str
    key: QkdSecret


def mix_root(previous: RootSecret | None, local: bytes, seeds: Sequence[Seed]) -> RootSecret:
    """The root of the next epoch from the previous one, 32 random bytes and the seeds.

    The order of `seeds` does not matter. Raises InvalidInput for a repeated key_ID or a
    wrong length of `local`.
    """
    if len(local) != LOCAL_BYTES:
        raise InvalidInput(f"local randomness has {LOCAL_BYTES} bytes, not {len(local)}")
    ordered = sorted(seeds, key=lambda seed: seed.key_id)
    if len({seed.key_id for seed in ordered}) != len(ordered):
        raise InvalidInput("a QKD key enters a root once: two seeds have the same key_ID")
    ikm = labels.lp(local) + b"".join(labels.lp(seed.key_id, seed.key.reveal()) for seed in ordered)
    return RootSecret(extract(previous.reveal() if previous is not None else b"", ikm))


def commitment(root: RootSecret, cluster_id: str, epoch: int) -> bytes:
    """32 public bytes that fix the root of an epoch and reveal nothing of it."""
    key = expand(root.reveal(), labels.lp(labels.COMMIT_KEY), 32)
    return hmac.digest(key, labels.lp(labels.ROOT_COMMITMENT, cluster_id, epoch), "sha256")


def check_commitment(root: RootSecret, cluster_id: str, epoch: int, expected: bytes) -> None:
    """Raises CommitmentMismatch unless `root` is the one committed to. Constant time."""
    if not hmac.compare_digest(commitment(root, cluster_id, epoch), expected):
        raise CommitmentMismatch(f"the root opened for epoch {epoch} is not the one that was committed to")


def derive_kek(root: RootSecret, epoch: int) -> KeyEncryptionKey:
    """The key encryption key of an epoch."""
    info = labels.lp(labels.KEK, epoch)
    return KeyEncryptionKey.filled(lambda buffer: expand_into(root.reveal(), info, buffer))


def session_psk(root: RootSecret, suite: int, session_id: str, initiator: str, responder: str) -> bytes:
    """The pre-shared key (32 bytes) of a session, equal at every node that holds the root."""
    branch = expand(root.reveal(), labels.lp(labels.SESSION_BRANCH), 32)
    return expand(branch, labels.lp(labels.SESSION_PSK, suite, session_id, initiator, responder), 32)
