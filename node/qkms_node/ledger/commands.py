"""Commands, outcomes, and their encoding in the Raft log.

The encoding is msgpack of tagged structs: a command is a map with its tag
under `t`. Decoding is strict; a command this version does not know raises
`UnknownCommand`, which stops a node rather than letting it diverge.
"""

import msgspec

from qkms_node.keys.grade import Grade
from qkms_node.ledger.access_records import (
    AnchorRecord,
    GrantRecord,
    PolicyRecord,
    RoleRecord,
    RuleRecord,
    TenantRecord,
)
from qkms_node.ledger.member_records import MemberRecord
from qkms_node.ledger.records import (
    AnswerRecord,
    KeyRecord,
    OfferRecord,
    RootRecord,
    SessionRecord,
    ShareRecord,
    VersionRecord,
)


class UnknownCommand(Exception):
    """A log entry that this version cannot read. Upgrade this node before it rejoins."""

    code = "UNKNOWN_COMMAND"


class Request(msgspec.Struct, frozen=True):
    """Who asks, and the identity of the request for deduplication.

    `request_id` is a UUID chosen by the caller; `fingerprint` is SHA-256 (32
    bytes) over the principal, the method and the canonical request.
    """

    request_id: str
    fingerprint: bytes
    principal: str


class NewVersion(msgspec.Struct, frozen=True):
    """Key material drawn and wrapped by the proposer before proposing, and its public half in clear."""

    version: int
    epoch: int
    wrapped: bytes
    check_value: bytes
    public_key: bytes = b""


class Command(msgspec.Struct, frozen=True, tag_field="t", forbid_unknown_fields=True):
    """Base of all commands."""


class Mutation(Command, frozen=True):
    """A command that a client asked for, deduplicated by its request."""

    request: Request


class CreateKey(Mutation, frozen=True, tag="create_key"):
    """Creates a key with its version 1 active."""

    key_id: str
    algorithm: str
    required_grade: int
    max_staleness_ms: int
    labels: dict[str, str]
    new: NewVersion


class RotateKey(Mutation, frozen=True, tag="rotate_key"):
    """Adds a version and makes it primary if the primary is still the expected one."""

    key_id: str
    expected_primary: int
    new: NewVersion


class DisableVersion(Mutation, frozen=True, tag="disable_version"):
    """Suspends a version."""

    key_id: str
    version: int


class EnableVersion(Mutation, frozen=True, tag="enable_version"):
    """Takes a suspension back."""

    key_id: str
    version: int


class DestroyVersion(Mutation, frozen=True, tag="destroy_version"):
    """Schedules the erasure of a version's material after `grace_ms`."""

    key_id: str
    version: int
    grace_ms: int


class RestoreVersion(Mutation, frozen=True, tag="restore_version"):
    """Takes a scheduled destruction back; the version is then suspended."""

    key_id: str
    version: int


class RequestRoot(Mutation, frozen=True, tag="request_root"):
    """Asks the leader to seed a new root epoch."""

    expected_epoch: int


class OpenSession(Mutation, frozen=True, tag="open_session"):
    """Offers a session to another principal."""

    session_id: str
    responder: str
    suite: int
    offer: OfferRecord
    required_grade: int
    ttl_ms: int


class AnswerSession(Mutation, frozen=True, tag="answer_session"):
    """The responder's public values."""

    session_id: str
    answer: AnswerRecord


class ConfirmSession(Mutation, frozen=True, tag="confirm_session"):
    """A participant's confirmation tag."""

    session_id: str
    tag: bytes


class CloseSession(Mutation, frozen=True, tag="close_session"):
    """Ends a session."""

    session_id: str


class CreatePolicy(Mutation, frozen=True, tag="create_policy"):
    """Adds a policy."""

    policy_id: str
    description: str
    rules: tuple[RuleRecord, ...]


class UpdatePolicy(Mutation, frozen=True, tag="update_policy"):
    """Replaces a policy's content; `expected_revision` 0: whatever it was."""

    policy_id: str
    expected_revision: int
    description: str
    rules: tuple[RuleRecord, ...]


class DeletePolicy(Mutation, frozen=True, tag="delete_policy"):
    """Removes a policy that no role names."""

    policy_id: str
    expected_revision: int


class CreateRole(Mutation, frozen=True, tag="create_role"):
    """Adds a role."""

    role_id: str
    description: str
    principals: tuple[str, ...]
    policies: tuple[str, ...]


class UpdateRole(Mutation, frozen=True, tag="update_role"):
    """Replaces a role's content; `expected_revision` 0: whatever it was."""

    role_id: str
    expected_revision: int
    description: str
    principals: tuple[str, ...]
    policies: tuple[str, ...]


class DeleteRole(Mutation, frozen=True, tag="delete_role"):
    """Removes a role."""

    role_id: str
    expected_revision: int


class CreateTenant(Mutation, frozen=True, tag="create_tenant"):
    """Adds a tenant with its quotas; 0: no limit."""

    tenant_id: str
    description: str
    principals: tuple[str, ...]
    max_keys: int
    max_versions: int
    max_sessions: int


