"""Audit: records of one node, its own check, the ends of its chains, anchors."""

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from qkms.v1 import audit_pb2 as pb
from qkms_client import access_types as t
from qkms_client import decode_access as decode
from qkms_client import methods
from qkms_client.call import Rules, call
from qkms_client.consistency import Consistency
from qkms_client.flow import Flow


def audit_filter(
    principal: str,
    method: str,
    resource: str,
    code: str,
    request_id: str,
    start_time: datetime | None,
    end_time: datetime | None,
) -> pb.AuditFilter:
    """A filter as it is sent."""
    return pb.AuditFilter(
        principal=principal,
        method=method,
        resource=resource,
        code=code,
        request_id=request_id,
        start_time=_timestamp(start_time),
        end_time=_timestamp(end_time),
    )


def audit_page(
    rules: Rules,
    chain: t.AuditChain,
    wanted: pb.AuditFilter,
    node: str | None,
    page_token: str,
    page_size: int,
    timeout: float | None,
) -> Flow[tuple[list[t.AuditRecord], str, str]]:
    """One page of QueryAudit, the token of the next (empty after the last), and the node that answered.

    Numbers of CALLS mean something at their own node only: the next page is asked for there.
    """
    request = pb.QueryAuditRequest(filter=wanted, page_size=page_size, page_token=page_token)
    request.chain = chain.value  # type: ignore[assignment]
    response = yield from call(rules, methods.QUERY_AUDIT, request, timeout=timeout, only=node)
    records = [decode.audit_record(each) for each in response.records]
    return records, response.next_page_token, response.header.node_id


def verify_audit(rules: Rules, node: str | None, timeout: float | None) -> Flow[list[t.AuditVerdict]]:
    """VerifyAudit of one node, or of any healthy one."""
    response = yield from call(rules, methods.VERIFY_AUDIT, pb.VerifyAuditRequest(), timeout=timeout, only=node)
    return [decode.verdict(each) for each in response.verdicts]


def audit_heads(rules: Rules, node: str | None, timeout: float | None) -> Flow[t.AuditHeads]:
    """GetAuditHead of one node, or of any healthy one."""
    request = pb.GetAuditHeadRequest()
    response = yield from call(rules, methods.GET_AUDIT_HEAD, request, timeout=timeout, only=node)
    return decode.audit_heads(response)


def anchor_page(
    rules: Rules, node_id: str, page_token: str, consistency: Consistency | None, timeout: float | None
) -> Flow[tuple[list[t.AuditAnchor], list[t.AuditKey], str]]:
    """One page of ListAnchors, every audit key, and the token of the next page."""
    request = pb.ListAnchorsRequest(node_id=node_id, page_token=page_token)
    response = yield from call(rules, methods.LIST_ANCHORS, request, consistency=consistency, timeout=timeout)
    anchors = [decode.anchor(each) for each in response.anchors]
    return anchors, [decode.audit_key(each) for each in response.keys], response.next_page_token


def anchor_audit(rules: Rules, node: str, request_id: str, timeout: float | None) -> Flow[t.AuditAnchor]:
    """AnchorAudit of one node."""
    request = pb.AnchorAuditRequest(request_id=request_id, node_id=node)
    response = yield from call(rules, methods.ANCHOR_AUDIT, request, timeout=timeout, only=node)
    return decode.anchor(response.anchor)


def _timestamp(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    message = Timestamp()
    message.FromDatetime(time)
    return message
