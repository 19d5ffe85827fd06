"""AuditService: messages to use cases and back, nothing else."""

from typing import Any

import grpc.aio

from qkms.audit import SignedHead
from qkms.v1 import audit_pb2 as pb
from qkms.v1 import audit_pb2_grpc
from qkms_node.access.spool import STEM as MUTATIONS
from qkms_node.errors import InvalidField
from qkms_node.ledger.access_records import AnchorRecord, AuditKeyRecord
from qkms_node.rpc import fields
from qkms_node.rpc.header import Headers, mutation_request
from qkms_node.rpc.interceptor import caller
from qkms_node.rpc.messages import timestamp
from qkms_node.service.audit import Audit, signed
from qkms_node.service.audit_reading import CALLS, Filter, Record
from qkms_node.service.freshness import LINEARIZABLE, STALE_OK

Context = grpc.aio.ServicerContext[Any, Any]

CHAINS = {pb.MUTATIONS: MUTATIONS, pb.CALLS: CALLS}
NUMBERS = {name: number for number, name in CHAINS.items()}
MAX_PATTERN = 256


class AuditServicer(audit_pb2_grpc.AuditServiceServicer):
    """Serves qkms.v1.AuditService."""

    def __init__(self, audit: Audit, headers: Headers) -> None:
        self._audit = audit
        self._headers = headers

    async def QueryAudit(self, request: pb.QueryAuditRequest, context: Context) -> pb.QueryAuditResponse:
        chain = CHAINS.get(request.chain)
        if chain is None:
            raise InvalidField("chain", "is missing or unknown; MUTATIONS and CALLS are there")
        size = fields.page_size(request.page_size)
        after = record_number(request.page_token)
        page = await self._audit.query(caller.get(), chain, filter_of(request.filter), after, size)
        return pb.QueryAuditResponse(
            header=self._headers.make(STALE_OK),
            records=map(record, page.records),
            next_page_token=str(page.after) if page.after else "",
        )

    async def VerifyAudit(self, request: pb.VerifyAuditRequest, context: Context) -> pb.VerifyAuditResponse:
        verdicts = await self._audit.verify(caller.get())
        return pb.VerifyAuditResponse(
            header=self._headers.make(STALE_OK),
            verdicts=[
                pb.ChainVerdict(
                    chain=NUMBERS[each.chain],
                    intact=not each.broken,
                    records=each.records,
                    anchors=each.anchors,
                    broken_record=each.broken,
                    problem=each.problem,
                )
                for each in verdicts
            ],
        )

    async def GetAuditHead(self, request: pb.GetAuditHeadRequest, context: Context) -> pb.GetAuditHeadResponse:
        mutations, calls = self._audit.heads(caller.get())
        return pb.GetAuditHeadResponse(
            header=self._headers.make(STALE_OK),
            mutations=pb.ChainHead(chain=pb.MUTATIONS, length=mutations.length, head=mutations.digest),
            calls=_anchor(calls),
            failure=self._audit.failure,
        )

    async def ListAnchors(self, request: pb.ListAnchorsRequest, context: Context) -> pb.ListAnchorsResponse:
        wanted = fields.wanted(request.consistency, request.HasField("consistency")) or LINEARIZABLE
        size = fields.page_size(request.page_size)
        after = anchor_place(request.page_token)
        found, keys = await self._audit.anchors(caller.get(), request.node_id, after, size, wanted)
        return pb.ListAnchorsResponse(
            header=self._headers.make(wanted),
            anchors=map(_committed, found),
            keys=map(_key, keys),
            next_page_token=f"{found[-1].key_id}/{found[-1].length}" if len(found) == size else "",
        )

    async def AnchorAudit(self, request: pb.AnchorAuditRequest, context: Context) -> pb.AnchorAuditResponse:
        outcome = await self._audit.anchor(mutation_request(request, request.request_id), request.node_id)
        assert outcome.anchor is not None
        return pb.AnchorAuditResponse(
            header=self._headers.make(), anchor=_committed(outcome.anchor), replayed=outcome.replayed
        )


def record(found: Record) -> pb.AuditRecord:
    """A line of a chain with its fields; of one that says nothing, the line alone."""
    said = found.fields
    if said is None:
        return pb.AuditRecord(line=found.line, damage=found.damage)
    return pb.AuditRecord(
        number=said.n,
        time=timestamp(said.time_ms),
        principal=said.principal,
        method=said.method,
        resource=said.resource,
        code=said.code,
        request_id=said.request_id,
        revision=said.revision,
        decisions=[
            pb.AuditDecision(action=action, key=key, allowed=allowed, rule=rule)
            for action, key, allowed, rule in said.decisions
        ],
        context_keys=said.context_keys,
        line=found.line,
        damage=found.damage,
    )


def filter_of(message: pb.AuditFilter) -> Filter:
    """What a filter asks for. Raises InvalidField."""
    patterns = {name: getattr(message, name) for name in ("principal", "method", "resource", "code", "request_id")}
    for name, pattern in patterns.items():
        if len(pattern) > MAX_PATTERN:
            raise InvalidField(f"filter.{name}", f"has {len(pattern)} characters, the limit is {MAX_PATTERN}")
    start = message.start_time.ToMilliseconds() if message.HasField("start_time") else 0
    end = message.end_time.ToMilliseconds() if message.HasField("end_time") else 0
    return Filter(**patterns, start_ms=start, end_ms=end)


def record_number(page_token: str) -> int:
    """After which record a page begins, 0 without a token. Raises InvalidField."""
    if page_token and not (page_token.isascii() and page_token.isdecimal() and len(page_token) < 19):
        raise InvalidField("page_token", "is not one that this method gave out")
    return int(page_token or 0)


def anchor_place(page_token: str) -> tuple[str, int]:
    """After which anchor (key_id, length) a page begins. Raises InvalidField."""
    key_id, _, length = page_token.partition("/")
    return key_id, record_number(length)


def _anchor(head: SignedHead) -> pb.Anchor:
    return pb.Anchor(
        node_id=head.node_id,
        key_id=head.key_id,
        length=head.head.length,
        head=head.head.digest,
        ed25519_signature=head.ed25519_signature,
        mldsa65_signature=head.mldsa65_signature,
    )


def _committed(anchor: AnchorRecord) -> pb.Anchor:
    message = _anchor(signed(anchor))
    message.time.FromMilliseconds(anchor.time_ms)
    message.revision = anchor.revision
    return message


def _key(key: AuditKeyRecord) -> pb.AuditKey:
    return pb.AuditKey(
        key_id=key.key_id,
        node_id=key.node_id,
        ed25519_public_key=key.ed25519_public,
        mldsa65_public_key=key.mldsa65_public,
        register_time=timestamp(key.register_ms),
    )
