"""The states of stored keys: every step repeated, crossed or interrupted, on a real database."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from qkms_qkd.kme.channel_messages import Assign, OfferedKey, Parts
from qkms_qkd.kme.database import Database
from qkms_qkd.kme.faults import Faults
from qkms_qkd.kme.link_store import LinkStore
from qkms_qkd.kme.network.pads import PadStore
from qkms_qkd.kme.network.shares import ShareStore
from qkms_qkd.kme.pool import KeyNotFoundError, Pool, TooFewKeysError
from qkms_qkd.kme.waiting import NotNamedError, Waiting
from qkms_qkd.link import QkdKey
from qkms_qkd.seal import SealError, load_seal

DEMAND = Assign("node-1", "node-2", 256, [])
NOW = 1_000_000.0


class End:
    """One KME's store for a link to `peer`."""

    def __init__(self, folder: Path, peer: str) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.peer = peer
        self.open()

    def open(self) -> None:
        self.database = Database(self.folder, load_seal(self.folder / "store.key"), [self.peer], 256)
        self.pool = Pool(self.database)
        self.link = LinkStore(self.database, self.peer)
        shares = ShareStore(self.database, PadStore(self.database, self.pool))
        self.waiting = Waiting(self.database, self.pool, shares)

    def collect(self, master: str, slave: str, delivery_ids: list[str], now_s: float = NOW) -> list[QkdKey]:
        return [supplied.key for supplied in self.waiting.collect(master, slave, delivery_ids, now_s)]

    def restart(self) -> None:
        self.database.close()
        self.open()

    def reserve(self, number: int = 1, size_bits: int = 256) -> list[Parts]:
        demand = Assign("node-1", "node-2", size_bits, [])
        return self.pool.reserve(self.peer, demand, number, 1, ())


@pytest.fixture
def running(tmp_path: Path) -> Iterator[End]:
    end = End(tmp_path / "running", "kme-2")
    yield end
    end.database.close()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[End]:
    end = End(tmp_path / "other", "kme-1")
    yield end
    end.database.close()


def distil(running: End, other: End, number: int) -> list[OfferedKey]:
    running.link.add([os.urandom(32) for _ in range(number)], NOW)
    offer = running.link.offered(1000, NOW)
    other.link.accept(running.database.store_id, offer, NOW)
    running.link.confirm([key.key_id for key in offer])
    return offer


def assign(deliveries: list[Parts], master: str = "node-1", slave: str = "node-2") -> Assign:
    return Assign(master, slave, 256, deliveries)


def test_a_key_is_free_only_when_the_peer_has_confirmed_it(running: End) -> None:
    running.link.add([bytes(32)], NOW)
    assert (running.pool.free("kme-2"), running.link.stock()) == (0, 1)
    with pytest.raises(TooFewKeysError):
        running.reserve()
    running.link.confirm([key.key_id for key in running.link.offered(10, NOW)])
    assert (running.pool.free("kme-2"), running.link.stock()) == (1, 1)


def test_an_offer_repeated_brings_nothing_back(running: End, other: End) -> None:
    offer = distil(running, other, 3)
    deliveries = other.reserve(3)
    assert running.pool.assign("kme-2", assign(deliveries), False, NOW).unknown == []
    other.pool.deliver(deliveries, NOW)
    assert other.link.accept(running.database.store_id, offer, NOW) == 0
    assert other.pool.free("kme-1") == 0


def test_the_keys_of_a_new_store_are_taken_though_their_numbers_start_anew(running: End, other: End) -> None:
    distil(running, other, 3)
    again = [OfferedKey("11111111-1111-4111-8111-111111111111", 1, bytes(32), 0.0)]
    assert other.link.accept("another store", again, NOW) == 1


def test_numbers_go_on_after_a_restart(running: End, other: End) -> None:
    distil(running, other, 2)
    running.restart()
    assert [key.seq for key in distil(running, other, 2)] == [3, 4]
    assert other.pool.free("kme-1") == 4


def test_assign_repeated_changes_nothing(running: End, other: End) -> None:
    distil(running, other, 2)
    demand = assign(running.reserve(2))
    for _ in range(3):
        answer = other.pool.assign("kme-1", demand, True, NOW)
        assert (answer.unknown, answer.busy) == ([], [])
    assert other.pool.free("kme-1") == 0
    collected = other.collect("node-1", "node-2", [d.delivery_id for d in demand.deliveries], NOW)
    assert [k.key for k in collected] == [k.key for k in running.pool.deliver(demand.deliveries, NOW)]


def test_an_assigned_key_is_not_assigned_to_anybody_else(running: End, other: End) -> None:
    distil(running, other, 1)
    deliveries = running.reserve()
    other.pool.assign("kme-1", assign(deliveries), True, NOW)
    answer = other.pool.assign("kme-1", assign(deliveries, slave="node-2b"), True, NOW)
    assert answer.busy == deliveries[0].key_ids


def test_of_two_draws_of_one_key_the_running_end_wins(running: End, other: End) -> None:
    distil(running, other, 1)
    here, there = running.reserve(), other.reserve()
    assert running.pool.assign("kme-2", assign(there, "node-2", "node-1"), False, NOW).busy == there[0].key_ids
    assert other.pool.assign("kme-1", assign(here), True, NOW).busy == []
    other.pool.release(there, ())
    assert other.pool.free("kme-1") == 0
    [delivered] = running.pool.deliver(here, NOW)
    [collected] = other.collect("node-1", "node-2", [delivered.key_id], NOW)
    assert collected.key == delivered.key
    with pytest.raises(KeyNotFoundError):
        other.pool.deliver(there, NOW)


