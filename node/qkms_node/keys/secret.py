"""Secrets as types: 32 bytes in a buffer that can be wiped and does not leak by accident.

A secret shows as redacted, refuses pickling, copying, hashing and comparison
by `==` (which is not constant time), and refuses use once wiped. `reveal`
hands out the bytes for a cryptographic call; such copies live as long as the
interpreter pleases: see SECURITY.md for what wiping does not reach.
"""

from types import TracebackType
from typing import NoReturn, Self

SECRET_BYTES = 32


class SecretWiped(Exception):
    """A secret was used after it was wiped. This is a fault of the program."""

    code = "SECRET_WIPED"


class Secret:
    """Exactly 32 secret bytes. Raises ValueError for another length."""

    __slots__ = ("_buffer",)

    def __init__(self, data: bytes | bytearray | memoryview) -> None:
        if len(data) != SECRET_BYTES:
            raise ValueError(f"a {type(self).__name__} has {SECRET_BYTES} bytes, not {len(data)}")
        self._buffer: bytearray | None = bytearray(data)

    def reveal(self) -> bytes:
        """The bytes, for a cryptographic call. Raises SecretWiped."""
        if self._buffer is None:
            raise SecretWiped(f"this {type(self).__name__} has been wiped")
        return bytes(self._buffer)

    def wipe(self) -> None:
        """Overwrites the buffer with zeros; may be repeated."""
        if self._buffer is not None:
            self._buffer[:] = bytes(SECRET_BYTES)
            self._buffer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wipe()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(redacted)"

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError("secrets are not compared by ==: it is not constant time")

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise TypeError("secrets are not pickled or copied")

    def __del__(self) -> None:
        if getattr(self, "_buffer", None) is not None:
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
