"""The backup format: a file that was cut, lengthened, reordered, altered or joined from two is rejected."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qkms.backup import (
    CHUNK_BYTES,
    TAG_BYTES,
    ChunkOpener,
    FrameReader,
    frame,
    preamble,
    read_preamble,
    seal_chunks,
)
from qkms.errors import BackupRejected, InvalidInput, PassphraseRejected
from qkms.passphrase import Argon2Parameters, passphrase_keys

KEY = bytes(range(32))
BEFORE = preamble(b"header")
PAYLOAD = bytes(i * 7 % 251 for i in range(2 * CHUNK_BYTES + 1000))
CHUNKS = list(seal_chunks(KEY, BEFORE, [PAYLOAD]))
SEALED = b"".join(CHUNKS)
STEP = CHUNK_BYTES + TAG_BYTES


def opened(sealed: bytes, before: bytes = BEFORE, key: bytes = KEY, step: int = 10_000) -> bytes:
    opener = ChunkOpener(key, before)
    pieces = [opener.feed(sealed[i : i + step]) for i in range(0, len(sealed), step)]
    return b"".join([*pieces, opener.finish()])


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 3 * CHUNK_BYTES), st.integers(0, 2 * CHUNK_BYTES + 5))
def test_it_opens_in_pieces_of_any_size(step: int, size: int) -> None:
    payload = PAYLOAD[:size]
    assert opened(b"".join(seal_chunks(KEY, BEFORE, [payload[:7], payload[7:]])), step=step) == payload


@pytest.mark.parametrize(
    ("damage", "sealed"),
    [
        ("cut within a chunk", SEALED[:-1]),
        ("cut after a chunk", SEALED[: 2 * STEP]),
        ("cut to one chunk", SEALED[:STEP]),
        ("cut to nothing", b""),
        ("lengthened", SEALED + b"x"),
        ("last chunk twice", SEALED + CHUNKS[-1]),
        ("reordered", CHUNKS[1] + CHUNKS[0] + CHUNKS[2]),
        ("first chunk left out", CHUNKS[1] + CHUNKS[2]),
        ("one bit", SEALED[:STEP] + bytes([SEALED[STEP] ^ 1]) + SEALED[STEP + 1 :]),
        ("joined from two", CHUNKS[0] + b"".join(list(seal_chunks(bytes(32), BEFORE, [PAYLOAD]))[1:])),
    ],
)
def test_a_damaged_file_is_rejected(damage: str, sealed: bytes) -> None:
    with pytest.raises(BackupRejected, match="does not verify"):
        opened(sealed)


def test_the_header_is_authenticated_and_its_damage_is_told() -> None:
    with pytest.raises(BackupRejected, match="does not verify"):
        opened(SEALED, before=preamble(b"Header"))
    header, before = read_preamble(BEFORE + SEALED[:100])
    assert (header, before) == (b"header", BEFORE)
    for start, told in (
        (b"", "no backup"),
        (b"PK\x03\x04something else", "no backup"),
        (BEFORE[:8] + b"\x02" + BEFORE[9:], "another format version"),
        (BEFORE[:-1], "cut off"),
        (BEFORE[:9] + b"\xff\xff\xff\xff", "cut off"),
    ):
        with pytest.raises(BackupRejected, match=told):
            read_preamble(start)
    with pytest.raises(InvalidInput):
        preamble(bytes(16 * 1024 + 1))


@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(1, 50))
def test_records_come_out_as_they_went_in(records: list[bytes], step: int) -> None:
    plain = b"".join(map(frame, records))
    reader = FrameReader()
    assert [r for i in range(0, len(plain), step) for r in reader.feed(plain[i : i + step])] == records
    reader.finish()


def test_a_record_that_is_cut_or_huge_is_rejected() -> None:
    reader = FrameReader()
    assert reader.feed(frame(b"record")[:-1]) == []
    with pytest.raises(BackupRejected, match="within a record"):
        reader.finish()
    with pytest.raises(BackupRejected, match="no release"):
        FrameReader().feed(b"\xff\xff\xff\xff")


def test_a_passphrase_is_checked_by_its_own_parameters_within_bounds() -> None:
    parameters = Argon2Parameters(bytes(16), 8192, 1, 1)
    assert Argon2Parameters.decode(parameters.encode()) == parameters
    keys = passphrase_keys(b"right", parameters)
    passphrase_keys(b"right", parameters).verify(keys.check)
    with pytest.raises(PassphraseRejected):
        passphrase_keys(b"wrong", parameters).verify(keys.check)
    assert passphrase_keys(b"right", Argon2Parameters(b"s" * 16, 8192, 1, 1)).key != keys.key
    for bad in ((bytes(15), 8192, 1, 1), (bytes(16), 1, 1, 1), (bytes(16), 2**31, 1, 1), (bytes(16), 8192, 0, 1)):
        with pytest.raises(InvalidInput):
            Argon2Parameters(*bad)
    with pytest.raises(InvalidInput):
        Argon2Parameters.decode(bytes(24))
    with pytest.raises(InvalidInput):
        passphrase_keys(b"", parameters)
