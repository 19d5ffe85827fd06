"""What a node takes from a link: keys in doubt thrown away, relayed ones refused, a reserve left, alarms told."""

import asyncio
import json
import time
from collections.abc import Sequence

import pytest

from ledger_world import World, seeded
from qkms_node.config_quantum import AlarmsSection
from qkms_node.consensus.local import LocalReplica
from qkms_node.consensus.peer_keys import Drawn
from qkms_node.keys.grade import Grade
from qkms_node.ledger import commands as c
from qkms_node.ledger.link_records import AlarmKind, AlarmSeverity, alarm_name
from qkms_node.ledger.records import EventType
from qkms_node.service.link_keys import LinkKeySource
from qkms_node.service.links import Links
from qkms_node.service.monitoring.findings import Thresholds
from qkms_node.service.monitoring.monitor import LinkMonitor
from qkms_node.service.monitoring.reporting import PAUSE_S, AlarmReporter
from qkms_node.service.monitoring.scraped import scraped
from qkms_node.service.proposing import Proposer
from qkms_node.service.store import LedgerStore
from qkms_node.telemetry.links import LinkState
from qkms_node.telemetry.metrics import Metrics
from qkms_qkd.admission import AdmissionRules
from qkms_qkd.answers import HttpAnswer
from qkms_qkd.errors import LinkError
from qkms_qkd.etsi014.reading import read_keys
from qkms_qkd.link import LinkStatus, QkdKey

# When a key was distilled that no look has seen come: an hour ago.
OLD = time.time() - 3600
RISE, MAJOR, CLEARED = AlarmKind.QBER_RISE, AlarmSeverity.MAJOR, AlarmSeverity.CLEARED


class Store:
    """A KME's store for one link, oldest key first: what each key tells of itself."""

    def __init__(self) -> None:
        self.qber = 0.033
        self.distilled: list[float | None] = []
        self.relays: tuple[str, ...] = ()
        self.peer_sae = "peer"

    async def status(self) -> LinkStatus:
        return LinkStatus("peer", "kme-1", "kme-2", 256, len(self.distilled), 100, 128, qber=self.qber, up=True)

    async def draw(self, number: int = 1, size_bits: int = 256) -> list[QkdKey]:
        if len(self.distilled) < number:
            raise LinkError("kme-1", "STORE_EXHAUSTED", "has too few")
        taken, self.distilled = self.distilled[:number], self.distilled[number:]
        ages = [None if at is None else time.time() - at for at in taken]
        return [QkdKey(f"k-{at}", bytes(32), age, self.relays) for at, age in zip(taken, ages, strict=True)]

    async def collect(self, key_ids: Sequence[str], size_bits: int = 256) -> list[QkdKey]:
        return await self.draw(1)

    async def close(self) -> None:
        pass


class Site:
    """A node with one link, whose usual QBER it knows."""

    def __init__(self, min_store: int = 0, clear_after: int = 3, *, allow_relays: bool = False) -> None:
        self.store = Store()
        alarms = AlarmsSection(qber_baseline=0.033, clear_after=clear_after)
        self.monitor = LinkMonitor(Thresholds(alarms, 0.11, min_store), kme_id="kme-1")
        rules = AdmissionRules(allow_relays=allow_relays)
        self.links = Links("kme-1", {"peer": self.store}, rules, poll_s=60, monitor=self.monitor)

    async def draw(self) -> str:
        return (await self.links.draw("peer"))[0]

    async def attacked(self) -> float:
        """She comes and goes; when she was there."""
        self.store.distilled = [OLD] * 50
        await self.links.look()
        await asyncio.sleep(0.01)
        self.store.qber, came_s = 0.057, time.time()
        await self.links.look()
        assert not self.links.usable("peer")
        assert "QBER_RISE" in self.links.problem("peer")
        with pytest.raises(LinkError, match="QBER_TOO_HIGH"):
            await self.draw()
        self.store.qber = 0.033
        for _ in range(3):
            await self.links.look()
        assert self.links.usable("peer")
        return came_s


async def test_keys_of_the_time_she_was_there_are_thrown_away() -> None:
    site = Site()
    came_s = await site.attacked()
    await asyncio.sleep(0.01)
    fresh = time.time()
    site.store.distilled = [OLD, *[came_s] * 40, *[fresh] * 40]
    assert await site.draw() == f"k-{OLD}", "what was distilled before she came is good"
    assert await site.draw() == f"k-{fresh}"
    assert site.monitor.view("peer").discarded["KEY_SUSPECT"] == 40


