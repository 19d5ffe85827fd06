"""Routes through a network of sites: disjoint, short, and as many as there are."""

from itertools import combinations, pairwise, permutations

from hypothesis import given
from hypothesis import strategies as st

from qkms_qkd.kme.network.route import Edge, Route, relays
from qkms_qkd.kme.network.topology import Topology

SITES = "ABCDEF"
LINKS = [frozenset(pair) for pair in combinations(SITES, 2)]


def links(*pairs: str) -> list[Edge]:
    return [frozenset(pair) for pair in pairs]


def every_route(edges: frozenset[Edge], max_relays: int = len(SITES)) -> list[Route]:
    """All simple routes from A to F, by trying."""
    inner = SITES[1:-1]
    tried = (("A", *middle, "F") for size in range(len(inner) + 1) for middle in permutations(inner, size))
    return [
        route
        for route in tried
        if len(relays(route)) <= max_relays and all(frozenset(hop) in edges for hop in pairwise(route))
    ]


def disjoint(routes: tuple[Route, ...]) -> bool:
    passed = [relay for route in routes for relay in relays(route)]
    return len(passed) == len(set(passed)) and len(set(routes)) == len(routes)


def test_the_shortest_route_is_taken_and_another_when_a_link_is_avoided() -> None:
    ring = Topology(links("AB", "BF", "AC", "CD", "DF"))
    assert ring.routes("A", "F", 1, 4) == [("A", "B", "F")]
    assert ring.routes("A", "F", 1, 4, links("BF")) == [("A", "C", "D", "F")]
    assert ring.routes("A", "F", 2, 4) == [("A", "B", "F"), ("A", "C", "D", "F")]
    assert ring.routes("A", "F", 2, 1) == [("A", "B", "F")]
    assert ring.routes("A", "F", 1, 4, links("BF", "DF")) == []
    assert ring.routes("A", "X", 1, 4) == []


def test_two_disjoint_routes_are_found_where_the_shortest_alone_would_block_them() -> None:
    """The trap of Suurballe: the shortest route, A-B-C-F, has a site of each of the only two disjoint ones."""
    trap = Topology(links("AB", "BC", "CF", "AD", "DC", "BE", "EF"))
    assert trap.routes("A", "F", 1, 4) == [("A", "B", "C", "F")]
    assert trap.routes("A", "F", 2, 4) == [("A", "B", "E", "F"), ("A", "D", "C", "F")]


@given(st.frozensets(st.sampled_from(LINKS)), st.integers(1, 4))
def test_a_site_is_within_reach_if_a_route_leads_there(edges: frozenset[Edge], max_relays: int) -> None:
    within = Topology(edges).within("A", max_relays)
    assert "A" in within
    assert ("F" in within) is bool(every_route(edges, max_relays))
    assert ("F" in within) is bool(Topology(edges).routes("A", "F", 1, max_relays))


@given(st.frozensets(st.sampled_from(LINKS)), st.integers(1, 3))
def test_routes_are_as_many_and_as_short_as_trying_all_finds(edges: frozenset[Edge], number: int) -> None:
    found = tuple(Topology(edges).routes("A", "F", number, len(SITES)))
    possible = every_route(edges)
    assert set(found) <= set(possible)
    assert disjoint(found)
    most = max((size for size in range(number + 1) if any(map(disjoint, combinations(possible, size)))), default=0)
    assert len(found) == most
    least = min(sum(map(len, chosen)) for chosen in combinations(possible, most) if disjoint(chosen))
    assert sum(map(len, found)) == least
