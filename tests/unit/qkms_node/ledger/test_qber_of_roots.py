"""The QBER of the links that a root's keys came over stays with its epoch; a key with a bound is kept from it."""

from math import nan

import pytest
from msgspec.structs import replace
from tests.unit.qkms_node.ledger.test_provenance_rules import KEY, rewrap, version

from ledger_world import NODES, World, new, request, seeded, share
from qkms_node.keys.grade import Grade
from qkms_node.ledger import commands as c
from qkms_node.ledger.provenance_rules import (
    Provenance,
    names_demanding_more,
    provenance_of,
    provenance_of_root,
    would_worsen,
)
from qkms_node.ledger.records import QBER_UNTOLD, EpochState, EventType

LIMIT = 0.03


def create(world: World, max_qber: float = LIMIT, *, key_id: str = KEY, versions: int = 1) -> c.Outcome:
    """A key with version 1, or without one."""
    drawn = new(1, world.state.active_epoch) if versions else None
    command = c.CreateKey(request(), key_id, "AES_256_GCM", 0, 30_000, {}, drawn)
    return world.do(replace(command, max_qber=max_qber))


def allow(world: World, max_qber: float) -> c.Outcome:
    return world.do(c.UpdateKey(request(), KEY, c.KeyChanges(max_qber=max_qber)))


def share_anew(world: World, epoch: int, qber: float) -> c.Outcome:
    """What a node has lost is given to it again, under a key of a link with this QBER."""
    world.do(c.RejectShare(epoch, "node-3", world.state.roots[epoch].shares["node-3"].sealed, "lost"))
    return world.do(c.ReplaceShare(epoch, share("node-3", b"again", f"again-{world.time_ms}", qber=qber)))


def seen(world: World, number: int = 1) -> float:
    return provenance_of(world.state, version(world, number)).qber


def told(world: World) -> list[tuple[str, int]]:
    return [(e.name, e.state) for e in world.state.events if e.type is EventType.ROOT_QBER_RAISED]


def test_an_epoch_has_the_greatest_qber_of_every_share_it_ever_had_and_a_rise_is_told() -> None:
    world = seeded()
    world.root(2, qber=0.02)
    assert world.state.roots[2].qber == 0.02
    assert share_anew(world, 2, 0.01).changed
    assert (world.state.roots[2].qber, told(world)) == (0.02, [])
    assert share_anew(world, 2, 0.05).changed
    assert (world.state.roots[2].qber, told(world)) == (0.05, [("rootEpochs/2", EpochState.ACTIVE)])
    assert share_anew(world, 1, QBER_UNTOLD).changed
    assert told(world)[1:] == [("rootEpochs/1", EpochState.RETIRED)]
    assert sum(b"root_qber_raised" in line for line in world.state.audit) == 2
    world.root(3, qber=0.01)
    assert world.state.roots[3].qber == 0.01, "each epoch is sealed anew"
    world.root(4, grade=Grade.PQC)
    assert world.state.roots[4].qber == 0


@pytest.mark.parametrize("qber", [nan, -0.01, 1.01])
def test_a_qber_that_is_no_fraction_is_refused(qber: float) -> None:
    world = seeded()
    assert world.stage(2, qber=qber).code == "QBER_MALFORMED"
    assert share_anew(world, 1, qber).code == "QBER_MALFORMED"
    assert world.state.roots[1].qber == 0


def test_a_share_without_a_qkd_key_has_no_qber() -> None:
    world = seeded()
    shares = {"node-2": share("node-2", qber=0.01)}
    assert world.do(c.StageRoot(2, 1, Grade.PQC, "node-1", b"c", (), NODES, shares)).code == "QBER_MALFORMED"


@pytest.mark.parametrize(("qber", "said"), [(0.0301, "was 3.01%"), (QBER_UNTOLD, "was not told by a KME")])
def test_nothing_of_a_key_is_made_under_an_epoch_whose_qber_is_over_its_bound(qber: float, said: str) -> None:
    world = seeded()
    world.root(2, qber=qber)
    refused = create(world)
    assert refused.code == "QBER_TOO_HIGH"
    assert refused.metadata == {
        "epoch": "2",
        "qber": "" if qber == QBER_UNTOLD else str(qber),
        "max_qber": str(LIMIT),
    }
    assert f"keys/{KEY} allows a QBER of 3.00% at most" in refused.message
    assert said in refused.message
    assert create(world, versions=0).changed, "one without a version has nothing to keep"
    opening = c.OpenImport(request(), KEY, "i", 2, b"public", 2, b"sealed", 1_000_000)
    assert world.stage_version(KEY).code == "QBER_TOO_HIGH"
    assert world.do(opening).code == "QBER_TOO_HIGH"
    world.root(3, qber=LIMIT)
    assert world.do(c.RotateKey(request(), KEY, 0, new(1, 3))).changed, "the bound itself is allowed"
    world.root(4, qber=qber)
    assert world.rotate(1).code == "QBER_TOO_HIGH"
    assert allow(world, 0.0).changed
    assert world.rotate(1).changed
    assert (version(world).qber, version(world, 2).qber) == (LIMIT, qber)


