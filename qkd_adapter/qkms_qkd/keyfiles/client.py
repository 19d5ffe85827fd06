"""Link whose keys come as files: the folder of a peer, both ends by key_ID. Satisfies Link.

Files of the keys shared with peer P are in `<folder>/<P>`, P percent-encoded where it is not letters, digits
or _.-~ (see `reading` for their format, `folder` for how they are consumed). Disk work runs in a thread. Left
out: bringing the files there, QBER and age, which files do not tell.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from qkms_qkd.errors import LinkError
from qkms_qkd.keyfiles.folder import KeyFolder
from qkms_qkd.keyfiles.reading import is_drawn_by
from qkms_qkd.link import LinkStatus, QkdKey

_KEY_BITS = 256


class KeyFileLink:
    """The link from `local_sae` to `peer_sae` by the files under `folder`; `source` names them in errors."""

    def __init__(self, *, source: str, folder: Path, local_sae: str, peer_sae: str) -> None:
        self.source = source
        self.local_sae = local_sae
        self.peer_sae = peer_sae
        # "." and ".." are no folders of a peer's own.
        place = (
            quote(peer_sae, safe="").replace(".", "%2E") if not peer_sae.strip(".") else quote(peer_sae, safe="")
        )
        self._folder = KeyFolder(source, folder / place)

    async def status(self) -> LinkStatus:
        """How many keys wait to be drawn here. Raises LinkError."""
        stored = await asyncio.to_thread(self._folder.count, self._is_ours)
        return LinkStatus(
            peer_sae=self.peer_sae,
            source_kme=self.source,
            target_kme="",
            key_size=_KEY_BITS,
            stored_key_count=stored,
            max_key_count=None,
            max_key_per_request=max(1, stored),
        )

    async def draw(self, number: int = 1, size_bits: int = _KEY_BITS) -> list[QkdKey]:
        """Exactly `number` keys that are this end's to draw, consumed. Raises LinkError."""
        taken = await asyncio.to_thread(self._folder.take_any, number, size_bits, self._is_ours)
        return [QkdKey(key_id, key) for key_id, key in taken]

    async def collect(self, key_ids: Sequence[str], size_bits: int = _KEY_BITS) -> list[QkdKey]:
        """The keys of these ids, which the peer drew, consumed. Raises LinkError."""
        for key_id in key_ids:
            if self._is_ours(key_id):
                raise LinkError(
                    self.source, "KME_REFUSED", f"key {key_id} is for {self.local_sae} to draw, not to collect"
                )
        taken = await asyncio.to_thread(self._folder.take, key_ids, size_bits)
        return [QkdKey(asked, key) for asked, (_, key) in zip(key_ids, taken, strict=True)]

    async def close(self) -> None:
        """Nothing is held open."""

    def _is_ours(self, key_id: str) -> bool:
        return is_drawn_by(self.local_sae, self.peer_sae, key_id)
