"""Records of a node link: opened in order by who has the same key, names and nonces, and by nobody else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkms.errors import InvalidInput
from qkms_node.keys import node_link
from qkms_node.keys.errors import LinkRecordRejected
from qkms_node.keys.node_link import LinkCipher, key_proof
from qkms_node.keys.secret import QkdSecret

ENDS: dict[str, Any] = {
    "cluster_id": "dev",
    "sender": "node-1",
    "receiver": "node-2",
    "key_id": "k",
    "sender_nonce": bytes(32),
    "receiver_nonce": b"\1" * 32,
}


def cipher(key: bytes = bytes(range(32)), **other: object) -> LinkCipher:
    return LinkCipher(QkdSecret(key), **(ENDS | other))


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_what_is_sealed_in_order_opens_in_order(plain: list[bytes]) -> None:
    seals, opens = cipher(), cipher()
    records = [seals.seal(one) for one in plain]
    assert [opens.open(record) for record in records] == plain
    assert [len(r) - len(p) for r, p in zip(records, plain, strict=True)] == [node_link.OVERHEAD_BYTES] * len(
        plain
    )


@pytest.mark.parametrize(
    "other",
    [
        {"cluster_id": "other"},
        {"sender": "node-2", "receiver": "node-1"},
        {"receiver": "node-3"},
        {"key_id": "l"},
        {"sender_nonce": b"\1" * 32},
        {"receiver_nonce": bytes(32)},
        {"key": bytes(32)},
    ],
    ids=lambda other: ",".join(other),
)
def test_another_end_key_or_connection_opens_nothing(other: dict[str, Any]) -> None:
    with pytest.raises(LinkRecordRejected):
        cipher(**other).open(cipher().seal(b"data"))


@pytest.mark.parametrize(
    "other",
    [
        {"cluster_id": "other"},
        {"sender": "node-2", "receiver": "node-1"},
        {"receiver": "node-3"},
        {"key_id": "l"},
        {"sender_nonce": b"\1" * 32},
        {"secret": QkdSecret(b"\1" + bytes(31))},
    ],
    ids=lambda other: ",".join(other),
)
def test_a_proof_is_of_one_key_between_two_ends_on_one_connection(other: dict[str, Any]) -> None:
    shown = {"secret": QkdSecret(bytes(32))} | {name: it for name, it in ENDS.items() if name != "receiver_nonce"}
    assert len(key_proof(**shown)) == node_link.PROOF_BYTES
    assert key_proof(**shown) == key_proof(**shown)
    assert key_proof(**(shown | other)) != key_proof(**shown)


def test_a_record_altered_repeated_lost_or_moved_does_not_open() -> None:
    seals = cipher()
    first, second = seals.seal(b"first"), seals.seal(b"second")
    for received in ([first[:-1] + bytes((first[-1] ^ 1,))], [first, first], [second], [b""]):
        opens = cipher()
        *before, last = received
        for record in before:
            opens.open(record)
        with pytest.raises(LinkRecordRejected):
            opens.open(last)
        with pytest.raises(InvalidInput):
            opens.open(second)


def test_equal_plaintexts_give_unequal_records() -> None:
    seals = cipher()
    assert len({seals.seal(b"same") for _ in range(10)}) == 10


def test_a_key_ends_after_its_last_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_link, "MAX_RECORDS", 2)
    seals = cipher()
    seals.seal(b"1")
    seals.seal(b"2")
    with pytest.raises(InvalidInput, match="take another"):
        seals.seal(b"3")


def test_nonces_of_another_length_are_refused() -> None:
    with pytest.raises(InvalidInput):
        cipher(sender_nonce=b"short")
