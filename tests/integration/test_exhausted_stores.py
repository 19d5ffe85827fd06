"""A store has run empty, and want of keys is refused: an operator hears no at once, and nothing is made without.

The optics of one link are spoilt until nothing can be distilled at an error rate that is still admitted, and
another user of the link takes what is left: the link is up and sound, and has no keys.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import islice
from uuid import uuid4

import pytest
from click.testing import CliRunner

from link_users import open_beside
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.cluster.world import World
from qkms_client.access_types import AuditChain
from qkms_client.cli.main import main
from qkms_client.errors import StoreExhausted
from qkms_client.sync.watch import KeyWatch
from qkms_client.types import EventType, Grade, Link, LinkState
from qkms_qkd.errors import LinkError
from qkms_qkd.link import Link as QkdLink

pytestmark = pytest.mark.cluster

WAITS_S = 20.0
SPOILT = 0.06
"""Of misalignment more: a QBER of 9%, at which privacy amplification leaves nothing."""
SETTINGS: dict[str, dict[str, object]] = {
    "node": {
        "qkd": {"poll_ms": 300, "timeout_ms": 1_000, "alarms": {"on_qber_rise": "report"}},
        "root": {"policy": "prefer_qkd", "on_exhaustion": "refuse", "retry_ms": 300, "fallback_after_ms": 500},
        "raft": {"link_keys": "off"},
    },
    "kme": {"keys": {"max_stored": 40}},
}


def take_everything(world: World, node: str, peer: str) -> None:
    """Draws until the store is empty, as another user of the link would."""

    async def draw() -> None:
        link = open_beside(world, node, peer)
        left = True
        while left:
            left = await took(link, 10) or await took(link, 1)
        await link.close()

    async def took(link: QkdLink, number: int) -> bool:
        try:
            return bool(await link.draw(number, 256))
        except LinkError as error:
            if error.code != "STORE_EXHAUSTED":
                raise
            return False

    asyncio.run(draw())


def link_of(world: World, node: str, peer: str) -> Link:
    return next(link for link in world.observer.links(node) if link.peer_node_id == peer)


def empty(world: World, node: str, peer: str) -> Link:
    take_everything(world, node, peer)
    link = link_of(world, node, peer)
    if link.stored_key_count != 0 or "STORE_EXHAUSTED" not in link.error:
        raise NotYet(str(link))
    return link


def usable(world: World, node: str, peer: str) -> Link:
    link = link_of(world, node, peer)
    if link.state is not LinkState.UP or not link.stored_key_count:
        raise NotYet(str(link))
    return link


def refusals(watch: KeyWatch) -> list[str]:
    """The first two that are told."""
    refused = (event.name for event in watch if event.type is EventType.ROOT_REFUSED)
    return list(islice(refused, 2))


def reported(world: World, resource: str) -> None:
    records = world.operator.query_audit(AuditChain.MUTATIONS)
    if not any((r.method, r.resource) == ("report_link_alarm", resource) for r in records):
        raise NotYet(resource)


def nothing_waits(world: World) -> None:
    said = {node: status.seeding for node, status in world.observer.statuses().items()}
    if any(said.values()):
        raise NotYet(str(said))


def test_a_root_for_which_there_are_no_keys_is_refused_at_once_told_and_audited(
    make_world: Callable[..., AbstractContextManager[World]],
) -> None:
    with make_world(overrides=SETTINGS) as world, ThreadPoolExecutor(1) as pool:
        world.observer.wait_root(1, Grade.QKD_PQC)
        leader = world.observer.wait_leader()
        peer = world.others(leader)[0]
        one, other = (world.cluster.layout.site(node).kme for node in (leader, peer))
        before = world.operator.status().root
        assert before is not None
        watch = world.operator.watch_keys()
        events = pool.submit(refusals, watch)
        admin = world.cluster.kme_admin
        admin.set_faults(one, other, extra_misalignment=SPOILT)
        wait_for("the store to be empty", lambda: empty(world, leader, peer), WAITS_S)

        asked = str(uuid4())
        for _ in range(2):
            with pytest.raises(StoreExhausted, match=f"{one}.*STORE_EXHAUSTED"):
                world.operator.rotate_root(expected_epoch=before.epoch, request_id=asked)
        arguments = ["root", "rotate", "--profile", str(world.cluster.layout.profile)]
        by_hand = CliRunner().invoke(main, arguments)
        assert by_hand.exit_code != 0
        assert "STORE_EXHAUSTED" in by_hand.stderr
        wait_for("the requests to be given up", lambda: nothing_waits(world), WAITS_S)
        assert world.operator.status().root == before, "neither waited for nor done without"

        told = events.result(WAITS_S)
        watch.close()
        assert told == [f"rootEpochs/{before.epoch}"] * 2, "once for each request, not for its repetition"
        audited = [
            r.resource for r in world.operator.query_audit(AuditChain.MUTATIONS) if r.method == "refuse_root"
        ]
        assert audited == told
        alarm = f"links/{leader}/{peer}/alarms/store_low"

        def emptied_and_reported() -> None:
            take_everything(world, leader, peer)  # what was being distilled when the QBER rose came later
            reported(world, f"{alarm}/major")

        wait_for("the alarm to be audited", emptied_and_reported, WAITS_S)

        admin.heal(one, other)
        wait_for("keys in store", lambda: usable(world, leader, peer), WAITS_S)
        world.operator.rotate_root(expected_epoch=before.epoch)
        world.observer.wait_root(before.epoch + 1, Grade.QKD_PQC)
        wait_for("its end to be audited", lambda: reported(world, f"{alarm}/cleared"), WAITS_S)
