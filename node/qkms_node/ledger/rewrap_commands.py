"""Commands that bring key versions under the active root epoch, and end the epochs they leave."""

import msgspec

from qkms_node.ledger.command import Command


class Rewrapped(msgspec.Struct, frozen=True):
    """One version's material wrapped anew. It counts only while the version is under `from_epoch`."""

    key_id: str
    version: int
    from_epoch: int
    wrapped: bytes


class RewrapVersions(Command, frozen=True, tag="rewrap_versions"):
    """Moves versions to `epoch`, each by compare-and-swap on the epoch it is under."""

    epoch: int
    versions: tuple[Rewrapped, ...]


class DestroyRoot(Command, frozen=True, tag="destroy_root"):
    """Ends a retired epoch that nothing uses: every node then erases its root."""

    epoch: int
