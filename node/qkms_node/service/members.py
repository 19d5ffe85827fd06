"""Who the members are, as services ask: the ledger's records, and before there are any, the configuration.

The configuration's list founds the cluster; the first leader records it, and
from then on the records decide everywhere, whatever a configuration says.
"""

from qkms_node.config import Config
from qkms_node.ledger.member_records import MemberRecord, MemberRole
from qkms_node.ledger.state import State


class Members:
    """The members of this cluster, and which of them this node is."""

    def __init__(self, config: Config) -> None:
        self._node_id = config.node.id
        self._me = config.me
        self.founders = tuple(
            MemberRecord(m.id, m.raft_address, m.rpc_address, m.sae_id, MemberRole.VOTER)
            for m in config.cluster.members
            if not config.cluster.joining
        )

    def of(self, state: State) -> dict[str, MemberRecord]:
        """By id."""
        return dict(sorted(state.members.items())) or {m.node_id: m for m in self.founders}

    def voters(self, state: State) -> tuple[str, ...]:
        """Ids of those who are meant to vote, sorted."""
        return tuple(sorted(m.node_id for m in self.of(state).values() if m.role is MemberRole.VOTER))

    def peers(self, state: State) -> dict[str, MemberRecord]:
        """All but this node, by id."""
        return {n: m for n, m in self.of(state).items() if n != self._node_id}

    def holds_me(self, state: State) -> bool:
        """Whether this node is a member, as far as it knows: one that still joins knows nothing."""
        return not state.members or self._node_id in state.members

    def sae_id(self, state: State) -> str:
        """This node's name towards its KME."""
        me = self.of(state).get(self._node_id)
        return me.sae_id if me is not None else self._me.sae_id
