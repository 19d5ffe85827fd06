"""What became of one call that Batch or Stream carried."""

from qkms.carrying import STATUS_FIELD
from qkms.v1 import crypto_pb2 as pb
from qkms_client.errors import AnswerNotUnderstood
from qkms_client.flow import Event
from qkms_client.status import error_of_status


def event_of(answer: pb.CryptoAnswer, now: float) -> Event:
    """The same event that an RPC of its own would have ended in."""
    field = answer.WhichOneof("answer")
    if field is None:
        return Event(now, error=AnswerNotUnderstood("a call was answered with nothing this client knows"))
    if field == STATUS_FIELD:
        return Event(now, error=error_of_status(answer.status))
    return Event(now, response=getattr(answer, field))
