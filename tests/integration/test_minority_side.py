"""A node that has lost its quorum says so, in bounded time, and never passes old state off as new."""

import time
from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import grpc
import pytest

from qkms.v1 import common_pb2, crypto_pb2, key_pb2
from qkms.v1.crypto_pb2_grpc import CryptoServiceStub
from qkms.v1.key_pb2_grpc import KeyServiceStub
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.cluster.world import World
from qkms_chaos.refusal import NotRefused, refusal_of
from qkms_client.types import Role

pytestmark = pytest.mark.cluster

MAX_STALENESS = timedelta(seconds=3)
REFUSED_WITHIN_S = 2.0
# What a call itself may take on a machine with other things to do.
SLACK_S = 0.5
TIMEOUT_S = 10.0


class Survivor:
    """The one node left, called directly."""

    def __init__(self, channel: grpc.Channel, key: str) -> None:
        self.name = f"keys/{key}"
        self._keys = KeyServiceStub(channel)
        self._crypto = CryptoServiceStub(channel)

    def get(self, level: common_pb2.ConsistencyLevel.ValueType) -> key_pb2.GetKeyResponse:
        request = key_pb2.GetKeyRequest(name=self.name, consistency=common_pb2.Consistency(level=level))
        return self._keys.GetKey(request, timeout=TIMEOUT_S)

    def encrypt(self) -> crypto_pb2.EncryptResponse:
        request = crypto_pb2.EncryptRequest(name=self.name, plaintext=b"attack at dawn")
        return self._crypto.Encrypt(request, timeout=TIMEOUT_S)

    def rotate(self) -> key_pb2.RotateKeyResponse:
        request = key_pb2.RotateKeyRequest(request_id=str(uuid4()), name=self.name, expected_primary_version=1)
        return self._keys.RotateKey(request, timeout=TIMEOUT_S)


@pytest.fixture(params=["leader", "follower"])
def cut_off(
    request: pytest.FixtureRequest,
    healthy: World,
    new_key_id: Callable[[], str],
    channel_to: Callable[[str], grpc.Channel],
) -> tuple[Survivor, float]:
    """The survivor of two of three killed at once, and when they were killed (monotonic)."""
    key = new_key_id()
    healthy.payments.create_key(key, max_staleness=MAX_STALENESS)
    leader = healthy.observer.wait_leader()
    healthy.observer.wait_agreement()
    alive = leader if request.param == "leader" else healthy.others(leader)[0]
    survivor = Survivor(channel_to(alive), key)
    survivor.encrypt()
    for node in healthy.others(alive):
        healthy.cluster.nodes[node].kill()
    return survivor, time.monotonic()


def test_reads_and_writes_on_the_minority_side(healthy: World, cut_off: tuple[Survivor, float]) -> None:
    survivor, killed = cut_off
    # BOUNDED: served, labelled, and never older than the bound.
    served, last = 0, killed
    refusal = None
    while refusal is None and time.monotonic() < killed + MAX_STALENESS.total_seconds() + TIMEOUT_S:
        try:
            refusal = refusal_of(survivor.encrypt)
        except NotRefused:
            served, last = served + 1, time.monotonic()
    assert served > 0
    assert last - killed <= MAX_STALENESS.total_seconds() + SLACK_S
    assert refusal is not None
    assert refusal.reason == "TOO_STALE"

    # LINEARIZABLE: refused in bounded time.
    begun = time.monotonic()
    refusal = refusal_of(lambda: survivor.get(common_pb2.LINEARIZABLE))
    assert time.monotonic() - begun < REFUSED_WITHIN_S
    assert refusal.reason == "NO_QUORUM"
    assert refusal.retry_after is not None

    # STALE_OK: served, and labelled with its age.
    header = survivor.get(common_pb2.STALE_OK).header
    assert header.consistency == common_pb2.STALE_OK
    assert header.staleness.ToTimedelta() > MAX_STALENESS
    assert not header.leader_known

    # Writes: refused, or said to be of unknown outcome; never acknowledged.
    assert refusal_of(survivor.rotate).reason in {"NO_QUORUM", "NOT_COMMITTED", "OUTCOME_UNKNOWN"}

    healthy.cluster.start_members([n for n, p in healthy.cluster.nodes.items() if not p.running])
    healthy.observer.wait_leader()
    wait_for("encryption on the survivor", lambda: _encrypts(survivor), 20)


def _encrypts(survivor: Survivor) -> None:
    try:
        error = refusal_of(survivor.encrypt)
    except NotRefused:
        return
    raise NotYet(str(error))


def test_a_linearizable_read_is_refused_in_time_from_the_first_moment(cut_off: tuple[Survivor, float]) -> None:
    survivor, killed = cut_off
    refusal = refusal_of(lambda: survivor.get(common_pb2.LINEARIZABLE))
    assert time.monotonic() - killed < REFUSED_WITHIN_S
    assert refusal.reason == "NO_QUORUM"


def test_answers_within_the_bound_say_how_old_they_are(cut_off: tuple[Survivor, float]) -> None:
    survivor, _ = cut_off
    header = survivor.encrypt().header
    assert header.consistency == common_pb2.BOUNDED
    assert timedelta(0) <= header.staleness.ToTimedelta() <= MAX_STALENESS


def test_a_leader_without_a_quorum_steps_down(healthy: World) -> None:
    leader = healthy.observer.wait_leader()
    for node in healthy.others(leader):
        healthy.cluster.nodes[node].pause()

    def probe() -> None:
        status = healthy.observer.status(leader)
        if status is None or status.role is Role.LEADER:
            raise NotYet("it still calls itself leader")

    wait_for(f"{leader} to step down", probe, 5)
