"""Tables that can be captured at once, and the sum that tells two of their contents apart.

A table is split into shards by a checksum of the key. A capture shares the
shards; the first change to a shard after it copies that one. So a capture is as
quick for a million records as for ten, and takes memory only for the shards
that change while it lives. Iteration is in an order that equal sequences of
changes make equal.

Every record that comes or goes moves one sum: SHA-256 of its table's name and
its encoding, added modulo 2**256. The order of changes does not matter, so a
change costs as much in a large ledger as in a small one. The sum compares nodes
that mean well; it authenticates nothing: whoever may choose many records can
make two sets of them with equal sums (Wagner, generalised birthday).
"""

import hashlib
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar, overload

import msgspec

SHARDS = 1024
BLOCK = 512
SUM_BYTES = 32

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

encode = msgspec.msgpack.Encoder().encode
_crc32 = zlib.crc32
_sha256 = hashlib.sha256
_from_bytes = partial(int.from_bytes, byteorder="big")
_MODULUS = 1 << (8 * SUM_BYTES)
_PAIR = b"\x92"  # how msgpack begins an array of two


class Sum:
    """The sum over all items held. An item's hash is over its table's prefix (`prefix_of`) and its encoding."""

    __slots__ = ("_value",)

    def __init__(self) -> None:
        self._value = 0  # reduced when it is looked at

    def add(self, prefix: bytes, item: object) -> None:
        """`item` joined its table."""
        self._value += _from_bytes(_sha256(prefix + encode(item)).digest())

    def remove(self, prefix: bytes, item: object) -> None:
        """`item` left its table."""
        self._value -= _from_bytes(_sha256(prefix + encode(item)).digest())

    def add_encoded(self, prefix: bytes, items: Iterable[bytes]) -> None:
        """As `add`, for items that are encoded already."""
        self._value += sum(_from_bytes(_sha256(prefix + item).digest()) for item in items)

    def to_bytes(self) -> bytes:
        """32 bytes, big-endian."""
        return (self._value % _MODULUS).to_bytes(SUM_BYTES, "big")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sum) and self.to_bytes() == other.to_bytes()

    __hash__ = None  # type: ignore[assignment]  # it changes


def prefix_of(name: str) -> bytes:
    """What stands before an item of the table `name` in its hash."""
    return name.encode() + b"\0"


class Table(MutableMapping[K, V]):
    """A mapping of immutable records; every item `(key, record)` moves the sum that the table is attached to.

    Keys are kept as they are encoded: a dict of bytes and records that are no containers themselves is
    nothing that the cyclic garbage collector would walk.
    """

    __slots__ = ("_count", "_prefix", "_shards", "_shared", "_sum")

    def __init__(self) -> None:
        self._prefix = b""
        self._sum = Sum()
        self._shards: list[dict[bytes, V]] = [{} for _ in range(SHARDS)]
        self._shared = bytearray(SHARDS)  # 1: a capture may be reading this shard
        self._count = 0

    def attach(self, name: str, total: Sum) -> None:
        """From now on, while it is empty still: what it is called, and the sum it moves."""
        assert not self._count
        self._prefix, self._sum = prefix_of(name) + _PAIR, total

    def capture(self) -> "Captured[V]":
        """The items as they are now, for one pass on any thread, while changes go on."""
        self._shared = bytearray(b"\1" * SHARDS)
        return _by_shard(self._shards.copy())

    def fill(self, rows: Iterable[tuple[K, V]]) -> None:
        """Adds items with keys that are not there yet, and whose part of the sum the caller adds."""
        for key, value in rows:
            stored = encode(key)
            self._insert(stored, value, self._own(stored))

    def become(self, items: Mapping[K, V]) -> None:
        """Holds these items and no others."""
        for key in list(self):
            del self[key]
        self.update(items)

    def dismantle(self) -> Iterator[None]:
        """Frees a table that is no longer used, a shard at each step."""
        while self._shards:
            if self._shards.pop():
                yield

    @overload
    def get(self, key: K, /) -> V | None: ...
    @overload
    def get(self, key: K, /, default: V | T) -> V | T: ...
    def get(self, key: K, /, default: Any = None) -> Any:
        stored = encode(key)
        return self._shards[_crc32(stored) % SHARDS].get(stored, default)

    def __getitem__(self, key: K) -> V:
        stored = encode(key)
        try:
            return self._shards[_crc32(stored) % SHARDS][stored]
        except KeyError:
            raise KeyError(key) from None

    def __contains__(self, key: object) -> bool:
        stored = encode(key)
        return stored in self._shards[_crc32(stored) % SHARDS]

    def __setitem__(self, key: K, value: V) -> None:
        stored = encode(key)
        shard = self._own(stored)
        old = shard.get(stored)
        if old is None:
            self._insert(stored, value, shard)
        else:
            self._sum.remove(self._prefix + stored, old)
            shard[stored] = value
        self._sum.add(self._prefix + stored, value)

    def __delitem__(self, key: K) -> None:
        stored = encode(key)
        value = self._own(stored).pop(stored)
        self._count -= 1
        self._sum.remove(self._prefix + stored, value)

    def __iter__(self) -> Iterator[K]:
        for shard in self._shards:
            for stored in shard:
                yield _decode_key(stored)

    def __len__(self) -> int:
        return self._count

    def _own(self, stored: bytes) -> dict[bytes, V]:
        """The shard, for a change: a copy if a capture may be reading it."""
        place = _crc32(stored) % SHARDS
        if self._shared[place]:
            self._shards[place] = self._shards[place].copy()
            self._shared[place] = 0
        return self._shards[place]

    def _insert(self, stored: bytes, value: V, shard: dict[bytes, V]) -> None:
        shard[stored] = value
        self._count += 1


