"""Leader killed with -9 amid rotations: each has one effect, whatever was retried."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.cluster.world import World
from qkms_client import Client
from qkms_client.types import Rotation, VersionState

CLIENTS = 8
ROTATIONS_EACH = 25
KILL_AFTER = 60


@pytest.mark.cluster
def test_each_key_ends_with_exactly_the_versions_asked_for(healthy: World, new_key_id: Callable[[], str]) -> None:
    profile = healthy.cluster.layout.service_profile("payments")
    keys = [new_key_id() for _ in range(CLIENTS)]
    for key in keys:
        healthy.payments.create_key(key)
    done = Counter()

    def rotate(key: str) -> list[Rotation]:
        with Client.from_profile(profile) as client:
            rotations = []
            for _ in range(ROTATIONS_EACH):
                rotations.append(client.rotate_key(key, timeout=60))
                done.add()
            return rotations

    leader = healthy.observer.wait_leader()
    with ThreadPoolExecutor(max_workers=CLIENTS) as pool:
        work = [pool.submit(rotate, key) for key in keys]
        wait_for(f"{KILL_AFTER} rotations", lambda: done.at_least(KILL_AFTER), 60)
        healthy.cluster.nodes[leader].kill()
        finished_before = done.value
        rotations = [future.result(timeout=120) for future in work]
    assert finished_before < CLIENTS * ROTATIONS_EACH, "the leader was killed after all rotations were done"
    for key, of_key in zip(keys, rotations, strict=True):
        versions = healthy.payments.list_versions(key)
        assert [v.version for v in versions] == list(range(1, ROTATIONS_EACH + 2))
        assert [r.version.version for r in of_key] == list(range(2, ROTATIONS_EACH + 2))
        assert [v.state for v in versions].count(VersionState.ACTIVE) == 1
        assert versions[-1].state is VersionState.ACTIVE
    assert healthy.observer.wait_leader(healthy.others(leader)) != leader
    healthy.cluster.start_members([leader])
    healthy.observer.wait_agreement()


class Counter:
    """Counts across threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.value = 0

    def add(self) -> None:
        with self._lock:
            self.value += 1

    def at_least(self, number: int) -> None:
        if self.value < number:
            raise NotYet(f"{self.value} done")
