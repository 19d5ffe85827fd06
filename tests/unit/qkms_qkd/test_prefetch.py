"""Keys drawn ahead: real KMEs, real files, kills. Each is given out once, none is in clear on disk."""

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from qkms_qkd.errors import LinkError
from qkms_qkd.link import LinkStatus, QkdKey
from qkms_qkd.oversight import NoOversight
from qkms_qkd.prefetch.link import Marks, PrefetchLink
from qkms_qkd.prefetch.rows import Place
from qkms_qkd.prefetch.store import DATABASE_NAME, PrefetchError, PrefetchStore

from .kme_network import KmeNetwork
from .prefetch_taker import KEY, PLACE
from .test_kme_secrecy import forms

HERE, THERE = "kme-1", "kme-2"
HOUR_S = 3600.0
SWAPPED = """
WITH was AS MATERIALIZED (SELECT key_id, sealed FROM keys)
UPDATE keys SET sealed = was.sealed FROM was WHERE was.key_id != keys.key_id
"""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KmeNetwork]:
    network = KmeNetwork(tmp_path_factory.mktemp("pair"), 2)
    yield network
    network.stop_all()


@pytest.fixture
def pair(network: KmeNetwork) -> KmeNetwork:
    """Two KMEs that run, with no faults and 100 keys."""
    for name in network.names:
        if not network.runs(name):
            network.start(name)
    network.set_faults(HERE, THERE, cut=False)
    network.wait_stored(HERE, THERE, 100)
    return network


class Rules(NoOversight):
    """Refuses while `refusing`, and for the last `reserve` keys; counts what is drawn ahead."""

    def __init__(self) -> None:
        self.refusing = False
        self.reserve = 0
        self.drawn = 0

    def refusal(self, kme_id: str, status: LinkStatus) -> LinkError | None:
        if self.refusing:
            return LinkError(kme_id, "QBER_TOO_HIGH", "is not trusted")
        few = (status.stored_key_count or 0) <= self.reserve
        return LinkError(kme_id, "STORE_EXHAUSTED", "has a reserve only") if few else None

    def drew(self, kme_id: str, number: int, size_bits: int) -> None:
        self.drawn += number


@asynccontextmanager
async def opened(folder: Path, clock_s: Callable[[], float] = time.time) -> AsyncIterator[PrefetchStore]:
    store = PrefetchStore(folder, clock_s)
    await store.unlock(KEY)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def ahead(
    pair: KmeNetwork, folder: Path, marks: Marks, rules: Rules | None = None
) -> AsyncIterator[PrefetchLink]:
    """The link from node-1 to node-2 with what it draws ahead in `folder`."""
    async with opened(folder) as store:
        link = PrefetchLink(pair.link(HERE, THERE), PLACE, store, marks, rules or Rules())
        try:
            yield link
        finally:
            await link.close()


async def holds(link: PrefetchLink, number: int) -> LinkStatus:
    """The status, once so many keys wait."""
    for _ in range(500):
        status = await link.status()
        if status.prefetched == number:
            return status
        await asyncio.sleep(0.02)
    raise AssertionError(f"{status.prefetched} keys wait, not {number}")


def some(number: int) -> list[QkdKey]:
    return [QkdKey(os.urandom(16).hex(), os.urandom(32), 5.0, ("relay",)) for _ in range(number)]


async def test_it_fills_to_the_high_mark_below_the_low_one_and_both_ends_have_each_key(
    pair: KmeNetwork, tmp_path: Path
) -> None:
    rules = Rules()
    async with (
        pair.both_ends(HERE, THERE) as (_, slave),
        ahead(pair, tmp_path / "p", Marks(3, 6, 60), rules) as link,
    ):
        await holds(link, 6)
        ids: set[str] = set()
        for left in (5, 4, 3, 6, 5, 4, 3, 6):
            [key] = await link.draw()
            assert key.prefetched
            ids.add(key.key_id)
            assert (await slave.collect([key.key_id]))[0].key == key.key
            await holds(link, left)
        assert len(ids) == 8
        assert rules.drawn == 6 + 4 + 4, "it draws ahead only once it is below the low mark"
        assert not any(key.prefetched for key in await link.draw(7)), "more than it has come from the KME"
        assert not any(key.prefetched for key in await link.draw(1, 128))


