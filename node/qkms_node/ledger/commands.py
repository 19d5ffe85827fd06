"""Commands, outcomes, and their encoding in the Raft log.

The commands of each area are in `key_commands`, `root_commands` and so on;
everybody else imports them from here. Decoding is strict; a command this
version does not know raises `UnknownCommand`, which stops a node rather than
letting it diverge.
"""

import msgspec

from qkms_node.ledger.access_commands import (
    AnchorAudit,
    CreateGrant,
    CreatePolicy,
    CreateRole,
    CreateTenant,
    DeletePolicy,
    DeleteRole,
    DeleteTenant,
    RegisterAuditKey,
    RevokeGrant,
    UpdatePolicy,
    UpdateRole,
    UpdateTenant,
)
from qkms_node.ledger.access_records import AnchorRecord, GrantRecord, PolicyRecord, RoleRecord, TenantRecord
from qkms_node.ledger.command import Asked, Command, Mutation, Request
from qkms_node.ledger.key_commands import (
    AbortVersion,
    ActivateVersion,
    CompromiseVersion,
    ConfirmVersion,
    CreateKey,
    DeleteKey,
    DestroyVersion,
    DisableKey,
    DisableVersion,
    EnableKey,
    EnableVersion,
    ImportVersion,
    KeyChanges,
    NewVersion,
    OpenImport,
    RejectVersion,
    RestoreVersion,
    RotateKey,
    StageVersion,
    UpdateKey,
    ValidateVersion,
)
from qkms_node.ledger.link_commands import ReportLinkAlarm
from qkms_node.ledger.member_commands import (
    AddMember,
    FoundMembers,
    PromoteMember,
    RedeemToken,
    RemoveMember,
    SettleHandover,
    TransferLeadership,
)
from qkms_node.ledger.member_records import MemberRecord
from qkms_node.ledger.records import (
    KeyRecord,
    RootRecord,
    SessionRecord,
    VersionRecord,
    WrappingRecord,
)
from qkms_node.ledger.recovery_commands import SealToRecovery, SetRecovery
from qkms_node.ledger.restore_commands import FinishRestore, RestorePart
from qkms_node.ledger.rewrap_commands import DestroyRoot, Rewrapped, RewrapVersions
from qkms_node.ledger.root_commands import (
    AbortRoot,
    ActivateRoot,
    ConfirmRoot,
    RefuseRoot,
    RegisterNode,
    RejectShare,
    ReplaceShare,
    RequestRoot,
    StageRoot,
)
from qkms_node.ledger.sae_commands import CollectSaeKeys, DrawSaeKeys, NewSaeKey
from qkms_node.ledger.session_commands import AnswerSession, CloseSession, ConfirmSession, OpenSession
from qkms_node.unreadable import UNREADABLE

__all__ = [
    "AbortRoot",
    "AbortVersion",
    "ActivateRoot",
    "ActivateVersion",
    "AddMember",
    "AdvanceTime",
    "AnchorAudit",
    "AnswerSession",
    "AnyCommand",
    "Asked",
    "CloseSession",
    "CollectSaeKeys",
    "Command",
    "CompromiseVersion",
    "ConfirmRoot",
    "ConfirmSession",
    "ConfirmVersion",
    "CreateGrant",
    "CreateKey",
    "CreatePolicy",
    "CreateRole",
    "CreateTenant",
    "DeleteKey",
    "DeletePolicy",
    "DeleteRole",
    "DeleteTenant",
    "DestroyRoot",
    "DestroyVersion",
    "DisableKey",
    "DisableVersion",
    "DrawSaeKeys",
    "EnableKey",
    "EnableVersion",
    "FinishRestore",
    "FoundMembers",
    "ImportVersion",
    "KeyChanges",
    "Mutation",
    "NewSaeKey",
    "NewVersion",
    "OpenImport",
    "OpenSession",
    "Outcome",
    "PromoteMember",
    "RedeemToken",
    "RefuseRoot",
    "RegisterAuditKey",
    "RegisterNode",
    "RejectShare",
    "RejectVersion",
    "RemoveMember",
    "ReplaceShare",
    "ReportLinkAlarm",
    "Request",
    "RequestRoot",
    "RestorePart",
    "RestoreVersion",
    "RevokeGrant",
    "RewrapVersions",
    "Rewrapped",
    "RotateKey",
    "SealToRecovery",
    "SetRecovery",
    "SettleHandover",
    "StageRoot",
    "StageVersion",
    "TransferLeadership",
    "UnknownCommand",
    "UpdateKey",
    "UpdatePolicy",
    "UpdateRole",
    "UpdateTenant",
    "ValidateVersion",
    "decode_command",
    "decode_outcome",
    "encode_command",
    "encode_outcome",
]


class UnknownCommand(Exception):
    """A log entry that this version cannot read. Upgrade this node before it rejoins."""

    code = "UNKNOWN_COMMAND"


class AdvanceTime(Command, frozen=True, tag="advance_time"):
    """Changes nothing itself: carries the leader's time, so that what is due happens."""


AnyCommand = (
    CreateKey
    | RotateKey
    | DisableVersion
    | EnableVersion
    | DestroyVersion
    | RestoreVersion
    | CompromiseVersion
    | UpdateKey
    | DisableKey
    | EnableKey
    | DeleteKey
    | StageVersion
    | OpenImport
    | ImportVersion
    | ValidateVersion
    | ActivateVersion
    | AbortVersion
    | ConfirmVersion
    | RejectVersion
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
    | RefuseRoot
    | RewrapVersions
    | DestroyRoot
    | SetRecovery
    | SealToRecovery
    | RestorePart
    | FinishRestore
    | AdvanceTime
    | AddMember
    | PromoteMember
    | RemoveMember
    | TransferLeadership
    | RedeemToken
    | FoundMembers
    | SettleHandover
    | ReportLinkAlarm
    | DrawSaeKeys
    | CollectSaeKeys
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
    wrapping: WrappingRecord | None = None
    member: MemberRecord | None = None
    certificate: bytes = b""
    policy: PolicyRecord | None = None
    role: RoleRecord | None = None
    tenant: TenantRecord | None = None
    grant: GrantRecord | None = None
    anchor: AnchorRecord | None = None


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
    except UNREADABLE as error:
        raise UnknownCommand(f"log entry of {len(data)} bytes: {error}; upgrade this node") from error


def encode_outcome(outcome: Outcome) -> bytes:
    """An outcome, as remembered for replays and sent back to the proposer."""
    return _encoder.encode(outcome)


def decode_outcome(data: bytes) -> Outcome:
    """The inverse of `encode_outcome`; raises `UnknownCommand`."""
    try:
        return _outcomes.decode(data)
    except UNREADABLE as error:
        raise UnknownCommand(f"outcome of {len(data)} bytes: {error}; upgrade this node") from error
