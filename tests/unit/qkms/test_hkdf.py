"""HKDF-SHA-256 gives the answers of RFC 5869 and refuses what the RFC does not define."""

import hashlib
import hmac
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkms.errors import InvalidInput
from qkms.hkdf import expand, expand_into, extract


def rfc_5869() -> list[dict[str, str]]:
    text = (files("cryptography_vectors") / "KDF" / "rfc-5869-HKDF-SHA256.txt").read_text()
    known: list[dict[str, str]] = []
    for line in text.splitlines():
        name, found, value = (part.strip() for part in line.partition("="))
        if name == "COUNT":
            known.append({})
        elif found and known:
            known[-1][name] = value
    return known


@pytest.mark.parametrize("known", rfc_5869(), ids=lambda known: f"L={known['L']}")
def test_answers_of_the_rfc(known: dict[str, str]) -> None:
    prk = extract(bytes.fromhex(known["salt"]), bytes.fromhex(known["IKM"]))
    assert prk.hex() == known["PRK"]
    assert expand(prk, bytes.fromhex(known["info"]), int(known["L"])).hex() == known["OKM"]


def test_the_rfc_file_was_read() -> None:
    assert [known["L"] for known in rfc_5869()] == ["42", "82", "42"]


def test_empty_salt_is_zeros() -> None:
    assert extract(b"", b"material") == extract(bytes(32), b"material")


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_extract_is_hmac_with_the_salt_as_key(salt: bytes, ikm: bytes) -> None:
    assert extract(salt, ikm) == hmac.new(salt, ikm, hashlib.sha256).digest()


@given(st.binary(min_size=32, max_size=64), st.binary(max_size=80), st.integers(1, 300))
def test_expand_into_writes_what_expand_gives(prk: bytes, info: bytes, length: int) -> None:
    buffer = bytearray(length)
    assert expand_into(memoryview(prk), info, buffer) == length
    assert bytes(buffer) == expand(prk, info, length)


def test_longest_output() -> None:
    assert len(expand(bytes(32), b"", 255 * 32)) == 255 * 32


@pytest.mark.parametrize("length", [-1, 0, 255 * 32 + 1])
def test_lengths_outside_the_rfc_are_refused(length: int) -> None:
    with pytest.raises(InvalidInput, match="1 to 8160"):
        expand(bytes(32), b"", length)


def test_empty_buffer_is_refused() -> None:
    with pytest.raises(InvalidInput):
        expand_into(bytes(32), b"", bytearray())


def test_short_prk_is_refused() -> None:
    with pytest.raises(InvalidInput, match="31"):
        expand(bytes(31), b"", 32)
