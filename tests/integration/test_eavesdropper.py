"""A tenth of the pulses of one link is measured and sent on: seen by the rise over what is usual there.

The QBER stays far under the 11% that leave no key, and privacy amplification pays for what was learnt: the KME
goes on distilling, at a lower rate. That somebody is on the line an operator wants to know, and wants no root from
it; the cluster goes on by its policy, and when she leaves, QKD is in the root again without being asked.
"""

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest
from click.testing import CliRunner

from link_users import open_beside
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.cluster.world import World
from qkms_client.access_types import AuditChain
from qkms_client.cli.links_watch import BARS
from qkms_client.cli.main import main
from qkms_client.sync.watch import KeyWatch
from qkms_client.types import AlarmSeverity, EventType, Grade, KeyEvent, Link, LinkAlarm, LinkAlarmKind, LinkState
from qkms_qkd.errors import LinkError

pytestmark = pytest.mark.cluster

WAITS_S = 20.0
STORED = 40
SETTINGS: dict[str, dict[str, object]] = {
    "node": {
        "qkd": {"poll_ms": 300, "timeout_ms": 1_000},
        "root": {"policy": "prefer_qkd", "retry_ms": 300, "fallback_after_ms": 1_500, "resume_after_ms": 500},
    },
    "kme": {"keys": {"max_stored": STORED}},
}


def link_of(world: World, node: str, peer: str) -> Link:
    found = {link.peer_node_id: link for link in world.observer.links(node)}
    if peer not in found:
        raise NotYet(f"{node} shows no link to {peer}")
    return found[peer]


def settled(world: World, node: str, peer: str) -> Link:
    link = link_of(world, node, peer)
    if link.qber_baseline is None or link.alarms or link.qber is None:
        raise NotYet(str(link))
    return link


def risen(world: World, node: str, peer: str) -> Link:
    link = link_of(world, node, peer)
    if (LinkAlarmKind.QBER_RISE, AlarmSeverity.MAJOR) not in {(a.kind, a.severity) for a in link.alarms}:
        raise NotYet(str(link))
    return link


def draw_everything(world: World, node: str, peer: str, number: int) -> None:
    """Takes what was in store before, as another user of the link would: what is left was distilled since."""

    async def draw() -> None:
        link = open_beside(world, node, peer)
        drawn = 0
        while drawn < number:
            try:
                drawn += len(await link.draw(10, 256))
            except LinkError as error:
                if error.code != "STORE_EXHAUSTED":
                    raise
                await asyncio.sleep(0.05)
        await link.close()

    asyncio.run(draw())


def qkms(world: World, *arguments: str) -> str:
    result = CliRunner().invoke(main, [*arguments, "--profile", str(world.cluster.layout.profile)])
    assert result.exit_code == 0, result.output
    return result.stdout


def redrawn(world: World, *arguments: str) -> str:
    """What a command writes to a terminal."""
    master, terminal = pty.openpty()
    profile = ["--profile", str(world.cluster.layout.profile)]
    start = "from qkms_client.cli.main import main; main()"
    command = [sys.executable, "-c", start, *arguments, *profile]
    with subprocess.Popen(command, stdout=terminal, stderr=subprocess.PIPE) as process:
        os.close(terminal)
        found = b""
        while chunk := _read(master):
            found += chunk
        assert process.wait() == 0, process.stderr
    os.close(master)
    return found.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65_536)
    except OSError:  # how Linux says that the other side of the terminal is closed
        return b""


