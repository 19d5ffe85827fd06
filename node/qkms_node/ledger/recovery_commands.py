"""Commands about the recovery key."""

from qkms_node.ledger.command import Command, Mutation


class SetRecovery(Mutation, frozen=True, tag="set_recovery"):
    """Sets the public recovery key in place of the set `expected_set` (empty: there is none)."""

    set_id: str
    expected_set: str
    threshold: int
    share_count: int
    mlkem_public: bytes
    x25519_public: bytes


class SealToRecovery(Command, frozen=True, tag="seal_to_recovery"):
    """The root of an epoch, sealed to the recovery key of `set_id`."""

    epoch: int
    set_id: str
    sealed: bytes
