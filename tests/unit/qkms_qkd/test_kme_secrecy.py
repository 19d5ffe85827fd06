"""No key byte in clear on a KME's disk or in its log, and a delivered key is gone from every file."""

import base64
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from qkms_qkd.link import QkdKey
from qkms_qkd.seal import Seal, SealError, load_seal

from .kme_network import KmeNetwork, eventually


def forms(key: bytes) -> list[bytes]:
    """A key as it might be written somewhere."""
    encoded = base64.b64encode(key)
    return [
        key,
        key.hex().encode(),
        key.hex().upper().encode(),
        encoded,
        encoded.rstrip(b"="),
        base64.urlsafe_b64encode(key),
        base64.b64encode(key.hex().encode()),
    ]


def files(pair: KmeNetwork) -> list[Path]:
    """Everything the KMEs wrote."""
    return [
        path
        for kme in pair.names
        for path in [pair.log_file(kme), *pair.data_dir(kme).rglob("*")]
        if path.is_file()
    ]


def found(pair: KmeNetwork, keys: list[QkdKey]) -> list[str]:
    contents = {path: path.read_bytes() for path in files(pair)}
    return [
        path.name for path, text in contents.items() for key in keys for form in forms(key.key) if form in text
    ]


async def test_keys_are_in_clear_nowhere(pair: KmeNetwork) -> None:
    pair.wait_stored("kme-1", "kme-2", 100)
    async with pair.both_ends("kme-1", "kme-2") as (master, slave):
        drawn = await master.draw(20)
        # Ten are delivered to both, ten to the master only: those are still stored at kme-2.
        await slave.collect([key.key_id for key in drawn[:10]])
        assert found(pair, drawn) == []
        pair.stop("kme-1")
        pair.stop("kme-2")
        assert found(pair, drawn) == []
        names = {path.name for path in files(pair)}
    assert {"kme.sqlite", "store.key", "kme-1.log"} <= names


async def test_relayed_keys_are_in_clear_at_no_site(tmp_path: Path) -> None:
    row = KmeNetwork(tmp_path, 3, joined=[("kme-1", "kme-2"), ("kme-2", "kme-3")], relaying="")
    try:
        row.start()
        row.wait_stored("kme-1", "kme-2", 20)
        row.wait_stored("kme-2", "kme-3", 20)
        async with row.both_ends("kme-1", "kme-3") as (master, slave):
            drawn = await master.draw(10)
            await slave.collect([key.key_id for key in drawn[:5]])
        assert found(row, drawn) == []
    finally:
        row.stop_all()
    assert found(row, drawn) == []


async def test_the_search_would_find_them(pair: KmeNetwork) -> None:
    key = QkdKey("k", os.urandom(32))
    (pair.data_dir("kme-1") / "leak").write_bytes(b"x" + base64.b64encode(key.key))
    assert set(found(pair, [key])) == {"leak"}


async def test_a_delivered_key_is_gone_from_every_file(pair: KmeNetwork) -> None:
    pair.wait_stored("kme-1", "kme-2", 100)
    pair.set_faults("kme-1", "kme-2", cut=True)
    async with pair.both_ends("kme-1", "kme-2") as (master, slave):
        sealed = {kme: sealed_rows(pair, kme) for kme in pair.names}
        drawn = await master.draw(20)
        await slave.collect([key.key_id for key in drawn])
    gone = [sealed[kme][key.key_id] for kme in pair.names for key in drawn]
    eventually(
        "even sealed forms are gone", lambda: not any(blob in text for blob in gone for text in texts(pair))
    )
    kept = [blob for kme in pair.names for blob in sealed_rows(pair, kme).values()]
    assert kept
    assert all(any(blob in text for text in texts(pair)) for blob in kept[:3])


def texts(pair: KmeNetwork) -> list[bytes]:
    return [path.read_bytes() for path in files(pair)]


def sealed_rows(pair: KmeNetwork, kme: str) -> dict[str, bytes]:
    database = sqlite3.connect(f"file:{pair.data_dir(kme)}/kme.sqlite?mode=ro", uri=True)
    try:
        return dict(database.execute("SELECT key_id, sealed FROM keys"))
    finally:
        database.close()


def test_files_are_for_the_owner_only(pair: KmeNetwork) -> None:
    for path in (pair.data_dir("kme-1") / "store.key", pair.data_dir("kme-1") / "kme.sqlite"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "store.key"
    load_seal(file)
    file.chmod(0o640)
    with pytest.raises(SealError, match="chmod 600"):
        load_seal(file)


def test_a_damaged_key_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "store.key"
    file.write_bytes(bytes(31))
    file.chmod(0o600)
    with pytest.raises(SealError, match="31 bytes"):
        load_seal(file)


def test_a_sealed_key_opens_under_its_own_file_and_id_only(tmp_path: Path) -> None:
    seal = load_seal(tmp_path / "store.key")
    sealed = seal.seal(b"secret", b"id-1")
    assert load_seal(tmp_path / "store.key").open(sealed, b"id-1") == b"secret"
    others = [
        (seal, sealed, b"id-2"),
        (Seal(bytes(32)), sealed, b"id-1"),
        (seal, sealed[:-1], b"id-1"),
        (seal, b"", b""),
    ]
    for opener, blob, context in others:
        with pytest.raises(SealError, match="does not open"):
            opener.open(blob, context)
