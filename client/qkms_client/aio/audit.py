"""AuditService: records, checks, anchors."""

from collections.abc import AsyncIterator
from datetime import datetime
from uuid import UUID

from qkms_client.access_types import AuditAnchor, AuditChain, AuditHeads, AuditKey, AuditRecord, AuditVerdict
from qkms_client.aio.runner import AsyncRunner
from qkms_client.base import new_request_id
from qkms_client.consistency import Consistency
from qkms_client.flows import audit as flows


class AsyncAuditCalls(AsyncRunner):
    """`node` is a node id of the profile; None: any healthy node. Each node has calls of its own."""

    async def query_audit(
        self,
        chain: AuditChain,
        *,
        node: str | None = None,
        principal: str = "",
        method: str = "",
        resource: str = "",
        code: str = "",
        request_id: str = "",
        start_time: datetime | None = None,
        end_time: datetime | None = None,
        page_size: int = 100,
        timeout: float | None = None,
    ) -> AsyncIterator[AuditRecord]:
        """As Client.query_audit."""
        wanted = flows.audit_filter(principal, method, resource, code, request_id, start_time, end_time)
        where, token = self._known(node), ""
        while True:
            page = flows.audit_page(self._rules, chain, wanted, where, token, page_size, timeout)
            found, token, where = await self._run(page)
            for each in found:
                yield each
            if not token:
                return

    async def verify_audit(self, node: str | None = None, *, timeout: float | None = None) -> list[AuditVerdict]:
        """As Client.verify_audit."""
        return await self._run(flows.verify_audit(self._rules, self._known(node), timeout))

    async def audit_heads(self, node: str | None = None, *, timeout: float | None = None) -> AuditHeads:
        """As Client.audit_heads."""
        return await self._run(flows.audit_heads(self._rules, self._known(node), timeout))

    async def list_anchors(
        self, node_id: str = "", *, consistency: Consistency | None = None, timeout: float | None = None
    ) -> tuple[list[AuditAnchor], list[AuditKey]]:
        """As Client.list_anchors."""
        anchors: list[AuditAnchor] = []
        token = ""
        while True:
            page = flows.anchor_page(self._rules, node_id, token, consistency, timeout)
            found, keys, token = await self._run(page)
            anchors += found
            if not token:
                return anchors, keys

    async def anchor_audit(
        self, node: str, *, request_id: str | UUID | None = None, timeout: float | None = None
    ) -> AuditAnchor:
        """As Client.anchor_audit."""
        known = self._known(node) or node
        return await self._run(flows.anchor_audit(self._rules, known, new_request_id(request_id), timeout))
