"""Labels are distinct, and lp joins parts so that no two lists of parts give the same bytes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkms import labels
from qkms.errors import InvalidInput

LABELS = {name: value for name, value in vars(labels).items() if isinstance(value, bytes) and name.isupper()}


def test_labels_are_distinct_and_none_begins_another() -> None:
    assert len(LABELS) >= 17
    for name, label in LABELS.items():
        assert label.startswith(b"qkms/")
        assert re.search(rb"/v[1-9]$", label)
        others = [other for other_name, other in LABELS.items() if other_name != name]
        assert not any(other.startswith(label) for other in others)


def test_lp_is_length_then_bytes() -> None:
    assert labels.lp(b"ab", "é", 258) == b"\0\2ab" + b"\0\2\xc3\xa9" + b"\0\x08" + bytes(6) + b"\1\2"
    assert labels.lp() == b""
    assert labels.lp(b"") == b"\0\0"
    assert labels.lp(bytearray(b"x"), memoryview(b"y")) == b"\0\1x\0\1y"


def test_lp_takes_the_longest_part_and_refuses_a_longer_one() -> None:
    assert len(labels.lp(bytes(65535))) == 65537
    with pytest.raises(InvalidInput, match="65536"):
        labels.lp(bytes(65536))


@pytest.mark.parametrize("value", [-1, 2**64])
def test_lp_refuses_numbers_that_do_not_fit(value: int) -> None:
    with pytest.raises(InvalidInput, match="not encoded"):
        labels.lp(value)


def test_lp_refuses_a_lone_surrogate_without_repeating_the_text() -> None:
    with pytest.raises(InvalidInput) as caught:
        labels.lp("private \ud800")
    assert "private" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.code == "INVALID_INPUT"


@given(st.lists(st.binary(max_size=6)), st.lists(st.binary(max_size=6)))
def test_lp_is_injective(one: list[bytes], other: list[bytes]) -> None:
    assert (labels.lp(*one) == labels.lp(*other)) == (one == other)


@given(st.lists(st.binary(min_size=1, max_size=4), min_size=2))
def test_lp_tells_apart_the_same_bytes_cut_otherwise(parts: list[bytes]) -> None:
    assert labels.lp(*parts) != labels.lp(parts[0] + parts[1], *parts[2:])
