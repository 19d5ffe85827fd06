"""Results that hold secrets do not show them, and the two ends' session keys fit together."""

import pickle
import secrets

import pytest

from qkms.session import Party, SessionKeys
from qkms_client.secret import DataKey, Decrypted, DerivedKey, EstablishedSession
from qkms_client.types import Grade

CANARY = b"canary-canary-canary-canary-0123"


def established(keys: SessionKeys, party: Party) -> EstablishedSession:
    return EstablishedSession(
        keys,
        session_id="0b9d3c2e-5f3f-4d0e-9a8e-3f6d6a0c1f11",
        party=party,
        initiator="spiffe://qkms.dev/service/payments",
        responder="spiffe://qkms.dev/service/ledger",
        grade=Grade.QKD_PQC,
        root_epoch=3,
        expire_time=None,
    )


SECRETS = [
    DataKey(CANARY, b"sealed", 1, Grade.PQC),
    DerivedKey(CANARY, 1, Grade.PQC),
    Decrypted(CANARY, 1),
    established(SessionKeys(CANARY, CANARY, CANARY, CANARY), Party.INITIATOR),
]


@pytest.mark.parametrize("result", SECRETS, ids=lambda r: type(r).__name__)
def test_no_text_form_shows_the_secret(result: object) -> None:
    for text in (repr(result), str(result), f"{result}", "%s" % (result,), repr([result])):  # noqa: UP031
        assert "canary" not in text
        assert CANARY.hex() not in text
        assert "redacted" in text


@pytest.mark.parametrize("result", SECRETS, ids=lambda r: type(r).__name__)
def test_a_secret_is_not_pickled(result: object) -> None:
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(result)


def test_equal_bytes_do_not_make_equal_results() -> None:
    """An == on secrets would compare in variable time."""
    assert DerivedKey(CANARY, 1, Grade.PQC) != DerivedKey(CANARY, 1, Grade.PQC)


def test_the_two_ends_fit_together() -> None:
    keys = SessionKeys(*(secrets.token_bytes(32) for _ in range(4)))
    initiator, responder = established(keys, Party.INITIATOR), established(keys, Party.RESPONDER)
    assert initiator.send_key() == responder.receive_key()
    assert responder.send_key() == initiator.receive_key()
    assert initiator.send_key() != initiator.receive_key()
    assert initiator.exporter_key() == responder.exporter_key()
    assert initiator.fingerprint() == responder.fingerprint()
    assert initiator.peer == responder.responder
    assert responder.peer == initiator.initiator


def test_another_session_has_another_fingerprint() -> None:
    one, two = (SessionKeys(*(secrets.token_bytes(32) for _ in range(4))) for _ in range(2))
    assert established(one, Party.INITIATOR).fingerprint() != established(two, Party.INITIATOR).fingerprint()
