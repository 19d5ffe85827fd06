"""Tables against a plain dict: contents, captures, order, and the sum over what they hold."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkms_node.ledger import tables
from qkms_node.ledger.records import NodeRecord
from qkms_node.ledger.state import State
from qkms_node.ledger.tables import Queue, Sum, Table, encode, prefix_of
from qkms_node.ledger.tallies import Names

KEYS = st.one_of(st.integers(0, 5), st.sampled_from("abcdef"), st.tuples(st.sampled_from("ab"), st.integers(0, 3)))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), KEYS, st.integers(0, 9)),
        st.tuples(st.just("del"), KEYS, st.none()),
        st.tuples(st.just("capture"), st.none(), st.none()),
        st.tuples(st.just("read"), st.integers(0, 3), st.none()),
    ),
    max_size=60,
)


@pytest.fixture(autouse=True, scope="module")
def _few_shards() -> Iterator[None]:
    """So that many keys share one, and blocks fill."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "SHARDS", 3)
        patch.setattr(tables, "BLOCK", 4)
        yield


def attached(table: Table[Any, int]) -> Sum:
    total = Sum()
    table.attach("t", total)
    return total


def sum_of(items: dict[Any, int]) -> Sum:
    total = Sum()
    for item in reversed(items.items()):
        total.add(prefix_of("t"), item)
    return total


@dataclass
class Taken:
    """A capture with what it must give, and what it gave so far."""

    rows: Iterator[tuple[msgspec.Raw, int]]
    wanted: list[tuple[bytes, int]]
    given: list[tuple[bytes, int]] = field(default_factory=list)

    def read(self, count: int) -> None:
        for _, (key, value) in zip(range(count), self.rows, strict=False):
            self.given.append((bytes(key), value))


def taken(table: Table[Any, int], model: dict[Any, int]) -> Taken:
    return Taken(table.capture(), [(encode(key), value) for key, value in model.items()])


@given(STEPS)
def test_a_table_holds_what_a_dict_holds_and_captures_stand_still(steps: list[tuple[str, Any, Any]]) -> None:
    table: Table[Any, int] = Table()
    total = attached(table)
    model: dict[Any, int] = {}
    captures: list[Taken] = []
    for step, key, value in steps:
        if step == "set":
            table[key] = model[key] = value
        elif step == "del" and key in model:
            del table[key], model[key]
        elif step == "capture":
            captures.append(taken(table, model))
        elif step == "read" and captures:
            captures[key % len(captures)].read(2)
    assert table == model
    assert len(table) == len(model)
    assert all(table.get(key) == model.get(key) for key in (*range(6), *"abcdef"))
    assert total == sum_of(model)
    for capture in captures:
        capture.read(1000)
        assert sorted(capture.given) == sorted(capture.wanted)


@given(st.lists(st.one_of(st.integers(0, 40), st.sampled_from(["oldest", "oldest", "capture"])), max_size=80))
def test_a_queue_keeps_the_order_of_insertion_and_so_do_its_captures(steps: list[int | str]) -> None:
    queue: Queue[int, int] = Queue()
    total = attached(queue)
    model: dict[int, int] = {}
    captures: list[Taken] = []
    for number, step in enumerate(steps):
        if isinstance(step, int):
            queue[step] = model[step] = number
        elif step == "oldest" and model:
            oldest = next(iter(queue))
            assert oldest == next(iter(model))
            del queue[oldest], model[oldest]
        elif step == "capture":
            captures.append(taken(queue, model))
    assert list(queue.items()) == list(model.items())
    assert total == sum_of(model)
    for capture in captures:
        capture.read(1000)
        assert capture.given == capture.wanted


NAMES = st.sampled_from(["a", "a.b", "a.c", "ab", "b", "c"])


@given(st.lists(st.tuples(st.sampled_from(["set", "del", "look"]), NAMES)))
def test_names_are_in_order_and_counted_whatever_comes_and_goes(steps: list[tuple[str, str]]) -> None:
    names: Names[int] = Names(tenant=lambda name, _: name[0], value=lambda _, value: value)
    attached(names)
    model: dict[str, int] = {}
    for number, (step, name) in enumerate(steps):
        if step == "set":
            names[name] = model[name] = number % 3
        elif step == "del" and name in model:
            del names[name], model[name]
        else:
            assert names.ordered() == sorted(model)
            later = [other for other in sorted(model) if other > name and other.startswith("a")]
            assert list(names.after(name, "a")) == later
    assert list(names.after("", "a.")) == [name for name in sorted(model) if name.startswith("a.")]
    assert names.counts["tenant"] == Counter(name[0] for name in model)
    assert names.counts["value"] == Counter(model.values())
    assert sum(1 for _ in names.dismantle()) >= bool(model)
    assert names.ordered() == []


class _NeverSorted(list[str]):
    def sort(self, **_: object) -> None:
        raise AssertionError("all names were looked at")


def test_a_few_new_names_are_put_in_their_places_without_a_look_at_all_others() -> None:
    names: Names[int] = Names()
    attached(names)
    for number in range(0, 200, 2):
        names[f"{number:03d}"] = number
    names._ordered = _NeverSorted(names.ordered())
    for number in (151, 1, 77):
        names[f"{number:03d}"] = number
    assert list(names.ordered()) == sorted(names)


def test_a_queue_gives_up_nothing_but_its_oldest() -> None:
    queue: Queue[str, int] = Queue()
    queue["a"], queue["b"] = 1, 2
    with pytest.raises(KeyError, match="not the oldest"):
        del queue["b"]
    assert list(queue) == ["a", "b"]


def test_the_sum_tells_tables_keys_and_values_apart() -> None:
    sums = set()
    for name, key, value in (("t", "a", 1), ("u", "a", 1), ("t", "b", 1), ("t", "a", 2), ("t", 1, 1), ("t", 1, 2)):
        total = Sum()
        table: Table[str | int, int] = Table()
        table.attach(name, total)
        table[key] = value
        sums.add(total.to_bytes())
    assert len(sums) == 6


def test_a_missing_key_is_named() -> None:
    table: Table[str, int] = Table()
    with pytest.raises(KeyError, match="absent"):
        table["absent"]
    with pytest.raises(KeyError):
        del table["absent"]


def test_a_dict_among_the_tables_is_refused() -> None:
    """Neither a snapshot nor the digest would see what it holds."""
    nodes: Any = {"n": NodeRecord("n", b"", b"")}
    with pytest.raises(TypeError, match=r"State\.nodes is a dict"):
        State(nodes=nodes)


def test_taking_a_table_apart_frees_all_of_it() -> None:
    queue: Queue[int, int] = Queue()
    for number in range(20):
        queue[number] = number
    steps = sum(1 for _ in queue.dismantle())
    assert steps == 20 // tables.BLOCK + tables.SHARDS


def test_a_queue_forgets_blocks_that_were_given_up_whole() -> None:
    queue: Queue[int, int] = Queue()
    for n in range(3 * tables.BLOCK + 1):
        queue[n] = n
    before = queue.capture()
    for n in range(2 * tables.BLOCK):
        del queue[n]
    assert (list(queue), len(queue._blocks)) == ([*range(2 * tables.BLOCK, 3 * tables.BLOCK + 1)], 1)
    assert [value for _, value in before] == [*range(3 * tables.BLOCK + 1)], "a capture has them still"
