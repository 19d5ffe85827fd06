"""The state of a cluster as a table for a terminal, and as lines for a log. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Group
from rich.table import Table
from rich.text import Text

from qkms_client.types import Grade, Link, LinkState, NodeStatus, Role

UNKNOWN = "-"

_ROLE_STYLE = {Role.LEADER: "bold green", Role.FOLLOWER: "", Role.CANDIDATE: "yellow"}
_GRADE_STYLE = {Grade.QKD_PQC: "green", Grade.QKD: "green", Grade.PQC: "yellow"}
_LINK_STYLE = {LinkState.UP: "green", LinkState.DOWN: "red", LinkState.KME_UNREACHABLE: "red"}


@dataclass(frozen=True)
class View:
    """What was seen in one look: by node its status (absent: no answer) and its links."""

    nodes: Sequence[str]
    statuses: Mapping[str, NodeStatus]
    links: Mapping[str, Sequence[Link]] = field(default_factory=dict)

    def one_way_links(self) -> list[Link]:
        """Each link once, as the first node in order that knows its figures sees it."""
        seen: dict[frozenset[str], Link] = {}
        for node in self.nodes:
            for link in self.links.get(node, ()):
                pair = frozenset((node, link.peer_node_id))
                if pair not in seen or seen[pair].qber is None:
                    seen[pair] = link
        return list(seen.values())


def render(view: View, title: str) -> Group:
    """The table: nodes above, links below."""
    return Group(Text(title), _node_table(view), _link_table(view))


def _node_table(view: View) -> Table:
    table = Table("node", "role", "term", "revision", "root epoch", "grade", "staleness", "waits for")
    for node in view.nodes:
        status = view.statuses.get(node)
        if status is None:
            table.add_row(node, Text("no answer", "red"), *[UNKNOWN] * 5, "")
            continue
        root = status.root
        table.add_row(
            node,
            Text(status.role.name.lower(), _ROLE_STYLE.get(status.role, "")),
            str(status.term),
            str(status.revision),
            f"{root.epoch} {root.state.name.lower()}" if root else UNKNOWN,
            Text(str(root.grade), _GRADE_STYLE.get(root.grade, "")) if root else UNKNOWN,
            staleness(status),
            status.seeding,
        )
    return table


def _link_table(view: View) -> Table:
    table = Table("QKD link", "state", "QBER", "key rate", "store", "trouble")
    for link in view.one_way_links():
        table.add_row(
            link_name(link),
            Text(_state(link), _LINK_STYLE.get(link.state, "")),
            UNKNOWN if link.qber is None else f"{link.qber:.2%}",
            key_rate(link.skr),
            store_fill(link),
            link.error,
        )
    return table


def lines(view: View) -> list[str]:
    """One line for each node and link, of what changes seldom enough to be worth a line of log."""
    said = []
    for node in view.nodes:
        status = view.statuses.get(node)
        if status is None:
            said.append(f"{node}: no answer")
            continue
        root = status.root
        words = f"{root.epoch} {root.state.name.lower()}, grade {root.grade}" if root else "none"
        waits = f"; waits for: {status.seeding}" if status.seeding else ""
        said.append(f"{node}: {status.role.name.lower()} in term {status.term}; root epoch {words}{waits}")
    for link in view.one_way_links():
        trouble = f"; {link.error}" if link.error else ""
        said.append(f"link {link_name(link)}: {_state(link)}{trouble}")
    return said


def link_name(link: Link) -> str:
    """Both ends of a link."""
    return f"{link.node_id} - {link.peer_node_id}"


def staleness(status: NodeStatus) -> str:
    """The bound on the age of a node's state."""
    age = status.header.staleness if status.header else None
    return UNKNOWN if age is None else f"{age.total_seconds():.1f} s"


def key_rate(bits_per_second: float | None) -> str:
    """A secret key rate with a fitting unit."""
    if bits_per_second is None:
        return UNKNOWN
    for unit, size in (("Mbit/s", 1e6), ("kbit/s", 1e3)):
        if bits_per_second >= size:
            return f"{bits_per_second / size:.1f} {unit}"
    return f"{bits_per_second:.1f} bit/s"


def store_fill(link: Link) -> str:
    """Keys in store, and how many fit."""
    if link.stored_key_count is None:
        return UNKNOWN
    return f"{link.stored_key_count}/{link.max_key_count}" if link.max_key_count else str(link.stored_key_count)


def _state(link: Link) -> str:
    return link.state.name.lower().replace("_", " ")