class UpdateTenant(Mutation, frozen=True, tag="update_tenant"):
    """Replaces a tenant's content; `expected_revision` 0: whatever it was."""

    tenant_id: str
    expected_revision: int
    description: str
    principals: tuple[str, ...]
    max_keys: int
    max_versions: int
    max_sessions: int


class DeleteTenant(Mutation, frozen=True, tag="delete_tenant"):
    """Removes a tenant's quotas."""

    tenant_id: str
    expected_revision: int


class CreateGrant(Mutation, frozen=True, tag="create_grant"):
    """Lends rights of the caller to `grantee` for `ttl_ms`."""

    grant_id: str
    grantee: str
    actions: tuple[str, ...]
    keys: tuple[str, ...]
    context_keys: tuple[str, ...]
    ttl_ms: int


class RevokeGrant(Mutation, frozen=True, tag="revoke_grant"):
    """Ends a grant before its time; the service has checked who asks."""

    grant_id: str


class AnchorAudit(Mutation, frozen=True, tag="anchor_audit"):
    """Fixes how far a node's chain of calls has come."""

    anchor: AnchorRecord


class RegisterAuditKey(Command, frozen=True, tag="register_audit_key"):
    """The public halves of a node's audit key."""

    node_id: str
    audit_key_id: str
    ed25519_public: bytes
    mldsa65_public: bytes


class RegisterNode(Command, frozen=True, tag="register_node"):
    """A node's current public keys for shares."""

    node_id: str
    mlkem_public: bytes
    x25519_public: bytes


class StageRoot(Command, frozen=True, tag="stage_root"):
    """A new root epoch, sealed for each voter. `qkd_key_ids` are sorted."""

    epoch: int
    base_epoch: int
    grade: Grade
    leader_id: str
    commitment: bytes
    qkd_key_ids: tuple[str, ...]
    voters: tuple[str, ...]
    shares: dict[str, ShareRecord]


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


class AbortRoot(Command, frozen=True, tag="abort_root"):
    """Gives a staged epoch up; its number is never used again."""

    epoch: int
    reason: str


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


class AdvanceTime(Command, frozen=True, tag="advance_time"):
    """Changes nothing itself: carries the leader's time, so that what is due happens."""


AnyCommand = (
    CreateKey
    | RotateKey
    | DisableVersion
    | EnableVersion
    | DestroyVersion
    | RestoreVersion
    | RequestRoot
    | OpenSession
    | AnswerSession
    | ConfirmSession
    | CloseSession
    | CreatePolicy
    | UpdatePolicy
    | DeletePolicy
    | CreateRole
    | UpdateRole
    | DeleteRole
    | CreateTenant
    | UpdateTenant
    | DeleteTenant
    | CreateGrant
    | RevokeGrant
    | AnchorAudit
    | RegisterAuditKey
    | RegisterNode
    | StageRoot
    | ConfirmRoot
    | RejectShare
    | ReplaceShare
    | ActivateRoot
    | AbortRoot
    | AdvanceTime
    | AddMember
    | PromoteMember
    | RemoveMember
    | TransferLeadership
    | RedeemToken
    | FoundMembers
    | SettleHandover
)


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What applying one command came to.

    A refusal has a `code` (stable) and changed nothing. `changed` is false as
    well where the command repeats what already holds; `note` then says so.
    `replayed` marks the remembered outcome of an earlier equal request.
    """

    revision: int
    changed: bool = False
    replayed: bool = False
    code: str = ""
    message: str = ""
    metadata: dict[str, str] = {}
    note: str = ""
    key: KeyRecord | None = None
    version: VersionRecord | None = None
    session: SessionRecord | None = None
    root: RootRecord | None = None
    policy: PolicyRecord | None = None
    role: RoleRecord | None = None
    tenant: TenantRecord | None = None
    grant: GrantRecord | None = None
    anchor: AnchorRecord | None = None
    member: MemberRecord | None = None
    certificate: bytes = b""


_encoder = msgspec.msgpack.Encoder()
_commands: msgspec.msgpack.Decoder[AnyCommand] = msgspec.msgpack.Decoder(AnyCommand)
_outcomes = msgspec.msgpack.Decoder(Outcome)


def encode_command(command: AnyCommand) -> bytes:
    """The command as it stands in the Raft log."""
    return _encoder.encode(command)


def decode_command(data: bytes) -> AnyCommand:
    """The inverse of `encode_command`; raises `UnknownCommand`."""
    try:
        return _commands.decode(data)
    except msgspec.MsgspecError as error:
        raise UnknownCommand(f"log entry of {len(data)} bytes: {error}; upgrade this node") from error


def encode_outcome(outcome: Outcome) -> bytes:
    """An outcome, as remembered for replays and sent back to the proposer."""
    return _encoder.encode(outcome)


def decode_outcome(data: bytes) -> Outcome:
    """The inverse of `encode_outcome`."""
    return _outcomes.decode(data)
