"""A QKD key as a node's links hand it on."""

from typing import NamedTuple

from qkms_node.keys.secret import QkdSecret


class AdmittedKey(NamedTuple):
    """A key that passed the admission rules: key_ID, key (32 bytes), the relays that have seen it in clear, as far
    as its KME tells, and the greatest QBER of its link since it was distilled; None: its KME tells no QBER.
    """

    key_id: str
    secret: QkdSecret
    relays: tuple[str, ...] = ()
    qber: float | None = None
