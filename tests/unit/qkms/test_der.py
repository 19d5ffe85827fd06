"""DER is read strictly: one way to write each element, and nothing behind it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkms import der
from qkms.errors import InvalidInput


@given(st.binary(max_size=400), st.binary(max_size=5))
def test_what_is_written_is_read(content: bytes, rest: bytes) -> None:
    data = der.tlv(der.OCTET_STRING, content)
    assert der.first(data + rest, der.OCTET_STRING) == (content, rest)
    assert der.whole(data, der.OCTET_STRING) == content


def test_every_form_of_length() -> None:
    for size, head in (
        (0x7F, "047f"),
        (0x80, "048180"),
        (0xFF, "0481ff"),
        (0x100, "04820100"),
        (0xFFFF, "0482ffff"),
    ):
        assert der.tlv(der.OCTET_STRING, bytes(size)) == bytes.fromhex(head) + bytes(size)
        assert der.whole(bytes.fromhex(head) + bytes(size), der.OCTET_STRING) == bytes(size)
    with pytest.raises(InvalidInput):
        der.tlv(der.OCTET_STRING, bytes(0x10000))


@pytest.mark.parametrize(
    "data",
    [
        "",
        "04",
        "0401",
        "0480",
        "04800000",
        "04810100",
        "0482007f" + "00" * 127,
        "048300000100",
        "040200",
        "03020000",
    ],
)
def test_another_tag_a_truncation_or_a_length_in_another_form_is_refused(data: str) -> None:
    with pytest.raises(InvalidInput):
        der.first(bytes.fromhex(data), der.OCTET_STRING)


def test_bytes_after_the_end_are_refused() -> None:
    with pytest.raises(InvalidInput, match="2 bytes follow"):
        der.whole(bytes.fromhex("04010000ff"), der.OCTET_STRING)
