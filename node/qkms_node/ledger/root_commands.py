"""Commands about root epochs and the nodes that hold them."""

from qkms_node.keys.grade import Grade
from qkms_node.ledger.command import Command, Mutation
from qkms_node.ledger.records import ShareRecord


class RequestRoot(Mutation, frozen=True, tag="request_root"):
    """Asks the leader to seed a new root epoch."""

    expected_epoch: int


class RegisterNode(Command, frozen=True, tag="register_node"):
    """A node's current public keys for shares."""

    node_id: str
    mlkem_public: bytes
    x25519_public: bytes


class StageRoot(Command, frozen=True, tag="stage_root"):
    """A new root epoch, sealed for each voter. `qkd_key_ids` are sorted.

    `fallback`: why it does without QKD though the leader's policy prefers it; empty: it does not fall back.
    """

    epoch: int
    base_epoch: int
    grade: Grade
    leader_id: str
    commitment: bytes
    qkd_key_ids: tuple[str, ...]
    voters: tuple[str, ...]
    shares: dict[str, ShareRecord]
    fallback: str = ""


class ConfirmRoot(Command, frozen=True, tag="confirm_root"):
    """A node opened its share, checked the commitment and stored the root durably."""

    epoch: int
    node_id: str
    commitment: bytes


class RejectShare(Command, frozen=True, tag="reject_share"):
    """A node could not open its share; `reason` says why, naming the KME if it is to blame."""

    epoch: int
    node_id: str
    sealed: bytes
    reason: str


class ReplaceShare(Command, frozen=True, tag="replace_share"):
    """A fresh share of an epoch that is in use, for a node that cannot open the old one."""

    epoch: int
    share: ShareRecord


class ActivateRoot(Command, frozen=True, tag="activate_root"):
    """Makes a staged epoch the active one; refused below a quorum of confirmations."""

    epoch: int


class RefuseRoot(Command, frozen=True, tag="refuse_root"):
    """No new epoch takes the place of `epoch`, the active one or 0, for want of QKD keys, as `reason` says."""

    epoch: int
    reason: str


class AbortRoot(Command, frozen=True, tag="abort_root"):
    """Gives a staged epoch up; its number is never used again."""

    epoch: int
    reason: str
