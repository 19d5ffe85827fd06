"""Words of a network of sites. Pure."""

Route = tuple[str, ...]
"""The sites that a key passes, from the master's to the slave's."""
Edge = frozenset[str]
"""The two sites of a link."""


def relays(route: Route) -> Route:
    """The sites between the two ends: each sees what it passes on."""
    return route[1:-1]
