"""Which sites are joined, and the routes a key can take through them. Pure.

Routes of one key have no relay in common (node-disjoint), and take as few hops in all as that allows: a flow
of least cost over the network with every site split in two, which only one route may pass.
"""

from collections.abc import Collection, Iterable

import networkx as nx

from qkms_qkd.kme.network.route import Edge, Route, relays


class Topology:
    """The links of a network, as pairs of site names."""

    def __init__(self, links: Iterable[Edge]) -> None:
        self._links = frozenset(links)

    def routes(
        self, source: str, target: str, number: int, max_relays: int, avoiding: Collection[Edge] = ()
    ) -> list[Route]:
        """At most `number` routes without a common relay, shortest first; fewer where there are no more.

        None of them has more than `max_relays` relays or uses a link of `avoiding`.
        """
        usable = self._links.difference(avoiding)
        if not {source, target} <= {site for link in usable for site in link}:
            return []
        flow = nx.max_flow_min_cost(_split(usable, source, number), (source, "start"), (target, "in"))
        found = sorted((_followed(flow, source, target, hop) for hop in _hops(flow, source)), key=_by_length)
        return [route for route in found if len(relays(route)) <= max_relays]

    def within(self, source: str, max_relays: int) -> frozenset[str]:
        """The sites that a route with at most so many relays leads to, and `source`."""
        network: nx.Graph[str] = nx.Graph([(one, other) for one, other in map(sorted, self._links)])
        network.add_node(source)
        return frozenset(nx.single_source_shortest_path_length(network, source, cutoff=max_relays + 1))


def _split(links: Collection[Edge], source: str, number: int) -> "nx.DiGraph[tuple[str, str]]":
    graph: nx.DiGraph[tuple[str, str]] = nx.DiGraph()
    graph.add_edge((source, "start"), (source, "out"), capacity=number, weight=0)
    for link in sorted(links, key=sorted):
        for here, there in (sorted(link), sorted(link, reverse=True)):
            graph.add_edge((here, "out"), (there, "in"), capacity=1, weight=1)
            if here != source:
                graph.add_edge((here, "in"), (here, "out"), capacity=1, weight=0)
    return graph


_Flow = dict[tuple[str, str], dict[tuple[str, str], int]]


def _hops(flow: _Flow, site: str) -> list[str]:
    return [there for (there, _), used in flow[site, "out"].items() if used]


def _followed(flow: _Flow, source: str, target: str, hop: str) -> Route:
    route = [source, hop]
    while route[-1] != target:
        [onward] = _hops(flow, route[-1])
        route.append(onward)
    return tuple(route)


def _by_length(route: Route) -> tuple[int, Route]:
    return len(route), route
