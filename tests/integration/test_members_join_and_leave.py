"""A fourth node joins by token, gets the root, votes; the first leader leaves under load; restarts agree."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from tests.integration.conftest import MakeWorld

from qkms_chaos.cluster.layout import Layout
from qkms_chaos.cluster.observe import Observer
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.cluster.world import World
from qkms_client import Client, Member, MemberRole, Profile, bounded, linearizable
from qkms_client import errors as e

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(150)]


def profile_with(layout: Layout, world: World, *nodes: str) -> Profile:
    """The operator's profile with these nodes as its only endpoints."""
    files = world.cluster.operator
    endpoints = {node: world.cluster.network.rpc(node) for node in nodes}
    return Profile(endpoints, files.ca, files.certificate, files.private_key)


def wait_member(client: Client, node: str, what: str, holds: Callable[[Member], bool]) -> Member:
    def probe() -> Member:
        try:
            found = {member.id: member for member in client.list_members()}
        except e.QkmsError as error:
            raise NotYet(str(error)) from None
        member = found.get(node)
        if member is None or not holds(member):
            raise NotYet(str(member))
        return member

    return wait_for(f"{node} {what}", probe, 40)


class Load:
    """Rotations of a key, one after another, and what was acknowledged."""

    def __init__(self, client: Client, key: str) -> None:
        self.acknowledged: list[int] = []
        self.failed: list[e.QkmsError] = []
        self._client = client
        self._key = key
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self.acknowledged.append(self._client.rotate_key(self._key).version.version)
            except e.QkmsError as error:
                self.failed.append(error)
            time.sleep(0.02)

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            self._thread.join()


def test_a_node_joins_votes_and_takes_the_place_of_the_first_leader(make_world: MakeWorld) -> None:
    with make_world(spares=1) as world:
        cluster, layout = world.cluster, world.cluster.layout
        world.observer.wait_root(1)
        world.payments.create_key("payments")
        sealed = world.payments.encrypt("payments", b"attack at dawn").ciphertext

        # A learner first: it serves, and does not vote.
        cluster.add_node("node-4", through="node-3")  # node-3 holds no CA and passes the request on
        wait_member(world.operator, "node-4", "to hold the root", lambda m: m.holds_root)
        joined = Client(profile_with(layout, world, "node-4"))
        assert joined.decrypt("payments", sealed).plaintext == b"attack at dawn"
        assert joined.encrypt("payments", b"x").version == 1
        assert joined.get_key("payments", consistency=linearizable()).primary_version == 1  # through a barrier
        member = wait_member(world.operator, "node-4", "to be level", lambda m: m.behind == 0)
        assert (member.role, member.acting_role) == (MemberRole.LEARNER, MemberRole.LEARNER)

        request = "6f1d0b2e-0000-4000-8000-000000000009"
        assert not world.operator.promote_member("node-4", request_id=request).replayed
        assert world.operator.promote_member("node-4", request_id=request).replayed
        wait_member(world.operator, "node-4", "to vote", lambda m: m.acting_role is MemberRole.VOTER)

        # The leader goes, under load.
        leader = world.observer.wait_leader()
        epoch = active_epoch(world.observer, leader)
        staying = [n for n in (*world.nodes, "node-4") if n != leader]
        observer = Observer(Client(profile_with(layout, world, *staying)), staying)
        with Client(profile_with(layout, world, *world.nodes, "node-4")) as writer:
            load = Load(writer, "payments")
            with load.running():
                wait_for("writes", lambda: _some(load.acknowledged, 3), 10)
                gone = cluster.nodes[leader]
                cluster.remove_node(leader)
                before = len(load.acknowledged)
                wait_for("writes after it has gone", lambda: _some(load.acknowledged, before + 5), 15)
        assert not gone.running
        assert load.failed == []
        assert load.acknowledged == list(range(2, 2 + len(load.acknowledged)))

        # A root that it does not know follows.
        statuses = observer.wait_root(epoch + 1, nodes=staying)
        root = statuses["node-4"].root
        assert root is not None
        assert leader not in root.confirmed_by
        versions = joined.list_versions("payments")
        assert [v.version for v in versions] == list(range(1, 2 + len(load.acknowledged)))

        # Everybody stops, and finds the same members, whatever the files say.
        for node in staying:
            cluster.nodes[node].kill()
        cluster.start_members(staying)
        observer.wait_leader()
        observer.wait_agreement()
        assert (
            joined.decrypt("payments", sealed, consistency=bounded(timedelta(seconds=30))).plaintext
            == b"attack at dawn"
        )
        with Client(profile_with(layout, world, *staying)) as operator:
            members = {m.id: (m.role, m.acting_role) for m in operator.list_members()}
        assert members == dict.fromkeys(staying, (MemberRole.VOTER, MemberRole.VOTER))
        joined.close()


def active_epoch(observer: Observer, node: str) -> int:
    status = observer.status(node)
    assert status is not None
    assert status.root is not None
    return status.root.epoch


def _some(found: list[int], count: int) -> None:
    if len(found) < count:
        raise NotYet(f"{len(found)} of {count}")
