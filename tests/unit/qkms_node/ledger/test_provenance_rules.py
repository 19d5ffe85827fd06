"""Relays stay with an epoch, and what a key that refuses them is kept from."""

import pytest
from msgspec.structs import replace

from ledger_world import NODES, World, new, request, seeded, share
from qkms_node.ledger import commands as c
from qkms_node.ledger.provenance_rules import MAX_NAME, MAX_RELAYS, Provenance, provenance_of, would_worsen
from qkms_node.ledger.records import EpochState, EventType, VersionRecord

KEY = "payments"


def create(world: World, *, refuses: bool = True, versions: int = 1) -> c.Outcome:
    """A key with version 1, or without one."""
    drawn = new(1, world.state.active_epoch) if versions else None
    command = c.CreateKey(request(), KEY, "AES_256_GCM", 0, 30_000, {}, drawn)
    return world.do(replace(command, refuse_relays=refuses))


def let_refuse(world: World, refuses: bool = True) -> c.Outcome:
    return world.do(c.UpdateKey(request(), KEY, c.KeyChanges(refuse_relays=refuses)))


def share_anew(world: World, epoch: int, *relays: str, qkd_key_id: str = "") -> c.Outcome:
    """What a node has lost is given to it again, under a key that has passed these relays."""
    world.do(c.RejectShare(epoch, "node-3", world.state.roots[epoch].shares["node-3"].sealed, "lost"))
    key_id = qkd_key_id or f"again-{world.time_ms}"
    return world.do(c.ReplaceShare(epoch, share("node-3", b"again", key_id, relays)))


def rewrap(world: World, number: int = 1) -> bool:
    """Whether a version is moved under the active epoch."""
    under = world.state.versions[KEY, number].epoch
    moved = c.RewrapVersions(world.state.active_epoch, (c.Rewrapped(KEY, number, under, b"again"),))
    return world.do(moved).changed


def version(world: World, number: int = 1) -> VersionRecord:
    return world.state.versions[KEY, number]


def held(world: World, epoch: int) -> bool:
    state = world.state
    importing = frozenset(key_id for key_id, w in state.wrappings.items() if w.epoch == epoch)
    now, then = Provenance(False, 0.0), Provenance(True, 0.0)
    return would_worsen(epoch, now, then, state.keys.capture(), state.versions.capture(), importing)


def told(world: World) -> list[tuple[str, int]]:
    return [(e.name, e.state) for e in world.state.events if e.type is EventType.ROOT_RELAYED]


def test_an_epoch_names_the_relays_of_every_share_it_ever_had_and_each_addition_is_told() -> None:
    world = seeded()
    assert not told(world)
    assert world.stage(2, relays=("kme-7",)).changed
    assert not told(world), "one that is only staged protects nothing yet"
    world.confirm(2, *NODES[:2])
    world.do(c.ActivateRoot(2))
    assert share_anew(world, 2, "kme-7").changed
    assert told(world) == [("rootEpochs/2", EpochState.ACTIVE)]
    assert share_anew(world, 2, "kme-5", "kme-7").changed
    assert share_anew(world, 2).changed, "a share over a direct link takes no name back"
    assert world.state.roots[2].relays == ("kme-5", "kme-7")
    assert share_anew(world, 1, "kme-9").changed
    assert told(world)[1:] == [("rootEpochs/2", EpochState.ACTIVE), ("rootEpochs/1", EpochState.RETIRED)]
    assert sum(b"root_relayed" in line for line in world.state.audit) == 3
    world.root(3)
    assert world.state.roots[3].relays == (), "each epoch is sealed anew"


@pytest.mark.parametrize(
    "relays",
    [("",), ("k" * (MAX_NAME + 1),), ("kme\x1b[2J",), ("kme-8", "kme-7"), ("kme-7", "kme-7")],
    ids=["empty", "long", "unprintable", "unsorted", "twice"],
)
def test_relays_that_are_no_sorted_list_of_names_are_refused(relays: tuple[str, ...]) -> None:
    world = seeded()
    assert world.stage(2, relays=relays).code == "RELAYS_MALFORMED"
    assert share_anew(world, 1, *relays, qkd_key_id="again").code == "RELAYS_MALFORMED"
    assert share_anew(world, 1, "k" * MAX_NAME, qkd_key_id="again").changed, "and the key was not used up"


def test_a_share_without_a_qkd_key_has_passed_no_relay_and_an_epoch_has_no_end_of_them() -> None:
    world = seeded()
    assert world.stage(2, grade=world.state.roots[1].grade, relays=()).changed
    world.do(c.AbortRoot(2, "why"))
    root = c.StageRoot(3, 1, 1, "node-1", b"c", (), NODES, {"node-2": share("node-2", relays=("kme-7",))})  # type: ignore[arg-type]
    assert world.do(root).code == "RELAYS_MALFORMED"
    many = tuple(f"kme-{n:04}" for n in range(MAX_RELAYS))
    assert share_anew(world, 1, *many).changed
    assert share_anew(world, 1, "one-more").code == "RELAYS_MALFORMED"


