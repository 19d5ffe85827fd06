"""Commands about keys and their versions. Key material arrives drawn and wrapped; times are milliseconds."""

import msgspec

from qkms_node.ledger.command import Command, Mutation


class NewVersion(msgspec.Struct, frozen=True):
    """Key material drawn and wrapped by the proposer before proposing, and its public half in clear."""

    version: int
    epoch: int
    wrapped: bytes
    check_value: bytes
    public_key: bytes = b""


class CreateKey(Mutation, frozen=True, tag="create_key"):
    """Creates a key with its version 1 active, or without any version (`new` is None)."""

    key_id: str
    algorithm: str
    required_grade: int
    max_staleness_ms: int
    labels: dict[str, str]
    new: NewVersion | None
    rotation_period_ms: int = 0
    exportable: bool = False
    deletion_protection: bool = False
    allow_compromised_decrypt: bool = False
    prefer_qkd: bool = False
    refuse_relays: bool = False
    max_qber: float = 0.0


class KeyChanges(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """Fields of a key to set; None leaves one as it is."""

    labels: dict[str, str] | None = None
    required_grade: int | None = None
    max_staleness_ms: int | None = None
    rotation_period_ms: int | None = None
    min_decrypt: int | None = None
    min_encrypt: int | None = None
    deletion_protection: bool | None = None
    allow_compromised_decrypt: bool | None = None
    prefer_qkd: bool | None = None
    refuse_relays: bool | None = None
    max_qber: float | None = None


class UpdateKey(Mutation, frozen=True, tag="update_key"):
    """Changes a key; only at `expected_revision` unless that is 0."""

    key_id: str
    changes: KeyChanges
    expected_revision: int = 0


class DisableKey(Mutation, frozen=True, tag="disable_key"):
    """Stops every use of a key."""

    key_id: str


class EnableKey(Mutation, frozen=True, tag="enable_key"):
    """Takes `DisableKey` back."""

    key_id: str


class DeleteKey(Mutation, frozen=True, tag="delete_key"):
    """Deletes a key whose versions are all destroyed; only at `expected_revision` unless that is 0."""

    key_id: str
    expected_revision: int = 0


class RotateKey(Mutation, frozen=True, tag="rotate_key"):
    """Adds a version and makes it primary if the primary is still the expected one.

    `due_ms` is set by the leader that rotates by the key's period: the rotation due then, or none. `for_qkd` is
    set by the leader that rotates a key which prefers QKD: only if its primary version is without, and not into
    another one without.
    """

    key_id: str
    expected_primary: int
    new: NewVersion
    due_ms: int = 0
    for_qkd: bool = False


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


class CompromiseVersion(Mutation, frozen=True, tag="compromise_version"):
    """Marks a version as compromised, for good."""

    key_id: str
    version: int
    reason: str


class StageVersion(Mutation, frozen=True, tag="stage_version"):
    """Adds a version that waits for activation. `voters`: whose evidence counts."""

    key_id: str
    new: NewVersion
    voters: tuple[str, ...]


class OpenImport(Mutation, frozen=True, tag="open_import"):
    """A one-time wrapping key for material of a key; replaces the one before."""

    key_id: str
    import_id: str
    method: int
    public: bytes
    epoch: int
    sealed: bytes
    ttl_ms: int


class ImportVersion(Mutation, frozen=True, tag="import_version"):
    """Stages material that was brought in under the wrapping key `import_id`, and uses that up."""

    key_id: str
    import_id: str
    new: NewVersion
    voters: tuple[str, ...]


class ValidateVersion(Mutation, frozen=True, tag="validate_version"):
    """Declares a staged version valid if the evidence is there."""

    key_id: str
    version: int


class ActivateVersion(Mutation, frozen=True, tag="activate_version"):
    """Makes a validated version primary if the primary is still the expected one."""

    key_id: str
    version: int
    expected_primary: int


class AbortVersion(Mutation, frozen=True, tag="abort_version"):
    """Gives a staged version up; its material is erased, its number never used again."""

    key_id: str
    version: int
    reason: str


class ConfirmVersion(Command, frozen=True, tag="confirm_version"):
    """A voter opened a staged version, having applied `revision`, and computed `check_value`."""

    key_id: str
    version: int
    node_id: str
    check_value: bytes
    revision: int


class RejectVersion(Command, frozen=True, tag="reject_version"):
    """A voter holds the root of a staged version and cannot open it, or found another check value."""

    key_id: str
    version: int
    node_id: str
    reason: str
