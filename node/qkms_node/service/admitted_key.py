"""A QKD key as a node's links hand it on."""

from typing import NamedTuple

from qkms_node.keys.secret import QkdSecret


class AdmittedKey(NamedTuple):
    """A key that passed the admission rules: its key_ID, the key (32 bytes), and the relays that have seen it in
    clear, as far as its KME tells."""

    key_id: str
    secret: QkdSecret
    relays: tuple[str, ...] = ()