def test_a_key_the_running_end_won_and_delivered_stays_for_its_slave(running: End, other: End) -> None:
    distil(running, other, 1)
    here, there = running.reserve(), other.reserve()
    other.pool.assign("kme-1", assign(here), True, NOW)
    [delivered] = running.pool.deliver(here, NOW)
    late = running.pool.assign("kme-2", assign(there, "node-2", "node-1"), False, NOW)
    assert late.unknown == there[0].key_ids
    other.pool.release(there, late.unknown)
    [collected] = other.collect("node-1", "node-2", [delivered.key_id], NOW)
    assert collected.key == delivered.key


def test_keys_the_peer_does_not_hold_are_dropped_and_the_rest_is_free_again(running: End, other: End) -> None:
    distil(running, other, 2)
    deliveries = running.reserve(2)
    other.link.forget(deliveries[0].key_ids)
    answer = other.pool.assign("kme-1", assign(deliveries), True, NOW)
    assert answer.unknown == deliveries[0].key_ids
    running.pool.release(deliveries, answer.unknown)
    assert running.pool.free("kme-2") == other.pool.free("kme-1") == 1


def test_an_interrupted_draw_is_forgotten_at_both_ends(running: End, other: End) -> None:
    distil(running, other, 3)
    deliveries = running.reserve(2)
    other.pool.assign("kme-1", assign(deliveries), True, NOW)
    running.restart()
    with pytest.raises(KeyNotFoundError):
        running.pool.deliver(deliveries, NOW)
    forgotten = running.link.discarding()
    assert sorted(forgotten) == sorted(key_id for d in deliveries for key_id in d.key_ids)
    for _ in range(2):
        other.link.forget(forgotten)
        running.link.forget(forgotten)
    assert running.link.discarding() == []
    with pytest.raises(KeyNotFoundError):
        other.collect("node-1", "node-2", [deliveries[0].delivery_id], NOW)
    assert running.pool.free("kme-2") == other.pool.free("kme-1") == 1


def test_agreeing_drops_what_one_end_holds_alone(running: End, other: End) -> None:
    distil(running, other, 3)
    running.link.add([bytes(32)], NOW)
    other.link.forget(other.link.known()[:1])
    assert other.link.drop_unknown(running.link.known()) == 0
    assert running.link.drop_unknown(other.link.known()) == 1
    assert running.pool.free("kme-2") == other.pool.free("kme-1") == 2
    assert running.link.stock() == 3


def test_collecting_is_all_or_nothing(running: End, other: End) -> None:
    distil(running, other, 2)
    deliveries = running.reserve(2)
    other.pool.assign("kme-1", assign(deliveries), True, NOW)
    ids = [d.delivery_id for d in deliveries]
    with pytest.raises(KeyNotFoundError):
        other.collect("node-1", "node-2", [*ids, "absent"], NOW)
    for master, slave in (("node-1", "node-3"), ("node-3", "node-2"), ("node-2", "node-1")):
        with pytest.raises(NotNamedError):
            other.collect(master, slave, ids, NOW)
    assert len(other.collect("node-1", "node-2", ids, NOW)) == 2


@pytest.mark.parametrize(("size_bits", "parts"), [(64, 1), (256, 1), (264, 2), (1024, 4)])
def test_a_delivery_joins_or_cuts_stored_keys(running: End, other: End, size_bits: int, parts: int) -> None:
    offer = distil(running, other, 4)
    deliveries = running.reserve(1, size_bits)
    assert len(deliveries[0].key_ids) == parts
    whole = b"".join(key.key for key_id in deliveries[0].key_ids for key in offer if key.key_id == key_id)
    demand = Assign("node-1", "node-2", size_bits, deliveries)
    other.pool.assign("kme-1", demand, True, NOW)
    [delivered] = running.pool.deliver(deliveries, NOW + 5)
    [collected] = other.collect("node-1", "node-2", [delivered.key_id], NOW + 5)
    assert delivered.key == collected.key == whole[: size_bits // 8]
    assert (delivered.age_s, collected.age_s) == (5.0, 5.0)
    assert running.pool.free("kme-2") == other.pool.free("kme-1") == 4 - parts


def test_keys_nobody_collects_expire(running: End, other: End) -> None:
    distil(running, other, 2)
    other.pool.assign("kme-1", assign(running.reserve()), True, NOW)
    assert other.pool.expire(NOW) == 0
    assert other.pool.expire(NOW + 1) == 1
    assert other.pool.free("kme-1") == 1


def test_keys_of_another_size_are_dropped_at_the_start(running: End, other: End) -> None:
    distil(running, other, 2)
    folder = other.folder
    other.database.close()
    database = Database(folder, load_seal(folder / "store.key"), ["kme-1"], 128)
    assert LinkStore(database, "kme-1").stock() == 0
    database.close()
    other.open()


def test_faults_are_kept(running: End) -> None:
    running.link.set_faults(Faults(intercept_resend=0.25))
    running.restart()
    assert running.link.faults() == Faults(intercept_resend=0.25)


def test_the_key_file_of_another_database_is_refused_at_the_start(running: End) -> None:
    (running.folder / "store.key").unlink()
    with pytest.raises(SealError, match="does not belong to this database"):
        Database(running.folder, load_seal(running.folder / "store.key"), ["kme-2"], 256)
