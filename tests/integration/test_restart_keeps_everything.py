"""All members stopped or killed, and started again: the same state, and old ciphertexts decrypt."""

from collections.abc import Callable

import pytest

from qkms_chaos.cluster.world import World

pytestmark = pytest.mark.cluster

CONTEXT = {"tenant": "acme"}


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_state_and_ciphertexts_survive(healthy: World, new_key_id: Callable[[], str], end: str) -> None:
    key, cluster = new_key_id(), healthy.cluster
    healthy.payments.create_key(key)
    sealed = []
    for _ in range(3):
        sealed.append(healthy.payments.encrypt(key, b"attack at dawn", context=CONTEXT).ciphertext)
        healthy.payments.rotate_key(key)
    derived = healthy.payments.derive_key(key, context=CONTEXT, version=2).key
    versions = healthy.payments.list_versions(key)
    before = healthy.observer.wait_agreement()

    if end == "stopped":
        assert set(cluster.stop().values()) == {0}
    else:
        cluster.kill()
    cluster.start_members(cluster.kmes)
    cluster.start_members(cluster.nodes)

    healthy.observer.wait_leader()
    after = healthy.observer.wait_agreement()
    assert (after.revision, after.state_digest) == (before.revision, before.state_digest)
    healthy.observer.wait_root(1)
    assert healthy.payments.list_versions(key) == versions
    for ciphertext in sealed:
        assert healthy.ledger.decrypt(key, ciphertext, context=CONTEXT).plaintext == b"attack at dawn"
    assert healthy.payments.derive_key(key, context=CONTEXT, version=2).key == derived
    assert healthy.payments.rotate_key(key).version.version == 5


def test_one_node_after_another_can_be_restarted_under_use(healthy: World, new_key_id: Callable[[], str]) -> None:
    key = new_key_id()
    healthy.payments.create_key(key)
    for number, node in enumerate(healthy.nodes, start=2):
        assert healthy.cluster.nodes[node].terminate() == 0
        assert healthy.payments.decrypt(key, healthy.payments.encrypt(key, b"x")).plaintext == b"x"
        assert healthy.payments.rotate_key(key).version.version == number
        healthy.cluster.start_members([node])
        healthy.observer.wait_agreement()
