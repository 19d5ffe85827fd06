"""Commands about keys and their versions. Key material arrives drawn and wrapped."""

import msgspec

from qkms_node.ledger.command import Mutation


class NewVersion(msgspec.Struct, frozen=True):
    """Key material drawn and wrapped by the proposer before proposing."""

    version: int
    epoch: int
    wrapped: bytes
    check_value: bytes


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
