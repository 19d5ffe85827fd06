"""New key versions: drawn, wrapped under the active root epoch, opened again and compared.

A version that does not open, or whose public half is not the one of its
material, is never proposed. RSA keys take seconds to draw: that happens in a
thread, one caller at a time, so that creating keys cannot take every processor.
"""

import asyncio
import secrets

from qkms_node.errors import QkmsError
from qkms_node.keys.algorithms import ALGORITHMS
from qkms_node.keys.errors import CheckValueMismatch
from qkms_node.keys.scheme import Scheme
from qkms_node.keys.secret import VersionSecret
from qkms_node.keys.version import VersionBinding, check_value, check_version, unwrap_version, wrap_version
from qkms_node.ledger.commands import NewVersion
from qkms_node.service.roots import RootStore
from qkms_node.service.store import LedgerStore


class Drawing:
    """Draws key material for proposals."""

    def __init__(self, store: LedgerStore, roots: RootStore) -> None:
        self._store = store
        self._roots = roots
        self._slowly = asyncio.Semaphore(1)
        self._begun: dict[str, asyncio.Task[VersionSecret]] = {}

    async def draw(self, key_id: str, version: int, algorithm: str) -> NewVersion:
        """A version ready to be proposed. Raises QkmsError ROOT_NOT_READY."""
        scheme = ALGORITHMS[algorithm]
        with await self._material(scheme, algorithm) as material:
            # The root is looked up afterwards: drawing may take longer than an epoch lasts.
            return self.wrap(material, key_id, version, algorithm)

    def wrap(self, material: VersionSecret, key_id: str, version: int, algorithm: str) -> NewVersion:
        """Material as a proposal carries it. Raises QkmsError ROOT_NOT_READY."""
        scheme = ALGORITHMS[algorithm]
        with self._store.view() as state:
            root = state.active_root()
        kek = self._roots.kek(root)
        bound = VersionBinding(key_id, version, algorithm, root.epoch)
        public = scheme.public_key(material)
        wrapped = wrap_version(kek, material, bound, nonce=secrets.token_bytes(12))
        check = check_value(material, key_id, version, public)
        with unwrap_version(kek, wrapped, bound) as opened:
            try:
                check_version(opened, key_id, version, scheme.public_key(opened), check)
            except CheckValueMismatch as error:
                raise QkmsError(
                    "INTERNAL", f"the new version of keys/{key_id} did not pass its validation"
                ) from error
        return NewVersion(version, root.epoch, wrapped, check, public)

    def wipe(self) -> None:
        """Wipes what was drawn for callers who left, or will have been."""
        while self._begun:
            _, drawing = self._begun.popitem()
            drawing.add_done_callback(_wipe_drawn)

    async def _material(self, scheme: Scheme, algorithm: str) -> VersionSecret:
        if not scheme.slow_to_draw:
            return scheme.draw(secrets.token_bytes)
        async with self._slowly:
            drawing = self._begun.pop(algorithm, None)
            if drawing is None:
                drawing = asyncio.create_task(asyncio.to_thread(scheme.draw, secrets.token_bytes))
            try:
                return await asyncio.shield(drawing)
            except asyncio.CancelledError:
                # A caller whose attempt is over before the key is drawn comes again; on a slow
                # machine it would never succeed if each attempt began anew.
                self._begun[algorithm] = drawing
                raise


def _wipe_drawn(drawing: asyncio.Task[VersionSecret]) -> None:
    if not drawing.cancelled() and drawing.exception() is None:
        drawing.result().wipe()
