"""Commands about SAE keys: drawn by a master for its slaves, collected by each of them once.

The encryptor has no request id. The node that serves it makes one, so that it can repeat a
proposal whose outcome it does not know. The records themselves tell a repetition, for as long
as their tombstones stay: with the requests of many encryptors, the ledger's memory of a day
would hold little else.
"""

import msgspec

from qkms_node.ledger.command import Asked


class NewSaeKey(msgspec.Struct, frozen=True):
    """A fresh key_ID (UUID) and the key sealed for it."""

    key_id: str
    sealed: bytes


class DrawSaeKeys(Asked, frozen=True, tag="draw_sae_keys"):
    """Holds keys for `slaves`, the one of the path first. `epoch`: under whose root they are sealed.

    `max_waiting`: keys that may wait for the pair of master and first slave, these included. `ttl_ms`: how long
    they wait.
    """

    master: str
    slaves: tuple[str, ...]
    size_bits: int
    epoch: int
    new_keys: tuple[NewSaeKey, ...]
    max_waiting: int
    ttl_ms: int


class CollectSaeKeys(Asked, frozen=True, tag="collect_sae_keys"):
    """Gives `slave` these keys of `master`, all or none."""

    master: str
    slave: str
    key_ids: tuple[str, ...]
