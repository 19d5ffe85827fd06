"""Which node is asked next, and that every node is asked in the end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkms_client.routing import FIRST_BACKOFF_S, MAX_BACKOFF_S, Router

NODES = ("node-1", "node-2", "node-3")


def router() -> Router:
    return Router(NODES)


def test_without_nodes_there_is_no_router() -> None:
    with pytest.raises(ValueError, match="at least one endpoint"):
        Router(())


def test_a_mutation_prefers_the_leader_and_a_read_does_not() -> None:
    routes = router()
    routes.heard("node-3", 5)
    assert routes.choose(0.0, mutation=True).endpoint == "node-3"
    assert routes.choose(0.0, mutation=False).endpoint == "node-1"


def test_a_failed_leader_is_not_asked_first() -> None:
    routes = router()
    routes.heard("node-3", 5)
    routes.failed("node-3", 0.0, spread=0.0)
    assert routes.choose(0.0, mutation=True).endpoint == "node-1"


def test_a_leader_that_is_lost_is_forgotten_until_heard_of_again() -> None:
    routes = router()
    routes.heard("node-3", 5)
    routes.lost("node-3")
    assert routes.leader is None
    routes.heard("node-2", 6)
    assert routes.choose(0.0, mutation=True).endpoint == "node-2"


def test_an_older_term_is_not_believed() -> None:
    """A node cut off from the quorum still names the leader of its own time."""
    routes = router()
    routes.heard("node-2", 6)
    routes.heard("node-3", 5)
    assert routes.leader == "node-2"


def test_a_leader_outside_the_profile_is_never_dialled() -> None:
    routes = router()
    routes.heard("stranger", 9)
    assert routes.leader is None
    assert routes.choose(0.0, mutation=True).endpoint in NODES


def test_back_off_grows_up_to_its_limit_and_success_ends_it() -> None:
    routes = Router(["only"])
    waits = []
    for _ in range(12):
        routes.failed("only", 0.0, spread=0.0)
        waits.append(routes.choose(0.0, mutation=False).wait)
    assert waits[0] == pytest.approx(FIRST_BACKOFF_S)
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(MAX_BACKOFF_S)
    routes.succeeded("only")
    assert routes.choose(0.0, mutation=False).wait == 0.0


def test_a_node_may_ask_for_more_time_but_not_for_ever() -> None:
    routes = Router(["only"])
    routes.failed("only", 0.0, spread=0.0, retry_after=1.0)
    assert routes.choose(0.0, mutation=False).wait == pytest.approx(1.0)
    routes.failed("only", 0.0, spread=0.0, retry_after=3600.0)
    assert routes.choose(0.0, mutation=False).wait == pytest.approx(MAX_BACKOFF_S)


@given(st.lists(st.tuples(st.sampled_from(NODES), st.booleans(), st.floats(0, 1), st.floats(0, 5)), max_size=40))
def test_a_choice_is_a_node_of_the_profile_within_a_bounded_wait(
    history: list[tuple[str, bool, float, float]],
) -> None:
    routes, now = router(), 0.0
    for node, good, spread, passed in history:
        now += passed
        if good:
            routes.succeeded(node)
        else:
            routes.failed(node, now, spread=spread)
        for mutation in (False, True):
            choice = routes.choose(now, mutation=mutation)
            assert choice.endpoint in NODES
            assert 0.0 <= choice.wait <= MAX_BACKOFF_S


@given(st.floats(0, 1))
def test_all_nodes_are_asked_when_each_fails(spread: float) -> None:
    routes, asked = router(), []
    for _ in NODES:
        choice = routes.choose(0.0, mutation=False)
        asked.append(choice.endpoint)
        routes.failed(choice.endpoint, 0.0, spread=spread)
    assert sorted(asked) == sorted(NODES)
