"""Commands about sessions between two principals."""

from qkms_node.ledger.command import Mutation
from qkms_node.ledger.records import AnswerRecord, OfferRecord


class OpenSession(Mutation, frozen=True, tag="open_session"):
    """Offers a session to another principal."""

    session_id: str
    responder: str
    suite: int
    offer: OfferRecord
    required_grade: int
    ttl_ms: int


class AnswerSession(Mutation, frozen=True, tag="answer_session"):
    """The responder's public values."""

    session_id: str
    answer: AnswerRecord


class ConfirmSession(Mutation, frozen=True, tag="confirm_session"):
    """A participant's confirmation tag."""

    session_id: str
    tag: bytes


class CloseSession(Mutation, frozen=True, tag="close_session"):
    """Ends a session."""

    session_id: str
