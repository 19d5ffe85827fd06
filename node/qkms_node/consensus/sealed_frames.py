"""Frames under keys of a QKD link: who dialled seals, who accepted opens, keys change between two frames.

The body of a sealed frame is the number of its key on this connection (4 bytes, big-endian, from 1) and a
record (`keys.node_link`) that holds whole plain frames. Ordering: a key counts from the first frame that names
it; the one before never comes back.
"""

from qkms.errors import InvalidInput
from qkms_node.consensus.frames import SEALED, FrameRejected, framed
from qkms_node.keys.errors import LinkRecordRejected
from qkms_node.keys.node_link import LinkCipher

_NUMBER_BYTES = 4


class Sealing:
    """The sending end. Until the first key, frames leave as they are."""

    def __init__(self) -> None:
        self._number = 0
        self._cipher: LinkCipher | None = None
        self.bytes = 0
        """Sealed under the present key."""

    @property
    def on(self) -> bool:
        """Whether there is a key."""
        return self._cipher is not None

    def change(self, cipher: LinkCipher) -> None:
        """Seals under this key from now on."""
        self._cipher = cipher
        self._number += 1
        self.bytes = 0

    def sealed(self, frames: bytes) -> bytes:
        """Whole frames as they leave. Raises InvalidInput when the key has served."""
        if self._cipher is None:
            return frames
        self.bytes += len(frames)
        return framed(SEALED, self._number.to_bytes(_NUMBER_BYTES, "big") + self._cipher.seal(frames))


class Opening:
    """The receiving end."""

    def __init__(self) -> None:
        self._number = 0
        self._cipher: LinkCipher | None = None
        self._next: LinkCipher | None = None

    def expect(self, cipher: LinkCipher) -> None:
        """The key that follows the present one."""
        self._next = cipher

    def opened(self, body: bytes) -> bytes:
        """The frames in the body of a sealed one. Raises FrameRejected."""
        number = int.from_bytes(body[:_NUMBER_BYTES], "big")
        if number == self._number + 1 and self._next is not None:
            self._number, self._cipher, self._next = number, self._next, None
        if self._cipher is None or number != self._number:
            raise FrameRejected(f"a sealed frame names key {number} of this connection, which was not agreed on")
        try:
            return self._cipher.open(body[_NUMBER_BYTES:])
        except (LinkRecordRejected, InvalidInput) as error:
            raise FrameRejected(str(error)) from error
