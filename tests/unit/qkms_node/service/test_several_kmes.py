"""A node whose site has several KMEs, or draws ahead: each KME is judged by itself, and what serves is told."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from qkms_node.config_quantum import AlarmsSection
from qkms_node.config_sections import SealSection
from qkms_node.ledger.link_records import AlarmKind, AlarmSeverity
from qkms_node.rpc import link_messages
from qkms_node.service.links import Links
from qkms_node.service.monitoring.findings import Thresholds
from qkms_node.service.monitoring.monitor import LinkMonitor
from qkms_node.service.monitoring.scraped import scraped
from qkms_node.service.overseeing import Overseer
from qkms_node.service.prefetching import PrefetchUnlocking
from qkms_node.service.roots import RootStore
from qkms_node.service.seals.making import SealMaker
from qkms_qkd.admission import AdmissionRules
from qkms_qkd.errors import LinkError
from qkms_qkd.failover import FailoverLink, KmeLink
from qkms_qkd.link import Link, LinkStatus, QkdKey
from qkms_qkd.oversight import Oversight
from qkms_qkd.prefetch.link import Marks, PrefetchLink
from qkms_qkd.prefetch.rows import Place
from qkms_qkd.prefetch.store import PrefetchStore

from .test_link_keys import OLD, Store

PLACE = Place("a", "me", "peer")


class Kme(Store):
    """A KME's store for the link to the peer, which counts what it is asked, and may be away."""

    def __init__(self, qber: float) -> None:
        super().__init__()
        self.qber = qber
        self.distilled = [OLD - i for i in range(50)]
        self.asked = 0
        self.away = False
        self.fresh = False

    async def draw(self, number: int = 1, size_bits: int = 256) -> list[QkdKey]:
        if self.fresh:
            self.distilled = [time.time() + i / 1e6 for i in range(number)]
        return await super().draw(number, size_bits)

    async def status(self) -> LinkStatus:
        self.asked += 1
        if self.away:
            raise LinkError("-", "KME_UNREACHABLE", "is away")
        return await super().status()


class Site:
    """A node with KMEs `a` and `b` to one peer, a preferred, whose fibres are of different quality."""

    def __init__(self) -> None:
        self.kmes = {"a": Kme(0.02), "b": Kme(0.05)}
        self.monitor = LinkMonitor(Thresholds(AlarmsSection(raise_after=1, clear_after=2), 0.11, 0), kme_id="a")
        self.links = Links("a", {}, AdmissionRules(), 60, self._make, monitor=self.monitor)
        self.links.follow("me", {"node-2": "peer"})

    def _make(self, local: str, peer: str, oversight: Oversight) -> Link:
        parts = [KmeLink(name, i, kme) for i, (name, kme) in enumerate(self.kmes.items())]
        return FailoverLink(parts, oversight, 0.0)

    async def look(self, times: int = 1) -> str:
        """Which KME serves after so many looks."""
        for _ in range(times):
            await self.links.look()
        return self.monitor.serving["node-2"]

    async def draw(self) -> str:
        return (await self.links.draw("node-2", lambda _: False))[0]

    def told(self) -> set[tuple[str, AlarmKind, AlarmSeverity]]:
        return {(alarm.kme, alarm.kind, alarm.severity) for alarm in self.monitor.raised_in_use}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    one = Site()
    assert await one.look(6) == "a"
    yield one
    await one.links.close()


async def test_the_other_kme_has_another_usual_qber_and_that_is_no_alarm(site: Site) -> None:
    site.kmes["a"].away = True
    assert await site.look(4) == "b"
    assert [(alarm.kme, alarm.kind) for alarm in site.monitor.raised] == [("a", AlarmKind.KME_UNREACHABLE)]
    assert site.told() == set(), "keys are had as before: the cluster is not told"
    assert site.links.usable("node-2")
    await site.draw()
    assert len(site.kmes["b"].distilled) == 49
    assert (site.links.view("node-2").kme, site.links.view("node-2").drawn) == ("b", 1)
    site.kmes["a"].away = False
    assert await site.look() == "a"


