"""ClusterService and QkdService: status, links, the root."""

import asyncio
from uuid import UUID

from qkms_client.aio.runner import AsyncRunner
from qkms_client.base import new_request_id
from qkms_client.errors import QkmsError
from qkms_client.flows import cluster as flows
from qkms_client.types import Link, LinkAlarm, LinkSample, NodeStatus, RootRotation


class AsyncClusterCalls(AsyncRunner):
    """`node` is a node id of the profile; None: any healthy node."""

    async def status(self, node: str | None = None, *, timeout: float | None = None) -> NodeStatus:
        """As Client.status."""
        return await self._run(flows.status(self._rules, self._known(node), timeout))

    async def status_of_all(self, *, timeout: float | None = None) -> dict[str, NodeStatus | QkmsError]:
        """As Client.status_of_all."""
        limit = self.profile.attempt_timeout_s if timeout is None else timeout

        async def ask(node: str) -> NodeStatus | QkmsError:
            try:
                return await self.status(node, timeout=limit)
            except QkmsError as error:
                return error

        answers = await asyncio.gather(*(ask(node) for node in self.endpoints))
        return dict(zip(self.endpoints, answers, strict=True))

    async def list_links(self, node: str | None = None, *, timeout: float | None = None) -> list[Link]:
        """As Client.list_links."""
        return await self._run(flows.list_links(self._rules, self._known(node), timeout))

    async def list_link_alarms(
        self, node: str | None = None, *, history: bool = False, timeout: float | None = None
    ) -> list[LinkAlarm]:
        """As Client.list_link_alarms."""
        flow = flows.list_link_alarms(self._rules, self._known(node), history=history, timeout=timeout)
        return await self._run(flow)

    async def list_link_samples(self, node: str, peer: str, *, timeout: float | None = None) -> list[LinkSample]:
        """As Client.list_link_samples."""
        return await self._run(flows.list_link_samples(self._rules, self._known(node), peer, timeout))

    async def rotate_root(
        self,
        *,
        expected_epoch: int | None = None,
        request_id: str | UUID | None = None,
        timeout: float | None = None,
    ) -> RootRotation:
        """As Client.rotate_root."""
        return await self._run(flows.rotate_root(self._rules, new_request_id(request_id), expected_epoch, timeout))
