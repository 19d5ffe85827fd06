"""Commands about the members of the cluster and the tokens they join by."""

from qkms_node.ledger.command import Command, Mutation
from qkms_node.ledger.member_records import MemberRecord


class AddMember(Mutation, frozen=True, tag="add_member"):
    """Lets a node take part as a learner. `token_hash`: SHA-256 (32 bytes) of its one-time token, or empty."""

    node_id: str
    raft_address: str
    rpc_address: str
    sae_id: str
    token_hash: bytes = b""
    token_ttl_ms: int = 0


class PromoteMember(Mutation, frozen=True, tag="promote_member"):
    """Lets a learner vote."""

    node_id: str


class RemoveMember(Mutation, frozen=True, tag="remove_member"):
    """Takes a member out."""

    node_id: str


class TransferLeadership(Mutation, frozen=True, tag="transfer_leadership"):
    """Asks `source`, who leads, to let `target` lead; an empty target: anybody else."""

    target: str
    source: str


class RedeemToken(Mutation, frozen=True, tag="redeem_token"):
    """Uses a one-time token up for a certificate (DER) that was signed for this request."""

    node_id: str
    token_hash: bytes
    csr_hash: bytes
    certificate: bytes


class FoundMembers(Command, frozen=True, tag="found_members"):
    """The members of the configuration, recorded by the first leader."""

    members: tuple[MemberRecord, ...]


class SettleHandover(Command, frozen=True, tag="settle_handover"):
    """The wish for another leader of `revision` came true or was given up."""

    revision: int