async def test_it_serves_on_while_its_kme_is_away_and_says_so(pair: KmeNetwork, tmp_path: Path) -> None:
    async with pair.both_ends(HERE, THERE) as (_, slave), ahead(pair, tmp_path / "p", Marks(1, 2, 60)) as link:
        await holds(link, 2)
        pair.stop(HERE, signal.SIGKILL)
        for left in (2, 1):
            status = await link.status()
            assert status.prefetched == left
            assert status.failure is not None
            assert status.failure.code == "KME_UNREACHABLE"
            [key] = await link.draw()
            assert (await slave.collect([key.key_id]))[0].key == key.key
        for failing in (link.status(), link.draw()):
            with pytest.raises(LinkError, match="KME_UNREACHABLE"):
                await failing


async def test_nothing_is_drawn_against_the_oversight_nor_from_the_reserve(
    pair: KmeNetwork, tmp_path: Path
) -> None:
    pair.set_faults(HERE, THERE, cut=True)
    stored = pair.stored(HERE, THERE)
    rules = Rules()
    rules.refusing = True
    async with ahead(pair, tmp_path / "p", Marks(50, 100, 60), rules) as link:
        await link.status()
        with pytest.raises(LinkError, match="QBER_TOO_HIGH"):
            await link.draw()
        assert pair.stored(HERE, THERE) == stored
    rules.refusing = False
    rules.reserve = stored - 40
    async with ahead(pair, tmp_path / "p", Marks(50, 100, 60, reserve=stored - 40), rules) as link:
        await holds(link, 40)
        await link.draw()
        await asyncio.sleep(0.1)
        assert pair.stored(HERE, THERE) == stored - 40


async def put(folder: Path, keys: list[QkdKey]) -> None:
    async with opened(folder) as store:
        await store.put(PLACE, keys, time.time())


def test_kills_lose_a_key_each_at_most_and_none_comes_twice(tmp_path: Path) -> None:
    keys = {key.key_id: key.key for key in some(120)}
    asyncio.run(put(tmp_path / "p", [QkdKey(key_id, key) for key_id, key in keys.items()]))
    taken: set[str] = set()
    runs = 3
    for run in range(runs):
        for number, line in enumerate(taking(tmp_path / "p", 20 if run < runs - 1 else 120)):
            key_id, key = line.split()
            assert keys[key_id].hex() == key
            assert key_id not in taken, f"line {number} of run {run}"
            taken.add(key_id)
    assert 120 - (runs - 1) <= len(taken) <= 120
    assert len(taken) > 60, "what was not taken outlives each kill"