async def test_an_eavesdropper_on_one_fibre_moves_the_node_to_the_other(site: Site) -> None:
    site.kmes["a"].qber = 0.04
    assert await site.look() == "b"
    listened_s = time.time()
    status = site.links.observations["node-2"].status
    assert status is not None
    assert "QBER_RISE" in status.kmes[0].problem
    await site.draw()
    assert len(site.kmes["a"].distilled) == 50
    site.kmes["a"].qber = 0.02
    assert await site.look() == "b", "not cleared by one look"
    assert await site.look() == "a"
    # What was distilled on that fibre meanwhile is in doubt, the same moment's keys of the other are not.
    assert site.monitor.view("node-2", "a").is_suspect(listened_s, listened_s)
    assert not site.monitor.view("node-2", "b").is_suspect(listened_s, listened_s)
    # A key that was drawn ahead may be older than it tells.
    overseer, now_s = Overseer("node-2", AdmissionRules(), site.monitor, "a"), time.time()
    key = QkdKey("k", bytes(32), 0.0, kme="a", prefetched=True)
    overseer.admitted(key, now_s, lambda _: False)
    with pytest.raises(LinkError, match="KEY_SUSPECT"):
        overseer.admitted(replace(key, age_slack_s=now_s - listened_s), now_s, lambda _: False)


async def test_when_none_serves_the_reason_of_each_is_given_and_the_cluster_is_told(site: Site) -> None:
    site.kmes["a"].away = True
    site.kmes["b"].qber = 0.12
    assert await site.look() == ""
    assert not site.links.usable("node-2")
    assert "over the limit" in site.links.problem("node-2")
    assert "is away" in site.links.problem("node-2")
    with pytest.raises(LinkError, match=r"over the limit.*is away.*QBER_TOO_HIGH"):
        await site.draw()
    assert ("a", AlarmKind.KME_UNREACHABLE, AlarmSeverity.MAJOR) in site.told()
    assert ("b", AlarmKind.QBER_HIGH, AlarmSeverity.CRITICAL) in site.told()
    site.kmes["b"].away = True
    assert await site.look() == ""
    with pytest.raises(LinkError, match="none of them answers"):
        await site.draw()


async def test_a_scrape_and_a_listing_show_which_serves(site: Site) -> None:
    site.kmes["a"].away = True
    await site.look()
    assert {figures.kme: figures.gauges["serves"] for figures in scraped(site.monitor)} == {"a": False, "b": True}
    seen = site.links.observations["node-2"]
    view = site.links.view("node-2")
    link = link_messages.link("node-2", "me", "peer", seen, "", view, site.monitor.raised)
    assert [(kme.kme_id, kme.priority, kme.serves) for kme in link.kmes] == [("a", 0, False), ("b", 1, True)]
    assert "is away" in link.kmes[0].error
    assert (link.qber, link.kmes[1].qber, link.alarms[0].kme_id) == (0.05, 0.05, "a")
    site.links.follow("me", {})
    assert scraped(site.monitor) == []
    assert site.monitor.raised == []


class Ahead:
    """A node with one KME that draws ahead."""

    def __init__(self, folder: Path) -> None:
        self.kme = Kme(0.033)
        self.store = PrefetchStore(folder)
        alarms = AlarmsSection(qber_baseline=0.033, clear_after=1)
        self.monitor = LinkMonitor(Thresholds(alarms, 0.11, 0), kme_id="a")
        self.links = Links("a", {}, AdmissionRules(), 60, self._make, monitor=self.monitor, prefetched=self.store)
        self.links.follow("me", {"node-2": "peer"})

    def _make(self, local: str, peer: str, oversight: Oversight) -> Link:
        return PrefetchLink(self.kme, PLACE, self.store, Marks(2, 4, 3600), oversight)

    async def filled(self) -> None:
        """Looks until four keys wait."""
        for _ in range(100):
            await self.links.look()
            status = self.links.observations["node-2"].status
            if status is not None and status.prefetched == 4:
                return
            await asyncio.sleep(0.01)
        raise AssertionError(status)


