"""Staged versions and rotation by period on real processes, with nodes that die and come back."""

import time
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from uuid import uuid4

import grpc
import pytest

from qkms.v1 import crypto_pb2, crypto_pb2_grpc
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.cluster.world import World
from qkms_client import errors as e
from qkms_client.types import KeyVersion, VersionState

STALENESS = timedelta(seconds=1.5)
PERIOD = timedelta(seconds=1)


@pytest.mark.cluster
def test_a_staged_version_is_validated_and_activated_with_one_node_down_and_back(
    healthy: World, new_key_id: Callable[[], str], channel_to: Callable[[str], grpc.Channel]
) -> None:
    kms, key = healthy.payments, new_key_id()
    kms.create_key(key, max_staleness=STALENESS)
    old = kms.encrypt(key, b"before")
    leader = healthy.observer.wait_leader()
    absent = healthy.others(leader)[0]
    healthy.cluster.nodes[absent].kill()

    request = uuid4()
    staged = kms.stage_version(key, request_id=request)
    assert kms.stage_version(key, request_id=request).replayed
    assert staged.state is VersionState.PRE_ACTIVATION
    assert staged.staging is not None
    assert set(staged.staging.voters) == set(healthy.nodes)
    with pytest.raises(e.VersionNotValidated):
        kms.activate_version(staged)
    validated = kms.validate_version(staged, timeout=20)
    assert validated.staging is not None
    assert set(validated.staging.confirmed) == set(healthy.others(absent))
    with pytest.raises(e.ActivationTooEarly) as early:
        kms.activate_version(staged)
    assert early.value.retry_after is not None
    assert kms.encrypt(key, b"still the old one").version == 1
    with pytest.raises(e.RotationPending):
        kms.rotate_key(key)

    time.sleep(early.value.retry_after)
    activation = kms.activate_version(staged, timeout=20)
    assert (activation.key.primary_version, activation.already_active) == (2, False)
    new = kms.encrypt(key, b"after")
    assert new.version == 2
    assert kms.decrypt(key, old).plaintext == b"before"

    healthy.cluster.start_members([absent])
    full = wait_for("the returned node's evidence", lambda: _all_confirmed(healthy, key), 30)
    assert full.state is VersionState.ACTIVE
    sealed = crypto_pb2.DecryptRequest(name=f"keys/{key}", ciphertext=new.ciphertext)
    answer = crypto_pb2_grpc.CryptoServiceStub(channel_to(absent)).Decrypt(sealed, timeout=10, wait_for_ready=True)
    assert answer.plaintext == b"after"
    assert kms.activate_version(staged).already_active
    healthy.observer.wait_agreement()


def _all_confirmed(world: World, key: str) -> KeyVersion:
    version = world.payments.list_versions(key)[-1]
    assert version.staging is not None
    if set(version.staging.confirmed) != set(world.nodes):
        raise NotYet(f"confirmed by {sorted(version.staging.confirmed)}")
    return version


@pytest.mark.cluster
def test_rotation_by_period_makes_one_version_per_due_time_across_a_leader_kill(
    healthy: World, new_key_id: Callable[[], str]
) -> None:
    kms = healthy.payments
    keys = [new_key_id() for _ in range(6)]
    for key in keys:
        kms.create_key(key, rotation_period=PERIOD)
    leader = healthy.observer.wait_leader()
    wait_for("a first rotation of each key", lambda: _rotated(healthy, keys, 2), 30)
    before = {key: kms.get_key(key).version_count for key in keys}
    healthy.cluster.nodes[leader].kill()
    wait_for("rotations by the next leader", lambda: _rotated(healthy, keys, max(before.values()) + 2), 30)
    for key in keys:
        kms.update_key(key, rotation_period=timedelta(0))
    healthy.cluster.start_members([leader])
    healthy.observer.wait_agreement()

    for key in keys:
        versions = kms.list_versions(key)
        assert [v.version for v in versions] == list(range(1, len(versions) + 1))
        assert [v.state for v in versions].count(VersionState.ACTIVE) == 1
        activated = [v.activate_time for v in versions if v.activate_time is not None]
        assert len(activated) == len(versions)
        for earlier, later in pairwise(activated):
            # A due time is a period after the activation before it: two rotations of one would come sooner.
            assert later - earlier >= PERIOD


def _rotated(world: World, keys: list[str], count: int) -> None:
    seen = {key: world.payments.get_key(key).version_count for key in keys}
    if min(seen.values()) < count:
        raise NotYet(f"{seen}")
