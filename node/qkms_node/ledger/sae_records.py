"""What the ledger remembers of SAE keys: those that encryptors draw and collect (ETSI GS QKD 014, SKIP)."""

from qkms_node.keys.grade import Grade
from qkms_node.ledger.records import Record


class SaeKeyRecord(Record, frozen=True):
    """A key that `master` drew for `slaves`; ids are SAE ids, `key_id` is a UUID.

    `waiting`: slaves that have not collected it. `sealed` (keys.sae_key) is under the root of `epoch`; it is empty
    once nobody waits or the key has expired, and what stays is the tombstone.
    """

    key_id: str
    master: str
    slaves: tuple[str, ...]
    waiting: tuple[str, ...]
    size_bits: int
    grade: Grade
    epoch: int
    sealed: bytes
    create_ms: int
    expire_ms: int
