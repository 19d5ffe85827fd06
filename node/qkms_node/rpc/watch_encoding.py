"""Deliveries of a watch in the encoding of the wire, with each event encoded once for all who watch.

Encoded messages of one type that follow one another are one message with the
fields of all (protobuf's encoding, "last one wins" and repeated fields): a
response is its header and token, and then the events.
"""

from functools import lru_cache

from qkms.v1 import common_pb2
from qkms.v1 import key_pb2 as pb
from qkms_node.ledger.records import EventRecord
from qkms_node.rpc import messages
from qkms_node.service.watching import MAX_BATCH, Delivery


def encoded(header: common_pb2.ResponseHeader, delivery: Delivery) -> bytes:
    """A serialized WatchKeysResponse."""
    head = pb.WatchKeysResponse(header=header, resume_token=delivery.resume_token).SerializeToString()
    return b"".join((head, *map(_event, delivery.events)))


@lru_cache(maxsize=2 * MAX_BATCH)
def _event(record: EventRecord) -> bytes:
    return pb.WatchKeysResponse(events=[messages.event(record)]).SerializeToString()
