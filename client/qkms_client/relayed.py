"""Session messages as the cluster relays them: checked before anything is derived from them. Pure."""

from qkms.kem import HybridCiphertext, HybridPublicKey, KemRejected
from qkms.session import Answer, Offer, Parameters
from qkms.v1 import session_pb2 as pb
from qkms_client.errors import SessionRejected
from qkms_client.pending import PendingSession
from qkms_client.types import Grade


def parameters(session: pb.Session, pending: PendingSession, required: Grade | None) -> Parameters:
    """What both ends must agree on, bound into the transcript. Raises SessionRejected."""
    same("name", session.name, f"sessions/{pending.session_id}")
    if session.suite != pb.MLKEM768_X25519_SHA256:
        raise SessionRejected(f"session {pending.session_id} is of a suite that was not asked for")
    grade = Grade(session.grade)
    if required is not None and not grade.satisfies(required):
        raise SessionRejected(f"session {pending.session_id} has grade {grade}, {required} is required")
    return Parameters(
        session_id=pending.session_id,
        initiator=session.initiator,
        responder=session.responder,
        epoch=session.root_epoch,
        qkd_key_ids=tuple(session.qkd_key_ids),
    )


def offer(message: pb.SessionOffer) -> Offer:
    """An offer with keys that can be used. Raises SessionRejected."""
    try:
        return Offer(HybridPublicKey(message.mlkem_public_key, message.x25519_public_key), message.nonce)
    except KemRejected as error:
        raise SessionRejected(f"the offer cannot be used: {error}") from error


def offer_message(made: Offer) -> pb.SessionOffer:
    """An offer as the protocol's message."""
    return pb.SessionOffer(
        mlkem_public_key=made.public.mlkem, x25519_public_key=made.public.x25519, nonce=made.nonce
    )


def answer(message: pb.SessionAnswer) -> Answer:
    """An answer with a ciphertext of the right size. Raises SessionRejected."""
    try:
        return Answer(HybridCiphertext(message.mlkem_ciphertext, message.x25519_public_key), message.nonce)
    except KemRejected as error:
        raise SessionRejected(f"the answer cannot be used: {error}") from error


def answer_message(made: Answer) -> pb.SessionAnswer:
    """An answer as the protocol's message."""
    return pb.SessionAnswer(
        mlkem_ciphertext=made.ciphertext.mlkem,
        x25519_public_key=made.ciphertext.x25519,
        nonce=made.nonce,
    )


def same(what: str, found: str, expected: str) -> None:
    """Raises SessionRejected unless the relayed value is the expected one."""
    if found != expected:
        raise SessionRejected(f"the session's {what} is {found}, not {expected}")