def test_nothing_of_a_key_that_refuses_relays_is_made_under_an_epoch_that_names_some() -> None:
    world = seeded()
    world.root(2, relays=("kme-7", "kme-8"))
    refused = create(world)
    assert (refused.code, refused.metadata) == ("RELAYS_REFUSED", {"epoch": "2", "relays": "kme-7,kme-8"})
    assert "root epoch 2 have passed kme-7, kme-8" in refused.message
    assert create(world, versions=0).changed, "one without a version has nothing to keep"
    opening = c.OpenImport(request(), KEY, "i", 2, b"public", 2, b"sealed", 1_000_000)
    assert world.stage_version(KEY).code == "RELAYS_REFUSED"
    assert world.do(opening).code == "RELAYS_REFUSED"
    world.root(3)
    assert world.do(c.RotateKey(request(), KEY, 0, new(1, 3))).changed
    world.root(4, relays=("kme-7",))
    assert world.rotate(1).code == "RELAYS_REFUSED"
    assert let_refuse(world).note == "already so"
    assert let_refuse(world, refuses=False).changed
    assert world.rotate(1).changed
    assert (version(world).relayed, version(world, 2).relayed) == (False, True)


def test_material_that_came_by_an_import_key_of_a_relayed_epoch_is_not_taken() -> None:
    world = seeded()
    world.root(2, relays=("kme-7",))
    create(world, refuses=False, versions=0)
    opening = c.OpenImport(request(), KEY, "i", 2, b"public", 2, b"sealed", 1_000_000)
    assert world.do(opening).changed
    world.root(3)
    assert let_refuse(world).changed, "it has no version yet"
    bring_in = c.ImportVersion(request(), KEY, "i", new(1, 3), NODES)
    assert world.do(bring_in).code == "RELAYS_REFUSED"
    assert let_refuse(world, refuses=False).changed
    assert world.do(replace(bring_in, request=request())).changed
    assert version(world).relayed, "its epoch names none, that of its import key does"


def test_a_version_stays_where_it_is_until_an_epoch_without_relays_comes() -> None:
    world = seeded()
    create(world)
    world.root(2, relays=("kme-7",))
    assert not rewrap(world)
    assert world.do(c.DestroyRoot(1)).code == "EPOCH_IN_USE"
    world.root(3)
    assert rewrap(world)
    assert (version(world).epoch, version(world).relayed) == (3, False)
    assert world.do(c.DestroyRoot(1)).changed


@pytest.mark.parametrize("how", ["made there", "moved there", "was there when a share was given"])
def test_what_was_ever_under_a_relayed_epoch_is_never_called_unseen(how: str) -> None:
    world = seeded()
    if how == "made there":
        world.root(2, relays=("kme-7",))
    create(world, refuses=False)
    if how == "moved there":
        world.root(2, relays=("kme-7",))
        assert rewrap(world)
    if how == "was there when a share was given":
        assert share_anew(world, 1, "kme-7").changed
        assert not version(world).relayed
    assert provenance_of(world.state, version(world)).relayed
    assert let_refuse(world).code == "RELAYS_REFUSED"
    world.root(world.state.last_epoch + 1)
    assert rewrap(world)
    assert version(world).relayed
    refused = let_refuse(world)
    assert (refused.code, refused.metadata["version"]) == ("RELAYS_REFUSED", "1")
    world.rotate(1)
    assert let_refuse(world).changed, "a new version is what it takes"


def test_a_key_cannot_begin_to_refuse_while_the_active_epoch_names_relays() -> None:
    """A batch of rewrapping may be in the log behind the update: not applied, and yet written."""
    world = seeded()
    create(world, refuses=False)
    world.root(2, relays=("kme-7",))
    assert not provenance_of(world.state, version(world)).relayed
    assert let_refuse(world).code == "RELAYS_REFUSED"
    world.root(3)
    assert let_refuse(world).changed


def test_without_any_epoch_a_key_may_begin_to_refuse() -> None:
    world = World()
    assert create(world, refuses=False, versions=0).changed
    assert let_refuse(world).changed


def test_relays_that_come_after_the_staging_stop_validation_and_activation() -> None:
    for validated in (False, True):
        world = seeded()
        create(world)
        world.stage_version(KEY)
        world.witness(2, *NODES)
        if validated:
            assert world.validate(2).changed
        assert share_anew(world, 1, "kme-7").changed
        if not validated:
            assert world.validate(2).code == "RELAYS_REFUSED"
        else:
            assert world.activate(2, 1, later_ms=30_000).code == "RELAYS_REFUSED"
        assert world.state.keys[KEY].primary == 1


def test_what_must_stay_direct_is_a_version_or_an_import_key_of_a_key_that_refuses() -> None:
    world = seeded()
    create(world, refuses=False)
    assert not held(world, 1)
    assert let_refuse(world).changed
    assert held(world, 1)
    assert not held(world, 2)
    world.root(2)
    assert rewrap(world)
    assert not held(world, 1)
    world.do(c.OpenImport(request(), KEY, "i", 2, b"public", 2, b"sealed", 1_000_000))
    world.root(3)
    assert rewrap(world)
    assert held(world, 2), "an import key is not moved"
    assert held(world, 3)
