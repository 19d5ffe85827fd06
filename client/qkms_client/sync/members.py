"""ClusterService: the members of the cluster."""

from datetime import timedelta
from uuid import UUID

from qkms_client import invitation
from qkms_client.base import new_request_id
from qkms_client.flows import members as flows
from qkms_client.invitation import Invitation
from qkms_client.sync.runner import Runner
from qkms_client.types import Member, MemberChange


class MemberCalls(Runner):
    """Each change is recorded once for its request_id; the leader then carries it out: see `list_members`."""

    def list_members(self, node: str | None = None, *, timeout: float | None = None) -> list[Member]:
        """The members as `node` sees them, by default the leader, who also knows how far each is behind."""
        return self._run(flows.list_members(self._rules, self._known(node), timeout))

    def add_member(
        self,
        node_id: str,
        raft_address: str,
        rpc_address: str,
        *,
        sae_id: str | None = None,
        token_ttl: timedelta = timedelta(hours=1),
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> Invitation:
        """Records a learner at two host:port and invites it; the same member again gets a new token.

        Raises MemberExists, MemberLimit, OutcomeUnknown (then call again without a request_id: the member
        is added once, and the last token counts).
        """
        return self._run(
            flows.add_member(
                self._rules,
                new_request_id(request_id),
                node_id,
                raft_address,
                rpc_address,
                sae_id or "",
                invitation.draw(),
                token_ttl,
                self.profile.ca_fingerprint(),
                timeout,
            )
        )

    def promote_member(
        self, node_id: str, *, request_id: str | UUID | None = None, timeout: float | None = None
    ) -> MemberChange:
        """Lets a learner that has joined vote. Raises MemberNotFound, MemberNotReady, MemberLimit."""
        return self._run(flows.promote_member(self._rules, new_request_id(request_id), node_id, timeout))

    def remove_member(
        self, node_id: str, *, request_id: str | UUID | None = None, timeout: float | None = None
    ) -> MemberChange:
        """Takes a member out; a leader hands over first. Raises MemberNotFound, LastVoter."""
        return self._run(flows.remove_member(self._rules, new_request_id(request_id), node_id, timeout))

    def transfer_leadership(
        self,
        target: str | None = None,
        *,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> MemberChange:
        """Lets `target`, or any other voter, lead. Raises MemberNotFound, MemberNotReady, LastVoter."""
        return self._run(flows.transfer_leadership(self._rules, new_request_id(request_id), target, timeout))