def test_an_eavesdropper_on_a_tenth_of_the_pulses_is_seen_and_seeds_nothing(
    make_world: Callable[..., AbstractContextManager[World]],
) -> None:
    with make_world(overrides=SETTINGS) as world, ThreadPoolExecutor(1) as pool:
        world.observer.wait_root(1, Grade.QKD_PQC)
        leader = world.observer.wait_leader()
        peer, third = world.others(leader)
        one, other = (world.cluster.layout.site(node).kme for node in (leader, peer))
        before = wait_for("a baseline", lambda: settled(world, leader, peer), WAITS_S)
        wait_for("a baseline at the other end", lambda: settled(world, peer, leader), WAITS_S)
        assert before.qber is not None
        assert before.skr is not None
        epoch = world.observer.wait_root(1, Grade.QKD_PQC)[leader].root
        assert epoch is not None
        world.payments.create_key("early")
        watch = world.operator.watch_keys()
        events = pool.submit(seen_until_resumed, watch)
        admin = world.cluster.kme_admin

        admin.eavesdrop(one, other, 0.1)
        for ends in ((leader, peer), (peer, leader)):
            link = wait_for("the alarm", lambda ends=ends: risen(world, *ends), WAITS_S)  # type: ignore[misc]
            assert link.qber is not None
            assert 0.05 < link.qber < 0.065, "far from the 11% that leave no key"
            assert link.qber_baseline == pytest.approx(before.qber, abs=0.002), "she is no part of what is usual"
            assert link.skr is not None
            assert 0 < link.skr < before.skr, "the link distils less, and goes on"
            assert link.state is LinkState.DOWN, "no key of it is used"
            assert "QBER_RISE" in link.error
        assert not link_of(world, leader, third).alarms, "the other links are well"
        draw_everything(world, leader, peer, 2 * STORED)

        world.operator.rotate_root(expected_epoch=epoch.epoch)
        fallen = wait_for("the fall-back", lambda: fallen_back(world, epoch.epoch), WAITS_S)
        assert fallen == epoch.epoch + 1
        sealed = world.payments.encrypt("early", b"attack at dawn")
        assert sealed.grade is Grade.QKD_PQC, "its version was made before"
        assert world.payments.rotate_key("early").version.grade is Grade.PQC

        admin.heal(one, other)
        resumed = world.observer.wait_root(fallen + 1, Grade.QKD_PQC)[leader].root
        assert resumed is not None
        assert resumed.epoch == fallen + 1, "once, and not again and again"
        assert world.ledger.decrypt("early", sealed.ciphertext).plaintext == b"attack at dawn"
        assert world.payments.rotate_key("early").version.grade is Grade.QKD_PQC
        after = [link for node in (leader, peer) for link in world.observer.links(node)]
        thrown_away = sum(link.discarded_key_count for link in after)
        assert thrown_away >= STORED // 2, "what she may know of serves nobody"

        told = events.result(WAITS_S)
        watch.close()
        name = f"links/{leader}/{peer}/alarms/qber_rise"
        changes = (EventType.QKD_FELL_BACK, EventType.QKD_RESUMED)
        steps = [e.type for e in told if e.name == name or e.type in changes]
        assert steps == [
            EventType.LINK_ALARM_RAISED,
            EventType.QKD_FELL_BACK,
            EventType.LINK_ALARM_CLEARED,
            EventType.QKD_RESUMED,
        ]
        audited = {(r.method, r.resource) for r in world.operator.query_audit(AuditChain.MUTATIONS)}
        assert ("report_link_alarm", f"{name}/major") in audited
        assert ("report_link_alarm", f"{name}/cleared") in audited
        assert ("qkd_fell_back", f"rootEpochs/{fallen}") in audited
        assert ("qkd_resumed", f"rootEpochs/{resumed.epoch}") in audited

        assert all(verdict.intact for verdict in world.operator.verify_audit())
        commands_show_it(world, leader, peer)
        world.cluster.member(peer).kill()
        world.cluster.start_members([peer])
        kept = world.operator.list_link_alarms(peer, history=True)
        assert steps_of(kept, leader) == ["MAJOR", "CLEARED"], "the history outlives a kill"


def seen_until_resumed(watch: KeyWatch) -> list[KeyEvent]:
    found: list[KeyEvent] = []
    for event in watch:
        found.append(event)
        if event.type is EventType.QKD_RESUMED:
            break
    return found


def fallen_back(world: World, epoch: int) -> int:
    root = world.operator.status().root
    if root is None or root.epoch <= epoch or root.grade is not Grade.PQC:
        raise NotYet(str(root))
    return root.epoch


def steps_of(alarms: list[LinkAlarm], peer: str) -> list[str]:
    rises = [a for a in alarms if a.peer_node_id == peer and a.kind is LinkAlarmKind.QBER_RISE]
    return [alarm.severity.name for alarm in rises]


def commands_show_it(world: World, node: str, peer: str) -> None:
    shown = json.loads(qkms(world, "links", "--node", node, "--json"))
    assert {link["peer_node_id"] for link in shown} == set(world.others(node))
    assert all(0.03 < link["qber_baseline"] < 0.036 for link in shown)
    history = json.loads(qkms(world, "links", "alarms", "--history", "--json"))
    rises = [a for a in history if (a["node_id"], a["peer_node_id"], a["kind"]) == (node, peer, "QBER_RISE")]
    assert [a["severity"] for a in rises] == ["MAJOR", "CLEARED"]
    assert "QBER_RISE" in qkms(world, "links", "alarms", "--history", "--node", node)
    lines = qkms(world, "links", "watch", "--node", node, "--count", "2", "--interval", "0.2").splitlines()
    assert len(lines) == 2 * len(shown)
    assert all("qber=0.03" in line for line in lines)
    drawn = redrawn(world, "links", "watch", "--node", node, "--count", "2", "--interval", "0.2")
    assert drawn.count("\x1b[H") == 2
    assert sum(bar in drawn for bar in BARS) >= 3, "the curves of the minutes in which she was there"
    looks = world.operator.list_link_samples(node, peer)
    assert max(look.qber for look in looks if look.qber is not None) > 0.05