class Queue(Table[K, V]):
    """A table in order of insertion, that gives up its items only from the oldest on."""

    __slots__ = ("_blocks", "_gone", "_last")

    def __init__(self) -> None:
        super().__init__()
        # Full blocks, which captures share and the garbage collector does not walk, and the one being
        # filled. `_gone`: how many of the first block, or of the one being filled, were given up.
        self._blocks: deque[tuple[bytes, ...]] = deque()
        self._last: list[bytes] = []
        self._gone = 0

    def capture(self) -> "Captured[V]":
        super().capture()
        return _in_order(self._shards.copy(), [*self._blocks, tuple(self._last)], self._gone)

    def dismantle(self) -> Iterator[None]:
        while self._blocks:
            self._blocks.pop()
            yield
        yield from super().dismantle()

    def __delitem__(self, key: K) -> None:
        if key != next(iter(self), None):
            raise KeyError(f"{key!r} is not the oldest")
        super().__delitem__(key)
        self._gone += 1
        if self._gone == BLOCK:
            self._blocks.popleft()
            self._gone = 0

    def __iter__(self) -> Iterator[K]:
        skip = self._gone
        for block in chain(self._blocks, (self._last,)):
            for place in range(skip, len(block)):
                yield _decode_key(block[place])
            skip = 0

    def _insert(self, stored: bytes, value: V, shard: dict[bytes, V]) -> None:
        super()._insert(stored, value, shard)
        self._last.append(stored)
        if len(self._last) == BLOCK:
            self._blocks.append(tuple(self._last))
            self._last = []


Captured = Iterator[tuple[msgspec.Raw, V]]  # the key as it is encoded, and the record


def _by_shard(shards: list[dict[bytes, V]]) -> Captured[V]:
    for place in range(SHARDS):
        for stored, value in shards[place].items():
            yield msgspec.Raw(stored), value
        shards[place] = {}  # freed here, if the table has another one by now


def _in_order(shards: list[dict[bytes, V]], blocks: list[tuple[bytes, ...]], gone: int) -> Captured[V]:
    for stored in islice(chain.from_iterable(blocks), gone, None):
        yield msgspec.Raw(stored), shards[_crc32(stored) % SHARDS][stored]


def _decode_key(stored: bytes) -> Any:
    key = msgspec.msgpack.decode(stored)
    return tuple(key) if isinstance(key, list) else key
