"""AuditService: records, checks, anchors."""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from qkms_client.access_types import AuditAnchor, AuditChain, AuditHeads, AuditKey, AuditRecord, AuditVerdict
from qkms_client.base import new_request_id
from qkms_client.consistency import Consistency
from qkms_client.flows import audit as flows
from qkms_client.sync.runner import Runner


class AuditCalls(Runner):
    """`node` is a node id of the profile; None: any healthy node. Each node has calls of its own."""

    def query_audit(
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
    ) -> Iterator[AuditRecord]:
        """Records in order of number; filters are patterns with `*`. Fetches page by page from one node."""
        wanted = flows.audit_filter(principal, method, resource, code, request_id, start_time, end_time)
        where, token = self._known(node), ""
        while True:
            page = flows.audit_page(self._rules, chain, wanted, where, token, page_size, timeout)
            found, token, where = self._run(page)
            yield from found
            if not token:
                return

    def verify_audit(self, node: str | None = None, *, timeout: float | None = None) -> list[AuditVerdict]:
        """Lets a node check its own files against the ledger; see also `audit_export.check`."""
        return self._run(flows.verify_audit(self._rules, self._known(node), timeout))

    def audit_heads(self, node: str | None = None, *, timeout: float | None = None) -> AuditHeads:
        """How far both chains of a node have come, its own signed."""
        return self._run(flows.audit_heads(self._rules, self._known(node), timeout))

    def list_anchors(
        self, node_id: str = "", *, consistency: Consistency | None = None, timeout: float | None = None
    ) -> tuple[list[AuditAnchor], list[AuditKey]]:
        """Anchors in the ledger (of one node, or all), and every registered audit key."""
        anchors: list[AuditAnchor] = []
        token = ""
        while True:
            page = flows.anchor_page(self._rules, node_id, token, consistency, timeout)
            found, keys, token = self._run(page)
            anchors += found
            if not token:
                return anchors, keys

    def anchor_audit(
        self, node: str, *, request_id: str | UUID | None = None, timeout: float | None = None
    ) -> AuditAnchor:
        """Lets a node anchor its calls in the ledger now. Raises AuditBroken."""
        known = self._known(node) or node
        return self._run(flows.anchor_audit(self._rules, known, new_request_id(request_id), timeout))
