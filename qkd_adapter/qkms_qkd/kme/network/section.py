"""[network]: what a KME knows of the sites around it, and how it lets keys be relayed. Pure."""

from collections.abc import Collection, Iterator

import msgspec

MAX_ROUTES = 8
MAX_RELAYS = 16
MAX_ADDITIONAL = 64


class NetworkSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """[network]: without it keys are drawn over this KME's own links alone.

    `links` are those between other sites, as pairs of KME ids; this KME's own are known. A relayed key is the
    XOR of as many parts as `disjoint_routes` says, each over a route of its own, so that so many relays
    must conspire to learn it. `max_relays` bounds a route, `max_additional` the slave SAEs beside the first.
    """

    links: list[tuple[str, str]] = []
    disjoint_routes: int = 1
    max_relays: int = 4
    max_additional: int = 8


def network_problems(network: NetworkSection, own_id: str, peers: Collection[str]) -> Iterator[tuple[str, str]]:
    """What is wrong with the section: field, problem."""
    for i, (one, other) in enumerate(network.links):
        if one == other:
            yield f"network.links[{i}]", f"joins {one!r} to itself"
        if own_id in (one, other) and not {one, other} & set(peers):
            yield f"network.links[{i}]", f"is a link of {own_id!r} that has no [[links]] entry"
    for name, least, most in (
        ("disjoint_routes", 1, MAX_ROUTES),
        ("max_relays", 1, MAX_RELAYS),
        ("max_additional", 0, MAX_ADDITIONAL),
    ):
        value = getattr(network, name)
        if not least <= value <= most:
            yield f"network.{name}", f"must be from {least} to {most}, not {value}"
