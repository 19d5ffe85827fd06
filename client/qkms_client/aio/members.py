"""ClusterService: the members of the cluster."""

from datetime import timedelta
from uuid import UUID

from qkms_client import invitation
from qkms_client.aio.runner import AsyncRunner
from qkms_client.base import new_request_id
from qkms_client.flows import members as flows
from qkms_client.invitation import Invitation
from qkms_client.types import Member, MemberChange


class AsyncMemberCalls(AsyncRunner):
    """As MemberCalls."""

    async def list_members(self, node: str | None = None, *, timeout: float | None = None) -> list[Member]:
        """As Client.list_members."""
        return await self._run(flows.list_members(self._rules, self._known(node), timeout))

    async def add_member(
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
        """As Client.add_member."""
        return await self._run(
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

    async def promote_member(
        self, node_id: str, *, request_id: str | UUID | None = None, timeout: float | None = None
    ) -> MemberChange:
        """As Client.promote_member."""
        return await self._run(flows.promote_member(self._rules, new_request_id(request_id), node_id, timeout))

    async def remove_member(
        self, node_id: str, *, request_id: str | UUID | None = None, timeout: float | None = None
    ) -> MemberChange:
        """As Client.remove_member."""
        return await self._run(flows.remove_member(self._rules, new_request_id(request_id), node_id, timeout))

    async def transfer_leadership(
        self,
        target: str | None = None,
        *,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> MemberChange:
        """As Client.transfer_leadership."""
        flow = flows.transfer_leadership(self._rules, new_request_id(request_id), target, timeout)
        return await self._run(flow)
