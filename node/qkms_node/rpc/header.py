"""The header of every response, from the replica's status and the read's freshness."""

from math import ceil

from google.protobuf.message import Message

from qkms.v1 import common_pb2
from qkms_node.consensus.replica import Replica
from qkms_node.ledger.commands import Request
from qkms_node.rpc import fields
from qkms_node.rpc.interceptor import caller
from qkms_node.service.freshness import LINEARIZABLE, Wanted
from qkms_node.service.proposing import request as make_request
from qkms_node.service.store import LedgerStore


class Headers:
    """Makes headers; holds where they read from."""

    def __init__(self, node_id: str, replica: Replica, store: LedgerStore) -> None:
        self._node_id = node_id
        self._replica = replica
        self._store = store

    def make(self, effective: Wanted = LINEARIZABLE) -> common_pb2.ResponseHeader:
        """The header of an answer that satisfies `effective`; a committed mutation is LINEARIZABLE."""
        status = self._replica.status()
        header = common_pb2.ResponseHeader(
            revision=self._store.revision,
            term=status.term,
            leader_known=status.leader_id is not None,
            consistency=int(effective.level),  # type: ignore[arg-type]
            node_id=self._node_id,
            leader_id=status.leader_id or "",
        )
        if status.staleness_s is not None:
            header.staleness.FromMilliseconds(ceil(status.staleness_s * 1000))  # a label is never too young
        return header


def mutation_request(message: Message, request_id: str, principal: str = "") -> Request:
    """The identity of a mutation: its id, its caller (or another `principal`), the fingerprint of its content."""
    canonical = type(message)()
    canonical.CopyFrom(message)
    canonical.ClearField("request_id")
    content = canonical.SerializeToString(deterministic=True)
    return make_request(
        fields.request_id(request_id), principal or caller.get(), message.DESCRIPTOR.full_name, content
    )
