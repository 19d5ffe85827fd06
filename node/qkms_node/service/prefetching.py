"""The key under which keys drawn ahead lie on this node's disk: there while the node is unsealed.

Made at the first start, sealed as the root store is, beside the keys. They are replaceable: a key that does not
open with this node's seal any more is made anew, and what it sealed is thrown away. Not in seal mode peers, which
stores no secret (the configuration is refused).
"""

import asyncio
import secrets
from pathlib import Path

import structlog

from qkms_node.errors import QkmsError
from qkms_node.files import replace_durably
from qkms_node.service.roots import RootStore
from qkms_node.service.seals.seal import SealError, SealRejected
from qkms_qkd.prefetch.store import PrefetchError, PrefetchStore

log = structlog.get_logger(__name__)

FOLDER = "prefetch"
FILE_NAME = "key.sealed"
KEY_BYTES = 32
PURPOSE = "prefetch"
PERIOD_S = 0.5
# After a failure: of a token, or of the disk.
PAUSE_S = 5.0


class PrefetchUnlocking:
    """Unlocks the store when the node is unsealed. The key of `store` is in `data_dir`/prefetch."""

    def __init__(self, store: PrefetchStore, data_dir: Path, roots: RootStore) -> None:
        self._store = store
        self._path = data_dir / FOLDER / FILE_NAME
        self._roots = roots

    async def run(self) -> None:
        """Runs for ever."""
        while True:
            pause_s = PERIOD_S
            due = self._store.locked and not self._roots.sealed
            if due:
                try:
                    await self._store.unlock(self._key())
                except (SealError, PrefetchError, QkmsError, OSError) as error:
                    log.warning("prefetch.locked", error=str(error))
                    pause_s = PAUSE_S
                if self._roots.sealed:  # meanwhile
                    self._store.lock()
            await asyncio.sleep(pause_s)

    def lock(self) -> None:
        """The node is sealed: forgets the key."""
        self._store.lock()

    def _key(self) -> bytes:
        """The key, made durable if there is none that opens. Raises QkmsError SEALED, SealError, OSError."""
        if self._path.exists():
            try:
                return self._roots.open_own(self._path.read_bytes(), PURPOSE)
            except SealRejected as error:
                log.warning("prefetch.key_made_anew", file=str(self._path), reason=str(error))
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = secrets.token_bytes(KEY_BYTES)
        replace_durably(self._path, self._roots.seal_own(key, PURPOSE))
        return key
