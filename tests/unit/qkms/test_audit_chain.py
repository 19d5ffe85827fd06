"""The audit chain: no change of a byte, a record, an order or the end goes unnoticed."""

import dataclasses

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from qkms.audit import (
    AuditBroken,
    AuditPublicKey,
    Head,
    SignedHead,
    append,
    calls_genesis,
    check_chain,
    fields_of,
    head_of,
    number_of,
    signed_by,
    statement,
)

START = Head(0, calls_genesis("c", "node-1"))


def chain(length: int, start: Head = START) -> tuple[list[bytes], Head]:
    lines, head = [], start
    for number in range(length):
        line, head = append(head, {"principal": f"p{number}", "code": "OK", "text": 'é"\n'})
        lines.append(line)
    return lines, head


LINES, END = chain(5)


def signed(head: Head, node: str = "node-1") -> tuple[AuditPublicKey, SignedHead]:
    one, other = Ed25519PrivateKey.from_private_bytes(bytes(32)), MLDSA65PrivateKey.from_seed_bytes(bytes(32))
    key = AuditPublicKey(one.public_key().public_bytes_raw(), other.public_key().public_bytes_raw())
    data = statement("c", node, key.key_id, head)
    return key, SignedHead(node, key.key_id, head, one.sign(data), other.sign(data))


def broken(lines: list[bytes], *anchors: SignedHead, start: Head = START) -> int:
    with pytest.raises(AuditBroken) as caught:
        check_chain(start, lines, anchors)
    return caught.value.number


def test_a_whole_chain_ends_at_its_head_one_line_a_record() -> None:
    assert check_chain(START, LINES, [signed(END)[1]]) == END == head_of(LINES[-1])
    assert [number_of(line) for line in LINES] == [1, 2, 3, 4, 5]
    assert fields_of(LINES[1])["principal"] == "p1"
    assert all(b"\n" not in line for line in LINES)


@given(st.integers(0, 4), st.data())
def test_any_flipped_byte_is_found_and_its_record_named(at: int, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(LINES[at]) - 1))
    bit = data.draw(st.sampled_from([1, 2, 4, 8, 16, 32, 64, 128]))
    damaged = bytearray(LINES[at])
    damaged[place] ^= bit
    assert broken([*LINES[:at], bytes(damaged), *LINES[at + 1 :]]) == at + 1


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        ([*LINES[:2], *LINES[3:]], 3),
        ([LINES[0], LINES[2], LINES[1], *LINES[3:]], 2),
        ([*LINES[:3], LINES[2], *LINES[3:]], 4),
        (LINES[1:], 1),
        ([*LINES[:2], b"", *LINES[2:]], 3),
        ([*LINES[:2], chain(3, Head(0, calls_genesis("c", "node-2")))[0][2]], 3),
    ],
    ids=["left out", "out of order", "doubled", "cut at the beginning", "empty line", "of another node"],
)
def test_records_left_out_moved_doubled_or_foreign_are_found(lines: list[bytes], number: int) -> None:
    assert broken(lines) == number


def test_only_an_anchor_shows_that_the_end_was_cut_off_or_all_was_written_anew() -> None:
    _, anchor = signed(END)
    assert check_chain(START, LINES[:3]) == head_of(LINES[2])
    assert broken(LINES[:3], anchor) == 4
    anew, _ = chain(4)
    extra, _ = append(head_of(anew[-1]), {"principal": "forged"})
    assert check_chain(START, [*anew, extra]).length == 5
    assert broken([*anew, extra], anchor) == 5


def test_an_anchor_needs_both_signatures_of_its_own_key_over_its_own_statement() -> None:
    key, anchor = signed(END)
    assert signed_by(key, "c", anchor)
    assert not signed_by(key, "other", anchor)
    for changed in (
        dataclasses.replace(anchor, node_id="node-2"),
        dataclasses.replace(anchor, head=Head(4, END.digest)),
        dataclasses.replace(anchor, head=START),
        dataclasses.replace(anchor, ed25519_signature=bytes(64)),
        dataclasses.replace(anchor, mldsa65_signature=bytes(3309)),
        dataclasses.replace(anchor, ed25519_signature=b""),
        dataclasses.replace(anchor, key_id="0" * 32),
    ):
        assert not signed_by(key, "c", changed)
    assert not signed_by(AuditPublicKey(b"short", key.mldsa65), "c", anchor)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_not_crashed_on(line: bytes) -> None:
    assert broken([line]) == 1
