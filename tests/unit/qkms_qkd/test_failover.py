"""A site with two KMEs, real processes: the preferred one serves, else the other, and both ends agree."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from aiohttp import web

from qkms_chaos.cluster.ports import free_ports
from qkms_qkd.errors import LinkError
from qkms_qkd.failover import FailoverLink, KmeLink
from qkms_qkd.keyfiles.client import KeyFileLink
from qkms_qkd.link import LinkStatus
from qkms_qkd.oversight import NoOversight

from .certificates import TestAuthority
from .deviant_kme import IDS, DeviantKme, container, deviant_kme, link_to
from .kme_network import KmeNetwork, eventually

HERE, THERE = "kme-1", "kme-2"
RETRY_S = 0.3
STATUS = {"key_size": 256, "stored_key_count": 9}


class Rules(NoOversight):
    """Refuses the KMEs named in `refused`, and remembers what was seen of each."""

    def __init__(self) -> None:
        self.refused: set[str] = set()
        self.seen: list[tuple[str, str]] = []

    def look(self, kme_id: str, seen: LinkStatus | LinkError) -> None:
        self.seen.append((kme_id, seen.code if isinstance(seen, LinkError) else ""))

    def refusal(self, kme_id: str, status: LinkStatus) -> LinkError | None:
        return LinkError(kme_id, "QBER_TOO_HIGH", "is not trusted") if kme_id in self.refused else None


class Sites:
    """Two sites joined by the KME pairs `a` and `b`; `master` prefers a, `slave` prefers b."""

    def __init__(self, folder: Path) -> None:
        self.pairs = {name: KmeNetwork(folder / name, 2) for name in ("a", "b")}
        self.rules = Rules()

    def start(self) -> None:
        """Brings everything up again, with no faults and enough keys."""
        self.rules = Rules()
        for pair in self.pairs.values():
            for name in pair.names:
                if not pair.runs(name):
                    pair.start(name)
            pair.set_faults(HERE, THERE, cut=False)
            pair.wait_stored(HERE, THERE, 20)

    def stop(self) -> None:
        for pair in self.pairs.values():
            pair.stop_all()

    def ends(self) -> tuple[FailoverLink, FailoverLink]:
        parts = {
            (name, kme): pair.link(kme, HERE if kme == THERE else THERE)
            for name, pair in self.pairs.items()
            for kme in (HERE, THERE)
        }
        # In no order: it is the priority that counts.
        master = [KmeLink("b", 20, parts["b", HERE]), KmeLink("a", 10, parts["a", HERE])]
        slave = [KmeLink("a", 20, parts["a", THERE]), KmeLink("b", 10, parts["b", THERE])]
        return FailoverLink(master, self.rules, RETRY_S), FailoverLink(slave, NoOversight(), RETRY_S)


@pytest.fixture(scope="module")
def both_sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    sites = Sites(tmp_path_factory.mktemp("sites"))
    yield sites
    sites.stop()


@pytest.fixture
def sites(both_sites: Sites) -> Sites:
    both_sites.start()
    return both_sites


@pytest.fixture
async def ends(sites: Sites) -> AsyncIterator[tuple[FailoverLink, FailoverLink]]:
    master, slave = sites.ends()
    yield master, slave
    await master.close()
    await slave.close()


Ends = tuple[FailoverLink, FailoverLink]


async def served_by(ends: Ends) -> str:
    """Which KME gives the next key, once the other end has found the same one."""
    master, slave = ends
    [drawn] = await master.draw()
    [collected] = await slave.collect([drawn.key_id])
    assert collected.key == drawn.key
    assert collected.kme == drawn.kme
    return drawn.kme


async def test_the_preferred_kme_is_killed_while_keys_are_drawn_and_serves_again_when_it_is_back(
    sites: Sites, ends: Ends
) -> None:
    master, slave = ends
    served: list[str] = []
    ids: set[str] = set()

    async def draw_on() -> None:
        while served.count("b") < 20:
            [drawn] = await master.draw()
            [collected] = await slave.collect([drawn.key_id])
            assert collected.key == drawn.key
            assert drawn.key_id not in ids
            ids.add(drawn.key_id)
            served.append(drawn.kme)

    drawing = asyncio.create_task(draw_on())
    await asyncio.to_thread(eventually, "keys are drawn", lambda: len(served) >= 10)
    await asyncio.to_thread(sites.pairs["a"].stop, HERE, signal.SIGKILL)
    await asyncio.wait_for(drawing, 20)
    assert served == ["a"] * served.count("a") + ["b"] * 20, "it changes once, and no key is missing in between"
    await asyncio.sleep(RETRY_S)
    status = await master.status()
    assert [(c.kme_id, c.serves, bool(c.problem)) for c in status.kmes] == [("a", False, True), ("b", True, False)]
    assert "KME_UNREACHABLE" in status.kmes[0].problem
    await asyncio.to_thread(sites.pairs["a"].start, HERE)
    await asyncio.sleep(RETRY_S)
    assert (await master.status()).kmes[0].serves
    assert await served_by(ends) == "a"


async def test_a_key_is_found_at_the_kme_that_has_it_and_asking_the_other_costs_nothing(
    sites: Sites, ends: Ends
) -> None:
    master, slave = ends
    [by_a] = await master.draw()
    sites.rules.refused = {"a"}
    [by_b] = await master.draw()
    assert (by_a.kme, by_b.kme) == ("a", "b")
    found = await slave.collect([by_b.key_id, by_a.key_id])
    assert [(key.key, key.kme) for key in found] == [(by_b.key, "b"), (by_a.key, "a")]
    with pytest.raises(LinkError) as caught:
        await slave.collect([by_a.key_id])
    assert caught.value.code == "KEY_NOT_FOUND"
    # A stranger to both ids: the wrong KME of the master's own side.
    assert await served_by(ends) == "b"


async def test_a_key_whose_kme_is_away_may_still_be_there(sites: Sites, ends: Ends) -> None:
    master, slave = ends
    [drawn] = await master.draw()
    await asyncio.to_thread(sites.pairs["a"].stop, THERE, signal.SIGKILL)
    with pytest.raises(LinkError) as caught:
        await slave.collect([drawn.key_id])
    assert caught.value.code == "KME_UNREACHABLE", "not: that there is no such key"
    await asyncio.to_thread(sites.pairs["a"].start, THERE)
    # It is still left alone, and asked all the same: only it can have the key.
    assert (await slave.collect([drawn.key_id]))[0].key == drawn.key


async def test_an_exhausted_kme_and_a_refused_one_are_passed_over(sites: Sites, ends: Ends) -> None:
    master, _ = ends
    pair = sites.pairs["a"]
    pair.set_faults(HERE, THERE, cut=True)
    while pair.stored(HERE, THERE) > 2:
        await master.draw(min(50, pair.stored(HERE, THERE) - 2))
    assert {key.kme for key in await master.draw(3)} == {"b"}, "three of one KME, or none of it"
    assert await served_by(ends) == "a", "it was not down: two keys are left"
    sites.rules.refused = {"a"}
    status = await master.status()
    assert [c.serves for c in status.kmes] == [False, True]
    assert "is not trusted" in status.kmes[0].problem
    assert await served_by(ends) == "b"
    sites.rules.refused = {"a", "b"}
    with pytest.raises(LinkError, match="QBER_TOO_HIGH"):
        await master.draw()
    status = await master.status()
    assert not any(c.serves for c in status.kmes)
    assert status.stored_key_count == pair.stored(HERE, THERE), "that of the preferred, for want of a better one"


async def test_one_that_may_have_the_key_outweighs_those_that_refuse(
    authority: TestAuthority, kme: DeviantKme, tmp_path: Path
) -> None:
    kme.answers({"message": "no such SAE"}, 400)
    [port] = free_ports(1)
    files = KeyFileLink(source="files", folder=tmp_path, local_sae="node-2", peer_sae="node-1")
    parts = [
        KmeLink("files", 1, files),
        KmeLink("refuses", 2, kme.link),
        KmeLink("away", 3, link_to(authority, port)),
    ]
    link = FailoverLink(parts, NoOversight(), RETRY_S)
    with pytest.raises(LinkError, match=r"files.*refuses.*away.*no such SAE") as caught:
        await link.collect([IDS[0]])
    assert caught.value.code == "KME_UNREACHABLE", "which is tried again"
    await link.close()


async def test_when_none_answers_the_error_names_each(sites: Sites, ends: Ends) -> None:
    master, _ = ends
    sites.stop()
    for failing in (master.status(), master.draw()):
        with pytest.raises(LinkError) as caught:
            await failing
        assert caught.value.code == "KME_UNREACHABLE"
        assert caught.value.kme == "a, b"
    assert sites.rules.seen[-2:] == [("a", "KME_UNREACHABLE"), ("b", "KME_UNREACHABLE")]


async def test_one_that_hangs_is_left_alone_for_a_while(authority: TestAuthority, kme: DeviantKme) -> None:
    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    kme.respond = never
    now_s = 0.0
    async with deviant_kme(authority) as sound:
        sound.answers(STATUS | container(1))
        parts = [
            KmeLink("hangs", 1, link_to(authority, kme.port, timeout_s=0.2)),
            KmeLink("sound", 2, link_to(authority, sound.port)),
        ]
        link = FailoverLink(parts, NoOversight(), 10.0, lambda: now_s)
        for _ in range(3):
            assert [key.kme for key in await link.draw()] == ["sound"]
            assert (await link.status()).kmes[1].serves
            assert [key.kme for key in await link.collect([IDS[1]])] == ["sound"]
        assert len(kme.asked) == 1
        now_s = 10.0
        await link.status()
        await link.draw()
        assert len(kme.asked) == 2
        now_s = 20.0
        await link.draw()
        assert len(kme.asked) == 3, "a draw tries it again as well"
        await link.close()
