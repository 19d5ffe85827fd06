"""Which membership changes are made of which configurations, and what the log says of them."""

import pytest

from qkms_node.consensus.change_rules import MAX_VOTERS, Change, ChangeImpossible, Kind, changed
from qkms_node.consensus.configuration import Configuration, ConfigurationLog, Placed

A, B, C, D = "a", "b", "c", "d"


def members(*names: str) -> dict[str, str]:
    return {name: f"{name}:1" for name in names}


THREE = Configuration(members(A, B, C))
WITH_LEARNER = Configuration(members(A, B, C), members(D))
LONE = Configuration(members(A), members(B))


@pytest.mark.parametrize(
    ("before", "kind", "member", "address", "after"),
    [
        pytest.param(THREE, "add_learner", D, "d:1", WITH_LEARNER, id="a learner joins"),
        pytest.param(WITH_LEARNER, "add_learner", D, "d:1", WITH_LEARNER, id="it is there already"),
        pytest.param(THREE, "add_learner", A, "a:1", THREE, id="a voter is a member already"),
        pytest.param(WITH_LEARNER, "promote", D, None, Configuration(members(A, B, C, D)), id="a learner votes"),
        pytest.param(THREE, "promote", C, None, THREE, id="it votes already"),
        pytest.param(THREE, "remove", C, None, Configuration(members(A, B)), id="a voter goes"),
        pytest.param(WITH_LEARNER, "remove", D, None, THREE, id="a learner goes"),
        pytest.param(THREE, "remove", D, None, THREE, id="it is gone already"),
        pytest.param(LONE, "remove", B, None, Configuration(members(A)), id="the last learner may go"),
    ],
)
def test_a_change_makes(
    before: Configuration, kind: Kind, member: str, address: str | None, after: Configuration
) -> None:
    assert changed(before, Change(kind, member, address)) == after


@pytest.mark.parametrize(
    ("before", "kind", "member", "address", "why"),
    [
        pytest.param(THREE, "add_learner", D, None, "its address is needed", id="without an address"),
        pytest.param(THREE, "add_learner", D, "nowhere", "not host:port", id="with no address at all"),
        pytest.param(THREE, "add_learner", D, "a:1", "is the address of a", id="with another's address"),
        pytest.param(THREE, "add_learner", A, "a:2", "is a member at a:1", id="a member elsewhere"),
        pytest.param(THREE, "promote", D, None, "add it as a learner first", id="who is no member"),
        pytest.param(LONE, "remove", A, None, "the last voter", id="the last voter"),
    ],
)
def test_a_change_is_refused(
    before: Configuration, kind: Kind, member: str, address: str | None, why: str
) -> None:
    with pytest.raises(ChangeImpossible, match=why):
        changed(before, Change(kind, member, address))


def test_there_is_a_bound_on_voters() -> None:
    full = Configuration(members(*(f"n{i}" for i in range(MAX_VOTERS))), members(D))
    with pytest.raises(ChangeImpossible, match="are the most"):
        changed(full, Change("promote", D))


def test_majorities_before_and_after_any_one_change_share_a_voter() -> None:
    """What makes it safe to change one member at a time."""
    voters = [A, B, C, D]
    groups = [{v for i, v in enumerate(voters) if bits >> i & 1} for bits in range(2 ** len(voters))]
    for size in range(1, len(voters)):
        smaller, larger = Configuration(members(*voters[:size])), Configuration(members(*voters[: size + 1]))
        for one in groups:
            for other in groups:
                if smaller.is_quorum(one) and larger.is_quorum(other):
                    assert one & other & set(smaller.voters)


def test_the_log_goes_back_to_the_configuration_before_what_was_cut() -> None:
    log = ConfigurationLog(THREE)
    log.append(Placed(5, 2, WITH_LEARNER))
    log.append(Placed(9, 2, LONE))
    assert log.newest.configuration == LONE
    log.cut(9)
    assert log.newest == Placed(5, 2, WITH_LEARNER)
    log.cut(2)
    assert log.newest == Placed(0, 0, THREE)


def test_the_log_knows_what_was_in_effect_at_an_index() -> None:
    log = ConfigurationLog(THREE)
    log.append(Placed(5, 2, WITH_LEARNER))
    assert log.at(4).configuration == THREE
    assert log.at(5).configuration == WITH_LEARNER
    log.forget(7)
    assert log.at(4).configuration == WITH_LEARNER


def test_who_is_removed_takes_part_until_that_is_committed() -> None:
    log = ConfigurationLog(THREE)
    log.append(Placed(5, 2, Configuration(members(A, B))))
    assert set(log.members_since(4)) == {A, B, C}
    assert set(log.members_since(5)) == {A, B}


def test_a_snapshot_replaces_the_configurations_that_it_covers() -> None:
    log = ConfigurationLog(LONE)
    log.append(Placed(5, 2, WITH_LEARNER))
    log.append(Placed(30, 3, THREE))
    log.cover(20, Placed(15, 2, LONE))
    assert log.at(20) == Placed(15, 2, LONE)
    assert log.newest == Placed(30, 3, THREE)


def test_of_two_configurations_the_later_term_is_newer_whatever_its_index() -> None:
    assert Placed(3, 5, THREE).is_newer_than(Placed(9, 4, LONE))
    assert not Placed(3, 5, THREE).is_newer_than(Placed(4, 5, LONE))
