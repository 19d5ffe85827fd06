"""Secrets as types: bytes in a buffer that can be wiped and does not leak by accident.

What a secret refuses (printing, pickling, copying, hashing, `==`) is in
`qkms.redacted`; use after wiping is refused here. `reveal` is a window on the
buffer, not a copy, and `filled` lets the library write into the buffer, so
that a long-lived secret has one place in memory. A buffer is wiped when asked,
or else when neither a secret nor a window needs it any more. What wiping does
not reach (copies inside the libraries, swap) is said in SECURITY.md.
"""

from collections.abc import Callable
from types import TracebackType
from typing import ClassVar, NoReturn, Self, SupportsIndex

from qkms.errors import InvalidInput
from qkms.hkdf import Octets
from qkms.redacted import Redacted
from qkms_node.keys.errors import SecretWiped

SECRET_BYTES = 32
MAX_MATERIAL_BYTES = 4096


class _Buffer(bytearray):
    """Wiped when the last reference goes. A window counts as one.

    The wiping on release belongs here, not to the secret: a window outlives a temporary
    secret, and would show a cipher 32 zero bytes as its key.
    """

    def __repr__(self) -> str:
        return "_Buffer(redacted)"

    __str__ = __repr__

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError("the buffer of a secret is not pickled or copied")

    def __del__(self) -> None:
        self[:] = bytes(len(self))


class Secret(Redacted):
    """Exactly 32 secret bytes, copied from `data`. Raises InvalidInput for another length."""

    __slots__ = ("_buffer", "_wiped")

    SIZES: ClassVar[range] = range(SECRET_BYTES, SECRET_BYTES + 1)
    """The lengths in bytes that a kind of secret may have."""

    def __init__(self, data: Octets) -> None:
        self._check_size(len(data))
        self._buffer = _Buffer(data)
        self._wiped = False

    @classmethod
    def filled(cls, write: Callable[[bytearray], int], size: int = SECRET_BYTES) -> Self:
        """A secret of `size` bytes whose buffer `write` fills; it returns the number of bytes written.

        Whatever `write` raises passes through, with the buffer wiped. Raises InvalidInput
        for a size that this kind does not have, or when another number was written.
        """
        cls._check_size(size)
        secret = cls(bytes(size))
        try:
            written = write(secret._buffer)
        except BaseException:
            secret.wipe()
            raise
        if written != size:
            secret.wipe()
            raise InvalidInput(f"a {cls.__name__} has {size} bytes, {written} were written")
        return secret

    @classmethod
    def _check_size(cls, size: int) -> None:
        if size not in cls.SIZES:
            least, most = cls.SIZES[0], cls.SIZES[-1]
            allowed = f"{least}" if least == most else f"{least} to {most}"
            raise InvalidInput(f"a {cls.__name__} has {allowed} bytes, not {size}")

    def reveal(self) -> memoryview:
        """A read-only window on the bytes, for one cryptographic call. Raises SecretWiped.

        Not to be kept: `wipe` zeroes it too.
        """
        if self._wiped:
            raise SecretWiped(f"this {type(self).__name__} has been wiped")
        return memoryview(self._buffer).toreadonly()

    def wipe(self) -> None:
        """Overwrites the buffer with zeros; may be repeated."""
        if not self._wiped:
            self._wiped = True
            self._buffer[:] = bytes(len(self._buffer))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()


class RootSecret(Secret):
    """The root of one epoch, R_e."""

    __slots__ = ()


class KeyEncryptionKey(Secret):
    """KEK_e, which wraps key versions under epoch e."""

    __slots__ = ()


class VersionSecret(Secret):
    """The material of one key version, K_v: 32 to 4096 bytes, encoded as its algorithm says."""

    __slots__ = ()

    SIZES = range(SECRET_BYTES, MAX_MATERIAL_BYTES + 1)


class EncryptionKey(Secret):
    """K_ctx: a key version for one encryption context, for sealing data."""

    __slots__ = ()


class QkdSecret(Secret):
    """A key that a QKD link delivered."""

    __slots__ = ()


class LocalSealKey(Secret):
    """The content of a node's key file."""

    __slots__ = ()
