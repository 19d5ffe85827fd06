"""A cut fibre and an eavesdropper: the root waits and says why, keys go on, and healing lets it go on."""

from collections.abc import Callable

import pytest

from qkms_chaos.cluster.kme_admin import KmeAdmin
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.cluster.world import World
from qkms_client.errors import EpochConflict
from qkms_client.types import Grade, LinkState

pytestmark = pytest.mark.cluster

WAITS_S = 20.0

Fault = Callable[[KmeAdmin, str, str], None]
FAULTS: dict[str, Fault] = {
    "a cut fibre": lambda admin, one, other: admin.cut(one, other),
    # A quarter of the fraction adds to the error rate: 60% makes 15% more, over the 11% that leave no key.
    "an eavesdropper": lambda admin, one, other: admin.eavesdrop(one, other, 0.6),
}


def active_epoch(world: World) -> int:
    root = world.operator.status().root
    return root.epoch if root else 0


@pytest.mark.parametrize("fault", FAULTS)
def test_the_root_waits_while_a_link_of_the_leader_is_bad(
    healthy: World, new_key_id: Callable[[], str], fault: str
) -> None:
    leader = healthy.observer.wait_leader()
    peer = healthy.others(leader)[0]
    one, other = (healthy.cluster.layout.site(node).kme for node in (leader, peer))
    epoch, key = active_epoch(healthy), new_key_id()
    healthy.payments.create_key(key)
    admin = healthy.cluster.kme_admin
    try:
        FAULTS[fault](admin, one, other)
        wait_for("the link to be seen as down", lambda: see_down(healthy, leader, peer), WAITS_S)
        healthy.operator.rotate_root(expected_epoch=epoch)
        reason = wait_for("the reason", lambda: waiting(healthy, leader), WAITS_S)
        assert one in reason
        assert active_epoch(healthy) == epoch
        assert healthy.payments.decrypt(key, healthy.payments.encrypt(key, b"x")).plaintext == b"x"
        assert healthy.payments.rotate_key(key).version.root_epoch == epoch
    finally:
        admin.heal(one, other)
    healthy.observer.wait_root(epoch + 1, Grade.QKD_PQC)
    with pytest.raises(EpochConflict):
        healthy.operator.rotate_root(expected_epoch=epoch)


def see_down(world: World, node: str, peer: str) -> None:
    states = {link.peer_node_id: link.state for link in world.observer.links(node)}
    if states.get(peer) is not LinkState.DOWN:
        raise NotYet(str(states))


def waiting(world: World, node: str) -> str:
    status = world.observer.status(node)
    if status is None or not status.seeding:
        raise NotYet("it says nothing of waiting")
    return status.seeding
