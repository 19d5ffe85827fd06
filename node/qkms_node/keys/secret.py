"""Secrets as types: 32 bytes in a buffer that can be wiped and does not leak by accident.

What a secret refuses (printing, pickling, copying, hashing, `==`) is in
`qkms.redacted`; use after wiping is refused here. `reveal` is a window on the
buffer, not a copy, and `filled` lets the library write into the buffer, so
that a long-lived secret has one place in memory. A buffer is wiped when asked,
or else when neither a secret nor a window needs it any more. What wiping does
not reach (copies inside the libraries, swap) is said in SECURITY.md.
"""

from collections.abc import Callable
from types import TracebackType
from typing import NoReturn, Self, SupportsIndex

from qkms.errors import InvalidInput
from qkms.hkdf import Octets
from qkms.redacted import Redacted
from qkms_node.keys.errors import SecretWiped

SECRET_BYTES = 32


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

    def __init__(self, data: Octets) -> None:
        if len(data) != SECRET_BYTES:
            raise InvalidInput(f"a {type(self).__name__} has {SECRET_BYTES} bytes, not {len(data)}")
        self._buffer = _Buffer(data)
        self._wiped = False

    @classmethod
    def filled(cls, write: Callable[[bytearray], int]) -> Self:
        """A secret whose buffer `write` fills; it returns the number of bytes written.

        Whatever `write` raises passes through, with the buffer wiped. Raises InvalidInput
        for another number than 32.
        """
        secret = cls(bytes(SECRET_BYTES))
        try:
            written = write(secret._buffer)
        except BaseException:
            secret.wipe()
            raise
        if written != SECRET_BYTES:
            secret.wipe()
            raise InvalidInput(f"a {cls.__name__} has {SECRET_BYTES} bytes, {written} were written")
        return secret

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
            self._buffer[:] = bytes(SECRET_BYTES)

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
    """The material of one key version, K_v."""

    __slots__ = ()


class EncryptionKey(Secret):
    """K_ctx: a key version for one encryption context, for sealing data."""

    __slots__ = ()


class QkdSecret(Secret):
    """A key that a QKD link delivered."""

    __slots__ = ()


class LocalSealKey(Secret):
    """The content of a node's key file."""

    __slots__ = ()
