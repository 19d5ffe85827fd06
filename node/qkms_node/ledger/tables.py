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
from collections.abc import Iterable, Iterator, MutableMapping
from functools import partial
from itertools import islice
from typing import Any, TypeVar, overload

import msgspec

SHARDS = 1024
BLOCK = 512
SUM_BYTES = 32

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

encode = msgspec.msgpack.Encoder().encode
_sha256 = hashlib.sha256
_from_bytes = partial(int.from_bytes, byteorder="big")
_MODULUS = 1 << (8 * SUM_BYTES)


class Sum:
    """The sum over all items held. Table names are prefixes that end with a zero byte, as `prefix_of` gives."""

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
    """A mapping of immutable records. Its items `(key, record)` move the sum that it is attached to."""

    __slots__ = ("_count", "_prefix", "_shards", "_shared", "_sum")

    def __init__(self) -> None:
        self._prefix = b""
        self._sum = Sum()
        self._shards: list[dict[K, V]] = [{} for _ in range(SHARDS)]
        self._shared = bytearray(SHARDS)  # 1: a capture may be reading this shard
        self._count = 0

    def attach(self, name: str, total: Sum) -> None:
        """From now on, while it is empty still: what it is called, and the sum it moves."""
        assert not self._count
        self._prefix, self._sum = prefix_of(name), total

    def capture(self) -> Iterator[tuple[K, V]]:
        """The items as they are now, for one pass, on any thread, while changes go on."""
        return self._captured(self._share())

    def fill(self, rows: Iterable[tuple[K, V]]) -> None:
        """Adds items whose part of the sum is added by the caller. Raises ValueError for a key that is there."""
        for key, value in rows:
            if key in self:
                raise ValueError(f"{key!r} is there twice")
            self._insert(key, value, self._own(_place(key)))

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
        return self._shards[_place(key)].get(key, default)

    def __getitem__(self, key: K) -> V:
        return self._shards[_place(key)][key]

    def __contains__(self, key: object) -> bool:
        return key in self._shards[_place(key)]

    def __setitem__(self, key: K, value: V) -> None:
        shard = self._own(_place(key))
        old = shard.get(key)
        if old is None:
            self._insert(key, value, shard)
        else:
            self._sum.remove(self._prefix, (key, old))
            shard[key] = value
        self._sum.add(self._prefix, (key, value))

    def __delitem__(self, key: K) -> None:
        value = self._own(_place(key)).pop(key)
        self._count -= 1
        self._sum.remove(self._prefix, (key, value))

    def __iter__(self) -> Iterator[K]:
        for shard in self._shards:
            yield from shard

    def __len__(self) -> int:
        return self._count

    def _insert(self, key: K, value: V, shard: dict[K, V]) -> None:
        shard[key] = value
        self._count += 1

    def _own(self, place: int) -> dict[K, V]:
        """The shard, for a change: a copy if a capture may be reading it."""
        if self._shared[place]:
            self._shards[place] = self._shards[place].copy()
            self._shared[place] = 0
        return self._shards[place]

    def _share(self) -> list[dict[K, V]]:
        self._shared = bytearray(b"\1" * SHARDS)
        return self._shards.copy()

    def _captured(self, shards: list[dict[K, V]]) -> Iterator[tuple[K, V]]:
        for place in range(SHARDS):
            yield from shards[place].items()
            shards[place] = {}


class Queue(Table[K, V]):
    """A table in order of insertion, that gives up its items only from the oldest on."""

    __slots__ = ("_blocks", "_gone")

    def __init__(self) -> None:
        super().__init__()
        # Blocks are only ever appended to, so a capture shares them. `_gone`: of the first block.
        self._blocks: deque[list[K]] = deque()
        self._gone = 0

    def dismantle(self) -> Iterator[None]:
        while self._blocks:
            self._blocks.pop()
            yield
        yield from super().dismantle()

    def capture(self) -> Iterator[tuple[K, V]]:
        blocks = list(self._blocks)
        held = self._count
        return self._in_order(self._share(), blocks, self._gone, held)

    def __delitem__(self, key: K) -> None:
        if key != next(iter(self), None):
            raise KeyError(f"{key!r} is not the oldest")
        super().__delitem__(key)
        self._gone += 1
        if self._gone == len(self._blocks[0]):
            self._blocks.popleft()
            self._gone = 0

    def __iter__(self) -> Iterator[K]:
        skip = self._gone
        for block in self._blocks:
            yield from islice(block, skip, None)
            skip = 0

    def _insert(self, key: K, value: V, shard: dict[K, V]) -> None:
        super()._insert(key, value, shard)
        if not self._blocks or len(self._blocks[-1]) == BLOCK:
            self._blocks.append([])
        self._blocks[-1].append(key)

    def _in_order(
        self, shards: list[dict[K, V]], blocks: list[list[K]], gone: int, held: int
    ) -> Iterator[tuple[K, V]]:
        keys = (key for block in blocks for key in block)
        for key in islice(keys, gone, gone + held):
            yield key, shards[_place(key)][key]


def _place(key: object) -> int:
    return zlib.crc32(encode(key)) % SHARDS