@pytest.fixture
async def drawn_ahead(tmp_path: Path) -> AsyncIterator[Ahead]:
    one = Ahead(tmp_path / "prefetch")
    await one.links.look()  # the one that a new link begins with is over before it
    await one.store.unlock(bytes(32))
    yield one
    await one.links.close()


async def test_a_key_that_waits_is_had_without_asking_the_kme(drawn_ahead: Ahead) -> None:
    await drawn_ahead.filled()
    view = drawn_ahead.monitor.view("node-2")
    assert view.drawn == 4, "they left the KME's store when they were drawn ahead"
    asked = drawn_ahead.kme.asked
    await drawn_ahead.links.draw("node-2", lambda _: False)
    assert (drawn_ahead.kme.asked, view.drawn) == (asked, 4)
    drawn_ahead.kme.away = True
    await drawn_ahead.links.look()
    assert drawn_ahead.links.usable("node-2")
    await drawn_ahead.links.draw("node-2", lambda _: False)
    await drawn_ahead.links.look()
    assert [alarm.kind for alarm in drawn_ahead.monitor.raised] == [AlarmKind.KME_UNREACHABLE]
    seen = drawn_ahead.links.observations["node-2"]
    link = link_messages.link("node-2", "me", "peer", seen, "", view, ())
    assert link.prefetched_key_count == 2
    assert "2 keys that were drawn ahead are left" in link.error


async def test_what_was_drawn_ahead_while_she_listened_is_thrown_away(drawn_ahead: Ahead) -> None:
    # She comes right after a look in order, and the node draws what she has listened to.
    drawn_ahead.kme.fresh = True
    await drawn_ahead.links.look()
    for _ in range(500):
        if await drawn_ahead.store.count(PLACE, 256, 3600) == 4:
            break
        await asyncio.sleep(0.01)
    drawn_ahead.kme.fresh = False
    drawn_ahead.kme.distilled = [OLD - i for i in range(50)]
    drawn_ahead.kme.qber = 0.057
    await drawn_ahead.links.look()
    with pytest.raises(LinkError, match="QBER_TOO_HIGH"):
        await drawn_ahead.links.draw("node-2", lambda _: False)
    drawn_ahead.kme.qber = 0.033
    await drawn_ahead.links.look()
    assert (await drawn_ahead.links.draw("node-2", lambda _: False))[0] == f"k-{OLD}"
    assert drawn_ahead.monitor.view("node-2").discarded["KEY_SUSPECT"] == 4
    assert len(drawn_ahead.kme.distilled) >= 40, "one by one, for the next good one may be the next"


async def test_the_store_is_open_while_the_node_is_unsealed(tmp_path: Path) -> None:
    section = SealSection(mode="keyfile", key_file=tmp_path / "seal.key")
    roots = RootStore(tmp_path, SealMaker(section, "test", "node-1"), "test", "node-1")
    store = PrefetchStore(tmp_path / "prefetch")
    unlocking = PrefetchUnlocking(store, tmp_path, roots)
    roots.on_seal = unlocking.lock
    running = asyncio.create_task(unlocking.run())
    await settled(store, locked=False)
    key = (tmp_path / "prefetch" / "key.sealed").read_bytes()
    roots.seal()
    assert store.locked, "at once"
    roots.unseal(b"")
    await settled(store, locked=False)
    assert (tmp_path / "prefetch" / "key.sealed").read_bytes() == key
    roots.seal()
    (tmp_path / "seal.key").unlink()
    (tmp_path / "roots.sealed").unlink()
    roots.unseal(b"")
    await settled(store, locked=False)
    assert (tmp_path / "prefetch" / "key.sealed").read_bytes() != key, "another seal: another key"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await store.close()


async def settled(store: PrefetchStore, *, locked: bool) -> None:
    for _ in range(500):
        if store.locked is locked:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(store.locked)
