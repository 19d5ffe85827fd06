"""Shares of relayed keys at the slave's KME, and the pads they come under, on a real database."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from qkms_qkd.kme.channel_messages import OfferedKey
from qkms_qkd.kme.database import Database
from qkms_qkd.kme.link_store import LinkStore
from qkms_qkd.kme.network.messages import Carry, Part
from qkms_qkd.kme.network.pads import PadStore, xor
from qkms_qkd.kme.network.shares import ShareStore
from qkms_qkd.kme.pool import KeyNotFoundError, Pool
from qkms_qkd.kme.waiting import NotNamedError, Waiting
from qkms_qkd.seal import load_seal

NOW = 1_000_000.0
PADS = {f"pad-{i}": os.urandom(32) for i in range(6)}


class Kme:
    """kme-3, with keys of its link to kme-2."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.open()
        keys = [OfferedKey(name, i + 1, key, 5.0) for i, (name, key) in enumerate(PADS.items())]
        LinkStore(self.database, "kme-2").accept("store", keys, NOW)

    def open(self) -> None:
        self.database = Database(self.folder, load_seal(self.folder / "store.key"), ["kme-2"], 256)
        self.pool = Pool(self.database)
        self.pads = PadStore(self.database, self.pool)
        self.shares = ShareStore(self.database, self.pads)
        self.waiting = Waiting(self.database, self.pool, self.shares)

    def arrive(self, share: bytes, pad: str, number: int = 0, of: int = 1, slave: str = "node-3") -> float | None:
        carry = Carry(
            route=["kme-1", "kme-2" if number == 0 else "kme-4", "kme-3"],
            master="node-1",
            slave=slave,
            size_bits=256,
            share=number,
            shares=of,
            age_s=1.0,
            within_s=1.0,
            parts=[Part("delivery", [pad], xor(share, PADS[pad]))],
        )
        return self.shares.arrive("kme-2", carry, False, NOW)

    def collect(self, master: str = "node-1", slave: str = "node-3") -> bytes:
        [supplied] = self.waiting.collect(master, slave, ["delivery"], NOW)
        return supplied.key.key


@pytest.fixture
def kme(tmp_path: Path) -> Iterator[Kme]:
    one = Kme(tmp_path)
    yield one
    one.database.close()


def test_a_key_is_there_when_all_shares_are_and_goes_once(kme: Kme) -> None:
    one, other = os.urandom(32), os.urandom(32)
    assert kme.arrive(one, "pad-0", 0, 2) == 5.0
    with pytest.raises(KeyNotFoundError):
        kme.collect()
    kme.arrive(other, "pad-1", 1, 2)
    [supplied] = kme.waiting.collect("node-1", "node-3", ["delivery"], NOW + 1)
    assert supplied.key.key == xor(one, other)
    assert supplied.extension == {"age_s": 6.0, "relays": ["kme-2", "kme-4"], "disjoint_routes": 2}
    with pytest.raises(KeyNotFoundError):
        kme.collect()


def test_a_key_is_for_its_master_and_slave_only(kme: Kme) -> None:
    key = os.urandom(32)
    kme.arrive(key, "pad-0")
    for master, slave in (("node-1", "node-4"), ("node-2", "node-3")):
        with pytest.raises(NotNamedError):
            kme.collect(master, slave)
    kme.arrive(os.urandom(32), "pad-1", slave="node-4")
    assert kme.collect() == key
    assert kme.collect(slave="node-4") != key


def test_a_share_that_comes_again_changes_nothing(kme: Kme) -> None:
    key = os.urandom(32)
    kme.arrive(key, "pad-0")
    kme.arrive(os.urandom(32), "pad-1")
    assert kme.collect() == key


def test_a_pad_is_used_once_and_what_names_it_again_changes_nothing(kme: Kme) -> None:
    kme.arrive(os.urandom(32), "pad-0")
    assert kme.arrive(os.urandom(32), "pad-0", slave="node-4") is None
    [reserved] = kme.pads.reserve("kme-2", 1, 256, 0)
    assert kme.arrive(os.urandom(32), reserved.key_ids[0], slave="node-4") is None
    with pytest.raises(NotNamedError):
        kme.collect(slave="node-4")


def test_pads_that_were_reserved_are_never_free_again_after_a_restart(kme: Kme) -> None:
    reserved = kme.pads.reserve("kme-2", 4, 256, 0)
    kme.database.close()
    kme.open()
    assert kme.pool.free("kme-2") == 2
    with pytest.raises(KeyNotFoundError):
        kme.pads.open(reserved, 256, NOW)


def test_a_pad_covers_a_key_of_any_size(kme: Kme) -> None:
    reserved = kme.pads.reserve("kme-2", 2, 520, 0)
    pads = kme.pads.open(reserved, 520, NOW)
    assert pads.age_s == 5.0
    assert pads.keys == [b"".join(PADS[key_id] for key_id in parts.key_ids)[:65] for parts in reserved]
    kme.pads.spent(reserved)
    assert kme.pool.free("kme-2") == 0


def test_shares_nobody_collects_expire(kme: Kme) -> None:
    kme.arrive(os.urandom(32), "pad-0", 0, 2)
    kme.arrive(os.urandom(32), "pad-1", slave="node-4")
    assert kme.waiting.expire(NOW) == 0
    assert kme.waiting.expire(NOW + 1) == 2
    with pytest.raises(KeyNotFoundError):
        kme.collect(slave="node-4")
