"""Seals, recovery and backups."""

from collections.abc import Callable, Sequence
from typing import BinaryIO

from qkms_client.backup_file import open_backup
from qkms_client.base import new_request_id
from qkms_client.flows import roots as flows
from qkms_client.root_types import RecoveryInfo, RecoveryShares, RestoreResult
from qkms_client.sync.runner import Runner, Stream
from qkms_client.types import SealStatus


class RootCalls(Runner):
    """`node` is a node id of the profile."""

    def seal(self, node: str, *, even_if_last: bool = False, timeout: float | None = None) -> SealStatus:
        """Wipes roots and keys from a node's memory, until it is unsealed. Raises LastHolder."""
        return self._run(flows.seal(self._rules, self._one(node), even_if_last, timeout))

    def unseal(self, node: str, secret: bytes = b"", *, timeout: float | None = None) -> SealStatus:
        """Opens a node's root store with its passphrase or PIN. Raises UnsealRejected, SealUnusable."""
        return self._run(flows.unseal(self._rules, self._one(node), secret, timeout))

    def get_recovery(self, node: str | None = None, *, timeout: float | None = None) -> RecoveryInfo:
        """The recovery key of the cluster, and the epochs it opens."""
        return self._run(flows.get_recovery(self._rules, self._known(node), timeout))

    def init_recovery(
        self,
        shares: int,
        threshold: int,
        *,
        replace: str | None = None,
        timeout: float | None = None,
    ) -> RecoveryShares:
        """Makes a recovery key; its shares exist in the result alone. `replace`: the set it takes the place of.

        After OutcomeUnknown no share is known: look at the present set and replace it.
        Raises RecoveryConflict, OutcomeUnknown; ValueError unless 2 <= threshold <= shares <= 255.
        """
        identity = new_request_id(None)
        return self._run(flows.init_recovery(self._rules, shares, threshold, replace, identity, timeout))

    def open_recovery(self, node: str, shares: Sequence[str], *, timeout: float | None = None) -> tuple[int, ...]:
        """Opens the roots with recovery shares and hands them to a node. Raises RecoveryFailed, Sealed."""
        return self._run(flows.open_recovery(self._rules, self._one(node), shares, timeout))

    def verify_recovery(
        self, shares: Sequence[str], *, node: str | None = None, timeout: float | None = None
    ) -> tuple[int, ...]:
        """The epochs that recovery shares would open; changes nothing. Raises RecoveryFailed."""
        return self._run(flows.verify_recovery(self._rules, self._known(node), shares, timeout))

    def save_backup(
        self,
        write: Callable[[bytes], object],
        *,
        passphrase: bytes | None = None,
        argon2_memory_kib: int | None = None,
        node: str | None = None,
        timeout: float | None = None,
    ) -> int:
        """Gives a backup to `write`, piece by piece; its size in bytes. Under the recovery key, or a passphrase.

        When it raises, what was written is no backup. Raises RecoveryFailed and other QkmsError.
        """
        source = flows.BackupStream(self._rules, self._known(node), passphrase, argon2_memory_kib)
        stream = Stream()
        size = 0
        try:
            self._run(source.begin(timeout), stream)
            while (data := self._run(source.piece(), stream)) is not None:
                write(data)
                size += len(data)
        finally:
            stream.cancel()
        return size

    def restore_backup(
        self,
        file: BinaryIO,
        node: str,
        *,
        passphrase: bytes | None = None,
        shares: Sequence[str] = (),
        timeout: float | None = None,
    ) -> RestoreResult:
        """Restores a backup into a new cluster through one node. `timeout` is for each part.

        Raises ClusterNotEmpty, BackupInvalid, BackupNotAccepted, RecoveryFailed.
        """
        opened = open_backup(file, passphrase, shares)
        return self._run(flows.restore_backup(self._rules, self._one(node), opened, file, timeout))

    def _one(self, node: str) -> str:
        known = self._known(node)
        assert known is not None
        return known
