"""What the ledger remembers of SAE keys: those that encryptors draw and collect (ETSI GS QKD 014, SKIP)."""

from qkms_node.keys.grade import Grade
from qkms_node.ledger.records import Record


class SaeKeyRecord(Record, frozen=True):
    """A key that `master` drew for `slaves`; ids are SAE ids, `key_id` is a UUID.

    `collected`: the slaves that have it, each with the id of the request that gave it. `sealed` (keys.sae_key) is
    under the root of `epoch`; it is empty once every slave has the key or it has expired, and what stays is the
    tombstone.
    """

    key_id: str
    master: str
    slaves: tuple[str, ...]
    collected: dict[str, str]
    size_bits: int
    grade: Grade
    epoch: int
    sealed: bytes
    create_ms: int
    expire_ms: int
