"""What the ledger remembers of members: who is meant to take part, invitations, a wish for another leader."""

from enum import IntEnum

from qkms_node.ledger.records import Record


class MemberRole(IntEnum):
    """What a member is meant to be; numbers are those of the protocol."""

    LEARNER = 1
    VOTER = 2


class MemberRecord(Record, frozen=True):
    """The operator's intent: this node takes part, in this role.

    Addresses are host:port; `sae_id` is its name towards the KMEs. `added_by` is a principal,
    empty for a founder.
    """

    node_id: str
    raft_address: str
    rpc_address: str
    sae_id: str
    role: MemberRole
    added_by: str = ""
    add_ms: int = 0


class JoinTokenRecord(Record, frozen=True):
    """A one-time token of one node, by its SHA-256 (32 bytes); the token itself is never here.

    Once used, `csr_hash` is SHA-256 of the request that used it and `certificate` (DER) the answer.
    """

    node_id: str
    token_hash: bytes
    expire_ms: int
    csr_hash: bytes = b""
    certificate: bytes = b""


class HandoverRecord(Record, frozen=True):
    """A wish that `target` leads (empty: anybody but `source`), given up after `expire_ms`."""

    target: str
    source: str
    revision: int
    expire_ms: int