async def test_a_store_full_of_keys_in_doubt_is_worked_off_in_bounded_attempts() -> None:
    site = Site()
    came_s = await site.attacked()
    site.store.distilled = [came_s] * 1_000
    with pytest.raises(LinkError, match="KEY_SUSPECT"):
        await site.draw()
    assert 0 < len(site.store.distilled) < 1_000


async def test_keys_that_have_grown_too_old_in_store_are_thrown_away() -> None:
    """As in a store that was full for days, or one whose KME had a wrong clock."""
    site = Site()
    await site.links.look()
    fresh = time.time()
    site.store.distilled = [*[time.time() - 2 * 86_400] * 300, *[fresh] * 40]
    assert await site.draw() == f"k-{fresh}"
    assert site.monitor.view("peer").discarded["KEY_STALE"] == 300
    site.store.distilled = [time.time() - 2 * 86_400] * 1_000
    with pytest.raises(LinkError, match=r"grown too old.*KEY_STALE"):
        await site.draw()
    assert 0 < len(site.store.distilled) < 1_000


async def test_a_key_that_was_drawn_for_one_purpose_is_refused_for_another() -> None:
    site = Site()
    site.store.distilled = [OLD, OLD, OLD]
    source = LinkKeySource(site.links)
    drawn: asyncio.Queue[object] = asyncio.Queue()
    source.draw("peer", drawn.put_nowait)
    assert isinstance(await drawn.get(), Drawn)
    with pytest.raises(LinkError, match="delivered before") as caught:
        await site.draw()
    assert caught.value.code == "KEY_REPLAYED"
    source.draw("peer", drawn.put_nowait)
    assert "delivered before" in str(await drawn.get())


async def test_a_peer_does_not_collect_a_key_in_doubt() -> None:
    site = Site()
    came_s = await site.attacked()
    site.store.distilled = [came_s]
    with pytest.raises(LinkError, match="KEY_SUSPECT"):
        await site.links.collect("peer", "k")


async def test_a_key_of_unknown_age_is_in_doubt_only_while_the_alarm_is_raised() -> None:
    site = Site()
    await site.attacked()
    site.store.distilled = [None]
    assert await site.draw() == "k-None"


async def test_relayed_keys_are_refused_unless_relays_are_allowed() -> None:
    for allowed in (False, True):
        site = Site(allow_relays=allowed)
        site.store.distilled, site.store.relays = [OLD], ("kme-7",)
        if allowed:
            assert await site.draw() == f"k-{OLD}"
        else:
            with pytest.raises(LinkError, match=r"kme-7.*KEY_RELAYED"):
                await site.draw()
            assert site.monitor.view("peer").discarded["KEY_RELAYED"] == 1


async def test_the_relays_of_a_key_are_handed_on_at_both_ends() -> None:
    site = Site(allow_relays=True)
    site.store.distilled, site.store.relays = [OLD] * 2, ("kme-7", "kme-8")
    drawn = await site.links.draw("peer", lambda _: False)
    collected = await site.links.collect("peer", "k")
    assert (drawn.relays, collected.relays) == (("kme-7", "kme-8"), ("kme-7", "kme-8"))


@pytest.mark.parametrize(
    "relays",
    ['"kme-7"', "[7]", '[""]', "{}", '["kme\\u001b"]', json.dumps(["k" * 129]), json.dumps(["k"] * 65)],
    ids=["no list", "numbers", "empty", "object", "unprintable", "long", "many"],
)
def test_relays_that_are_no_list_of_names_are_no_answer(relays: str) -> None:
    def answer(named: str) -> HttpAnswer:
        key = f'"key_ID":"k","key":"{"A" * 43}=","key_extension":{{"relays":{named}}}'
        return HttpAnswer(200, "application/json", f'{{"keys":[{{{key}}}]}}'.encode())

    assert read_keys("kme-1", answer('["kme-7","kme-8"]'), 256)[0].relays == ("kme-7", "kme-8")
    with pytest.raises(LinkError, match="KME_BAD_ANSWER"):
        read_keys("kme-1", answer(relays), 256)


async def test_a_reserve_is_left_in_store_for_others() -> None:
    site = Site(min_store=5)
    site.store.distilled = [OLD] * 6
    assert await site.draw() == f"k-{OLD}"
    with pytest.raises(LinkError, match=r"5 keys .* left for others .*STORE_EXHAUSTED"):
        await site.draw()
    assert site.links.is_exhausted("peer")


