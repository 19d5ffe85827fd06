"""What every type that holds a secret has in common: it does not leak by accident.

Shows as redacted however it is printed, and refuses pickling, copying, hashing
and comparison by `==`, which is not constant time. This does not stop code
that asks for the fields: it stops logs, tracebacks and caches.
"""

from typing import NoReturn, SupportsIndex


class Redacted:
    """Base of types that hold secrets."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(redacted)"

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} is not compared by ==: it is not constant time")

    def __hash__(self) -> int:
        raise TypeError(f"a {type(self).__name__} is not hashed: it must not be kept as a key or in a set")

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} is not pickled or copied")
