"""The canary search finds what it is meant to find, wherever it hides."""

import base64
import gzip
import os
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkms_chaos.canary import Hit, forms, search, search_tree

SECRET = bytes(range(200, 232))
CANARIES = {"data key": SECRET}


def hits(data: bytes) -> list[Hit]:
    return search(data, CANARIES, "it")


@pytest.mark.parametrize(
    "leak",
    [
        SECRET,
        SECRET.hex().encode(),
        SECRET.hex().upper().encode(),
        base64.b64encode(SECRET),
        base64.urlsafe_b64encode(SECRET),
        repr(SECRET).encode(),
        f"key={SECRET!r}".encode(),
        gzip.compress(b"x" * 10_000 + SECRET),
        zlib.compress(base64.b64encode(SECRET), level=1),
        zlib.compress(gzip.compress(SECRET)),
        os.urandom(5000) + gzip.compress(os.urandom(9000) + SECRET) + os.urandom(5000),
    ],
    ids=[
        "raw",
        "hex",
        "HEX",
        "base64",
        "base64url",
        "repr",
        "repr in text",
        "gzip",
        "zlib of base64",
        "zlib of gzip",
        "gzip amid noise",
    ],
)
def test_a_leak_is_found(leak: bytes) -> None:
    assert hits(b"before " + leak + b" after")


@given(st.binary(min_size=0, max_size=5), st.binary(min_size=8, max_size=64), st.binary(max_size=5))
def test_base64_of_a_record_that_holds_the_secret_anywhere_is_found(a: bytes, secret: bytes, b: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert search(encode(a + secret + b), {"s": secret}, "it")


def test_a_cut_off_gzip_stream_is_read_as_far_as_it_goes() -> None:
    whole = gzip.compress(SECRET + os.urandom(20_000))
    assert hits(whole[:15_000])


@given(st.binary(max_size=4000))
def test_other_data_gives_no_hit(data: bytes) -> None:
    assert hits(data) == []


def test_compressible_data_without_the_secret_gives_no_hit() -> None:
    assert hits(gzip.compress(b"nothing to see" * 1000)) == []


def test_a_hit_says_what_where_and_how(tmp_path: Path) -> None:
    (tmp_path / "node-1").mkdir()
    (tmp_path / "node-1" / "journal").write_bytes(b"...." + SECRET.hex().encode())
    (tmp_path / "clean").write_bytes(b"nothing")
    assert search_tree(tmp_path, CANARIES) == [Hit("data key", "hex", "node-1/journal")]


def test_a_file_name_can_leak_too(tmp_path: Path) -> None:
    (tmp_path / SECRET.hex()).touch()
    assert [hit.form for hit in search_tree(tmp_path, CANARIES)] == ["hex"]


def test_a_canary_that_chance_would_find_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 8"):
        forms(b"short")