async def test_a_scrape_shows_a_link_and_its_alarm() -> None:
    site = Site()
    site.store.distilled, site.store.qber = [OLD] * 50, 0.057
    await site.links.look()
    metrics = Metrics()
    metrics.collect_from(LinkState(lambda: scraped(site.monitor)))
    value = metrics.registry.get_sample_value
    assert value("qkms_link_qber", {"peer": "peer", "kme": "kme-1"}) == 0.057
    assert value("qkms_link_qber_baseline", {"peer": "peer", "kme": "kme-1"}) == 0.033
    assert value("qkms_link_stored_keys", {"peer": "peer", "kme": "kme-1"}) == 50
    assert value("qkms_link_up", {"peer": "peer", "kme": "kme-1"}) == 1
    assert (
        value("qkms_link_alarm", {"peer": "peer", "kme": "kme-1", "alarm": "qber_rise", "severity": "major"}) == 5
    )


class Reported:
    """A site's reporter on a ledger of its own."""

    def __init__(self) -> None:
        self.site = Site(clear_after=1)
        self.now_s = 100.0
        self.store = LedgerStore(asyncio.get_running_loop())
        proposer = Proposer(LocalReplica("node-1", self.store), 1.0)
        self.reporter = AlarmReporter("node-1", self.site.monitor, self.store, proposer, lambda: self.now_s)

    async def see(self, qber: float) -> list[EventType]:
        """A look, and what the cluster is told."""
        self.site.store.qber, self.site.store.distilled = qber, [OLD] * 50
        with self.store.view() as state:
            before = state.revision
        await self.site.links.look()
        await self.reporter.step()
        with self.store.view() as state:
            return [event.type for event in state.events if event.revision > before]


async def test_the_cluster_is_told_once_of_each_step_and_a_flapping_link_floods_nothing() -> None:
    world = Reported()
    assert await world.see(0.057) == [EventType.LINK_ALARM_RAISED]
    assert await world.see(0.057) == []
    assert await world.see(0.033) == [EventType.LINK_ALARM_CLEARED], "what is over is told at once"
    told = [step for _ in range(50) for qber in (0.057, 0.033) for step in await world.see(qber)]
    assert told == []
    world.now_s += PAUSE_S
    assert await world.see(0.057) == [EventType.LINK_ALARM_RAISED]


async def test_warnings_stay_at_the_node() -> None:
    world = Reported()
    assert await world.see(0.045) == []
    assert world.site.monitor.raised != []


def report(world: World, severity: AlarmSeverity, node: str = "node-1") -> c.Outcome:
    return world.do(c.ReportLinkAlarm(node, "node-2", RISE, severity))


def test_a_report_of_what_is_known_changes_nothing_and_each_step_is_audited() -> None:
    world = seeded()
    assert not report(world, CLEARED).changed
    assert report(world, MAJOR).changed
    assert not report(world, MAJOR).changed
    assert report(world, AlarmSeverity.CRITICAL).changed
    name = alarm_name("node-1", "node-2", RISE)
    record = world.state.link_alarms[name]
    assert record.severity is AlarmSeverity.CRITICAL
    assert record.raise_ms < record.change_ms
    assert report(world, CLEARED).changed
    assert not world.state.link_alarms
    events = [(e.type, e.state) for e in world.state.events if e.name == name]
    raised = EventType.LINK_ALARM_RAISED
    assert events == [(raised, 5), (raised, 6), (EventType.LINK_ALARM_CLEARED, 1)]
    assert sum(f"{name}/major".encode() in line for line in world.state.audit) == 1


def test_losing_and_regaining_qkd_are_events_of_their_own() -> None:
    world = seeded()
    for epoch, grade in ((2, Grade.PQC), (3, Grade.PQC), (4, Grade.QKD_PQC), (5, Grade.QKD_PQC)):
        world.root(epoch, grade)
    changes = (EventType.QKD_FELL_BACK, EventType.QKD_RESUMED)
    told = [(e.type, e.name) for e in world.state.events if e.type in changes]
    assert told == [(changes[0], "rootEpochs/2"), (changes[1], "rootEpochs/4")]
    assert sum(b"qkd_fell_back" in line for line in world.state.audit) == 1


def test_a_first_epoch_that_falls_back_says_so_and_why_and_one_that_never_wanted_qkd_does_not() -> None:
    changes = (EventType.QKD_FELL_BACK, EventType.QKD_RESUMED)
    for why, told in (("kme-1 is down", [(changes[0], "rootEpochs/1"), (changes[1], "rootEpochs/3")]), ("", [])):
        world = World()
        for epoch in (1, 2):
            world.root(epoch, Grade.PQC, fallback=why)
            assert world.state.roots[epoch].fallback == why
        if why:
            world.root(3)
        assert [(e.type, e.name) for e in world.state.events if e.type in changes] == told
        assert sum(b"qkd_fell_back" in line for line in world.state.audit) == len(told) // 2