def test_a_root_without_qkd_keys_has_no_qber_that_a_bound_could_refuse() -> None:
    world = seeded()
    world.root(2, grade=Grade.PQC)
    assert create(world).changed


def test_material_that_came_by_an_import_key_of_an_epoch_over_the_bound_is_not_taken() -> None:
    world = seeded()
    world.root(2, qber=0.05)
    create(world, 0.0, versions=0)
    opening = c.OpenImport(request(), KEY, "i", 2, b"public", 2, b"sealed", 1_000_000)
    assert world.do(opening).changed
    world.root(3, qber=0.01)
    assert allow(world, LIMIT).changed, "it has no version yet"
    bring_in = c.ImportVersion(request(), KEY, "i", new(1, 3), NODES)
    assert world.do(bring_in).code == "QBER_TOO_HIGH"
    assert allow(world, 0.06).changed
    assert world.do(replace(bring_in, request=request())).changed
    assert version(world).qber == 0.05, "its epoch has less, that of its import key has not"


def test_a_version_stays_where_it_is_until_an_epoch_within_the_bound_comes() -> None:
    world = seeded()
    create(world)
    world.root(2, qber=0.031)
    assert not rewrap(world)
    assert world.do(c.DestroyRoot(1)).code == "EPOCH_IN_USE"
    world.root(3, qber=0.02)
    assert rewrap(world)
    assert (version(world).epoch, seen(world)) == (3, 0.02)
    world.root(4, qber=0.01)
    assert rewrap(world)
    assert (version(world).epoch, seen(world)) == (4, 0.02), "what was seen stays seen"


def test_a_key_may_lower_its_bound_only_to_what_its_primary_version_and_the_root_have_kept() -> None:
    world = seeded()
    world.root(2, qber=0.04)
    create(world, 0.05)
    world.root(3, qber=0.01)
    refused = allow(world, 0.03)
    assert (refused.code, refused.metadata["version"]) == ("QBER_TOO_HIGH", "1")
    assert allow(world, 0.04).changed
    assert allow(world, 0.05).changed, "a higher bound is never refused"
    world.rotate(1)
    assert allow(world, 0.03).changed
    world.root(4, qber=0.02)
    refused = allow(world, 0.015)
    assert (refused.code, refused.metadata["epoch"]) == ("QBER_TOO_HIGH", "4")
    assert allow(world, 0.0).changed, "nor is none"


def test_a_qber_that_rises_after_the_staging_stops_validation_and_activation() -> None:
    for validated in (False, True):
        world = seeded()
        create(world)
        world.stage_version(KEY)
        world.witness(2, *NODES)
        if validated:
            assert world.validate(2).changed
        assert share_anew(world, 1, 0.05).changed
        if not validated:
            assert world.validate(2).code == "QBER_TOO_HIGH"
        else:
            assert world.activate(2, 1, later_ms=30_000).code == "QBER_TOO_HIGH"
        assert world.state.keys[KEY].primary == 1


def test_a_root_must_not_leave_where_a_key_would_lose_what_it_still_has() -> None:
    world = seeded()

    def loses(now: float, then: float, epoch: int = 1) -> bool:
        captured = world.state.keys.capture(), world.state.versions.capture()
        return would_worsen(epoch, Provenance(False, now), Provenance(False, then), *captured, frozenset())

    create(world)
    create(world, 0.05, key_id="second")
    assert loses(0.0, 0.04)
    assert not loses(0.0, LIMIT)
    assert not loses(0.04, 0.045), "what the first one demanded is lost already, the second one keeps it"
    assert loses(0.04, QBER_UNTOLD)
    assert not loses(0.0, QBER_UNTOLD, epoch=2), "nothing is under that one"
    world.root(2, qber=0.04)
    demanding = names_demanding_more(world.state.keys.capture(), provenance_of_root(world.state.roots[2]))
    assert demanding == {KEY}
