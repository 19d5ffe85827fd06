"""Commands, outcomes, and their encoding in the Raft log.

The encoding is msgpack of tagged structs: a command is a map with its tag
under `t`. Decoding is strict; a command this version does not know raises
`UnknownCommand`, which stops a node rather than letting it diverge.
"""

import msgspec

from qkms_node.keys.grade import Grade
from qkms_node.ledger.command import Command, Mutation, Request
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
from qkms_node.ledger.recovery_commands import SealToRecovery, SetRecovery
from qkms_node.ledger.restore_commands import FinishRestore, RestorePart
from qkms_node.ledger.rewrap_commands import DestroyRoot, Rewrapped, RewrapVersions

__all__ = [
    "Command",
    "DestroyRoot",
    "FinishRestore",
    "Mutation",
    "Request",
    "RestorePart",
    "RewrapVersions",
    "Rewrapped",
    "SealToRecovery",
    "SetRecovery",
]


class UnknownCommand(Exception):
    """A log entry that this version cannot read. Upgrade this node before it rejoins."""

    code = "UNKNOWN_COMMAND"


class NewVersion(msgspec.Struct, frozen=True):
    """Key material drawn and wrapped by the proposer before proposing, and its public half in clear."""

    version: int
    epoch: int
    wrapped: bytes
    check_value: bytes
    public_key: bytes = b""


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
    | RegisterNode
    | StageRoot
    | ConfirmRoot
    | RejectShare
    | ReplaceShare
    | ActivateRoot
    | AbortRoot
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
