"""Mixing the root: independent of order, dependent on every input, one epoch apart from another."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkms.errors import InvalidInput
from qkms_node.keys.root import (
    CommitmentMismatch,
    Seed,
    check_commitment,
    commitment,
    derive_kek,
    mix_root,
    session_psk,
)
from qkms_node.keys.secret import KeyEncryptionKey, QkdSecret, RootSecret

secret_bytes = st.binary(min_size=32, max_size=32)
seed_tables = st.dictionaries(st.text(max_size=8), secret_bytes, max_size=5)
LOCAL = bytes(range(32))
ROOT = RootSecret(b"r" * 32)


def mixed(previous: bytes | None, local: bytes, seeds: list[tuple[str, bytes]]) -> bytes:
    before = RootSecret(previous) if previous is not None else None
    return bytes(mix_root(before, local, [Seed(key_id, QkdSecret(key)) for key_id, key in seeds]).reveal())


@given(st.none() | secret_bytes, seed_tables, st.randoms())
def test_order_of_seeds_does_not_matter(previous: bytes | None, table: dict[str, bytes], order: Random) -> None:
    turned = list(table.items())
    order.shuffle(turned)
    assert mixed(previous, LOCAL, turned) == mixed(previous, LOCAL, list(table.items()))


@given(
    st.tuples(st.none() | secret_bytes, secret_bytes, seed_tables),
    st.tuples(st.none() | secret_bytes, secret_bytes, seed_tables),
)
def test_roots_are_equal_only_for_equal_inputs(
    one: tuple[bytes | None, bytes, dict[str, bytes]], other: tuple[bytes | None, bytes, dict[str, bytes]]
) -> None:
    roots = [mixed(previous, local, list(table.items())) for previous, local, table in (one, other)]
    # No previous root is 32 zero bytes; a root is never zero but with negligible chance.
    inputs = [(previous or bytes(32), local, table) for previous, local, table in (one, other)]
    assert (roots[0] == roots[1]) == (inputs[0] == inputs[1])


@given(secret_bytes, secret_bytes, st.dictionaries(st.text(max_size=8), secret_bytes, min_size=1), st.data())
def test_any_one_good_source_changes_the_root(
    previous: bytes, local: bytes, table: dict[str, bytes], draw: st.DataObject
) -> None:
    """Whatever an attacker knows of all other sources, one it does not know decides."""
    source = draw.draw(st.sampled_from(["previous", "local", *table]))
    bit = draw.draw(st.integers(0, 255))
    before = mixed(previous, local, list(table.items()))
    if source == "previous":
        previous = flip(previous, bit)
    elif source == "local":
        local = flip(local, bit)
    else:
        table = {**table, source: flip(table[source], bit)}
    assert mixed(previous, local, list(table.items())) != before


def flip(data: bytes, bit: int) -> bytes:
    return (int.from_bytes(data, "big") ^ 1 << bit).to_bytes(32, "big")


def test_keys_exchanged_between_key_ids_give_another_root() -> None:
    one, two = b"1" * 32, b"2" * 32
    assert mixed(None, LOCAL, [("a", one), ("b", two)]) != mixed(None, LOCAL, [("a", two), ("b", one)])


def test_a_key_id_enters_once() -> None:
    with pytest.raises(InvalidInput, match="same key_ID"):
        mixed(None, LOCAL, [("a", b"1" * 32), ("b", b"2" * 32), ("a", b"3" * 32)])


@pytest.mark.parametrize("size", [0, 31, 33])
def test_local_randomness_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(InvalidInput, match=str(size)):
        mixed(None, bytes(size), [])


def test_commitment_holds_for_its_root_cluster_and_epoch_only() -> None:
    made = commitment(ROOT, "dev", 3)
    check_commitment(ROOT, "dev", 3, made)
    for root, cluster, epoch in ((RootSecret(bytes(32)), "dev", 3), (ROOT, "de", 3), (ROOT, "dev", 4)):
        with pytest.raises(CommitmentMismatch, match=f"epoch {epoch}") as caught:
            check_commitment(root, cluster, epoch, made)
        assert caught.value.code == "COMMITMENT_MISMATCH"
    for wrong in (b"", made[:31], made + b"\0"):
        with pytest.raises(CommitmentMismatch):
            check_commitment(ROOT, "dev", 3, wrong)


def test_what_is_derived_from_a_root_is_all_different() -> None:
    kek = derive_kek(ROOT, 3)
    assert isinstance(kek, KeyEncryptionKey)
    derived = {
        bytes(kek.reveal()),
        bytes(derive_kek(ROOT, 4).reveal()),
        commitment(ROOT, "dev", 3),
        commitment(ROOT, "dev", 4),
        session_psk(ROOT, 1, "s", "a", "b"),
        session_psk(ROOT, 2, "s", "a", "b"),
        session_psk(ROOT, 1, "t", "a", "b"),
        session_psk(ROOT, 1, "s", "b", "a"),
        session_psk(ROOT, 1, "s", "a", "c"),
        session_psk(ROOT, 1, "sa", "", "b"),
        session_psk(RootSecret(bytes(32)), 1, "s", "a", "b"),
        bytes(ROOT.reveal()),
    }
    assert len(derived) == 12
    assert {len(value) for value in derived} == {32}