def taking(folder: Path, number: int) -> Iterator[str]:
    """What a process writes that takes keys, and is killed when it has written so many; whole lines."""
    command = [sys.executable, str(Path(__file__).with_name("prefetch_taker.py")), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as taker:
        assert taker.stdout is not None
        try:
            for written, line in enumerate(taker.stdout):
                if line.endswith("\n"):
                    yield line
                if written == number:
                    taker.kill()
        finally:
            taker.kill()


async def test_no_key_is_in_clear_on_disk_and_one_that_was_taken_is_in_no_form(tmp_path: Path) -> None:
    keys = some(20)
    folder = tmp_path / "p"
    async with opened(folder) as store:
        await store.put(PLACE, keys, time.time())

        def in_files(*blobs: bytes) -> bool:
            contents = [path.read_bytes() for path in folder.iterdir()]
            return any(blob in content for blob in blobs for content in contents)

        assert not in_files(*(form for key in keys for form in forms(key.key)))
        assert in_files(keys[0].key_id.encode()), "the search finds what there is"
        sealed = sealed_of(folder)
        assert in_files(sealed[keys[0].key_id])
        [first] = await store.take(PLACE, 1, 256, HOUR_S)
        assert await store.count(PLACE, 256, HOUR_S) == 19  # after the scrub, which is behind it
        assert not in_files(sealed[first.key_id])
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def sealed_of(folder: Path) -> dict[str, bytes]:
    database = sqlite3.connect(f"file:{folder / DATABASE_NAME}?mode=ro", uri=True)
    try:
        return dict(database.execute("SELECT key_id, sealed FROM keys"))
    finally:
        database.close()


async def test_a_key_grows_older_here_and_is_not_used_past_the_limit(tmp_path: Path) -> None:
    now_s = 1_000_000.0
    async with opened(tmp_path / "p", lambda: now_s) as store:
        first, second, third = some(3)
        await store.put(PLACE, [first, QkdKey(second.key_id, second.key)], now_s - 2)
        now_s += 30
        taken = await store.take(PLACE, 2, 256, 30)
        # Told 5 s by its KME; of unknown age: from when it was drawn.
        assert [key.age_s for key in taken] == [35.0, 30.0]
        assert [key.age_slack_s for key in taken] == [2.0, 2.0]
        assert [key.relays for key in taken] == [("relay",), ()]
        await store.put(PLACE, [first], now_s)
        now_s += 31
        await store.put(PLACE, [second], now_s)
        assert [key.key_id for key in await store.take(PLACE, 1, 256, 30)] == [second.key_id]
        await store.put(PLACE, [third], now_s)
        now_s -= 60
        assert await store.count(PLACE, 256, HOUR_S) == 0, "from the future: nobody knows how old it is"
        now_s += 60
        assert await store.count(PLACE, 256, HOUR_S) == 0


async def test_keys_of_one_place_and_size_are_no_others(tmp_path: Path) -> None:
    async with opened(tmp_path / "p") as store:
        await store.put(PLACE, [*some(2), QkdKey("short", bytes(16))], time.time())
        for other in (Place("kme-9", *PLACE[1:]), PLACE._replace(local_sae="x"), PLACE._replace(peer_sae="x")):
            assert await store.take(other, 1, 256, HOUR_S) == []
        assert await store.take(PLACE, 3, 256, HOUR_S) == [], "all or none"
        assert len(await store.take(PLACE, 2, 256, HOUR_S)) == 2
        assert [key.key_id for key in await store.take(PLACE, 1, 128, HOUR_S)] == ["short"]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE keys SET drawn_s = drawn_s - 1",
        "UPDATE keys SET peer_sae = 'node-3'",
        "UPDATE keys SET bits = 512",
        "UPDATE keys SET key_id = key_id || '0'",
        SWAPPED,
        "UPDATE keys SET sealed = zeroblob(60)",
    ],
)
async def test_an_altered_row_is_never_given_out(tmp_path: Path, change: str) -> None:
    async with opened(tmp_path / "p") as store:
        await store.put(PLACE, some(2), time.time())
    with sqlite3.connect(tmp_path / "p" / DATABASE_NAME) as database:
        database.execute(change)
    database.close()
    async with opened(tmp_path / "p") as store:
        for place in (PLACE, PLACE._replace(peer_sae="node-3")):
            for bits in (256, 512):
                assert await store.take(place, 1, bits, HOUR_S) == []


async def test_locked_it_holds_nothing_and_under_another_key_it_begins_anew(tmp_path: Path) -> None:
    async with opened(tmp_path / "p") as store:
        await store.put(PLACE, some(2), time.time())
        store.lock()
        assert await store.count(PLACE, 256, HOUR_S) == 0
        assert await store.take(PLACE, 1, 256, HOUR_S) == []
        await store.put(PLACE, some(1), time.time())
        await store.unlock(KEY)
        assert await store.count(PLACE, 256, HOUR_S) == 2
        await store.unlock(bytes(32))
        assert await store.count(PLACE, 256, HOUR_S) == 0
    (tmp_path / "p" / DATABASE_NAME).write_bytes(b"no database" * 1_000)
    async with opened(tmp_path / "p") as store:
        await store.put(PLACE, some(1), time.time())
        assert await store.count(PLACE, 256, HOUR_S) == 1


async def test_a_store_that_fails_leaves_the_kme(pair: KmeNetwork, tmp_path: Path) -> None:
    async with ahead(pair, tmp_path / "p", Marks(2, 4, 60)) as link:
        await holds(link, 4)
        with sqlite3.connect(tmp_path / "p" / DATABASE_NAME) as database:
            database.execute("DROP TABLE keys")
        database.close()
        [key] = await link.draw()
        assert not key.prefetched
        assert (await link.status()).prefetched == 0
        before = pair.stored(HERE, THERE)
        pair.set_faults(HERE, THERE, cut=True)
        await link.status()
        assert pair.stored(HERE, THERE) >= before, "on a broken disk nothing more is drawn ahead for a while"
    async with opened(tmp_path / "p") as store:
        with sqlite3.connect(tmp_path / "p" / DATABASE_NAME) as database:
            database.execute("DROP TABLE keys")
        database.close()
        with pytest.raises(PrefetchError, match="remove the file"):
            await store.count(PLACE, 256, HOUR_S)
    with pytest.raises(PrefetchError, match="the node stops"):
        await store.count(PLACE, 256, HOUR_S)
