"""A KME that is down when the cluster starts: what each root policy makes of it, and of its return."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from qkms_chaos.cluster.observe import describe_root
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.cluster.world import World
from qkms_client.access_types import AuditChain
from qkms_client.errors import GradeTooLow, RootNotReady
from qkms_client.types import Grade

pytestmark = pytest.mark.cluster

DOWN = "kme-2"
FAST = {"qkd": {"poll_ms": 300, "timeout_ms": 1_000}}
WAITS_S = 20.0


def settings(policy: str) -> dict[str, dict[str, object]]:
    return {"node": {**FAST, "root": {"policy": policy, "retry_ms": 300, "fallback_after_ms": 1_500}}}


def wait_seeding(world: World, *words: str) -> str:
    """What the leader says that seeding waits for, once it has all the words."""

    def probe() -> str:
        said = {n: s.seeding for n, s in world.observer.statuses().items()}
        for text in said.values():
            if all(word in text for word in words):
                return text
        raise NotYet(str(said))

    return wait_for(f"a node to wait for {', '.join(words)}", probe, WAITS_S)


def test_require_qkd_waits_says_why_and_refuses_keys_until_the_kme_is_back(
    make_world: Callable[..., AbstractContextManager[World]],
) -> None:
    with make_world(overrides=settings("require_qkd"), without=(DOWN,)) as world:
        # Its node cannot draw and the others cannot draw for it: whoever leads names the site.
        leader = world.observer.wait_leader()
        wait_seeding(world, "KME", DOWN if leader == world.cluster.layout.site(DOWN).node else "node-2")
        with pytest.raises(RootNotReady):
            world.payments.create_key("early", timeout=2)
        root = world.operator.status().root
        assert root is None or root.activate_time is None

        world.cluster.start_members([DOWN])
        seen = world.observer.wait_root(1, Grade.QKD_PQC)
        assert {s.root.grade for s in seen.values() if s.root} == {Grade.QKD_PQC}
        assert world.payments.create_key("early").primary_version == 1


def test_prefer_qkd_goes_on_with_grade_pqc_and_the_next_epoch_has_qkd_again(
    make_world: Callable[..., AbstractContextManager[World]],
) -> None:
    with make_world(overrides=settings("prefer_qkd"), without=(DOWN,)) as world:
        first = world.observer.wait_root(1)["node-1"].root
        assert first is not None
        assert (first.grade, first.qkd_key_ids) == (Grade.PQC, ())
        assert "KME" in first.fallback, "it says what it fell back for"
        world.payments.create_key("early")
        world.payments.create_key("hopeful", prefer_qkd=True)
        hoped = world.payments.encrypt("hopeful", b"attack at noon")
        sealed = world.payments.encrypt("early", b"attack at dawn")
        assert sealed.grade is Grade.PQC
        with pytest.raises(GradeTooLow):
            world.payments.create_key("demanding", required_grade=Grade.QKD_PQC)

        world.cluster.start_members([DOWN])
        second = world.observer.wait_root(first.epoch + 1, Grade.QKD_PQC)["node-1"].root
        assert second is not None
        assert len(second.qkd_key_ids) == 2
        assert world.payments.create_key("demanding", required_grade=Grade.QKD_PQC).primary_version == 1
        wait_for("the key that prefers QKD to have it", lambda: rotated(world, "hopeful"), WAITS_S)
        assert world.ledger.decrypt("hopeful", hoped.ciphertext).plaintext == b"attack at noon"
        assert world.payments.get_key("early").version_count == 1, "a key that does not ask for it is left alone"
        audited = [(r.method, r.principal, r.resource) for r in world.operator.query_audit(AuditChain.MUTATIONS)]
        assert audited.count(("rotate_key", "qkms:qkd-resumed", "keys/hopeful")) == 1
        assert ("qkd_fell_back", "cluster", f"rootEpochs/{first.epoch}") in audited
        assert ("qkd_resumed", "cluster", f"rootEpochs/{second.epoch}") in audited
        assert world.payments.rotate_key("early").version.grade is Grade.QKD_PQC
        assert world.ledger.decrypt("early", sealed.ciphertext).plaintext == b"attack at dawn"


def rotated(world: World, key_id: str) -> None:
    versions = list(world.payments.list_versions(key_id))
    if [v.grade for v in versions] != [Grade.PQC, Grade.QKD_PQC]:
        raise NotYet(str(versions))


def test_pqc_only_never_asks_a_kme(make_world: Callable[..., AbstractContextManager[World]]) -> None:
    kmes = ("kme-1", "kme-2", "kme-3")
    with make_world(overrides=settings("pqc_only"), without=kmes) as world:
        seen = world.observer.wait_root(1)
        assert {describe_root(s) for s in seen.values()} == {"root epoch 1 active (PQC)"}
        world.payments.create_key("early")
        assert world.payments.encrypt("early", b"x").grade is Grade.PQC
