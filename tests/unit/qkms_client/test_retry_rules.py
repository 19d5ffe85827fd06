"""What a failed attempt means: the table, checked reason by reason."""

import pytest

from qkms_client import errors as e
from qkms_client.retry import Verdict, ended_unknown, settles, verdict
from qkms_client.status import NotSent

REQUEST = "7f1c6d52-2b43-4d5f-8a86-0b1f5a5d9f01"

NOT_APPLIED = {
    "NO_QUORUM",
    "NOT_COMMITTED",
    "ROOT_NOT_READY",
    "SEALED",
    "TOO_STALE",
    "NOT_FOUNDED",
    "RESOURCE_EXHAUSTED",
    "REVISION_NOT_REACHED",
    "RATE_LIMITED",
    "AUDIT_UNAVAILABLE",
    "BATCH_FULL",
}
# A node that shuts down may have proposed the command before it let go of the call.
UNKNOWN = {"OUTCOME_UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED", "SHUTTING_DOWN"}


@pytest.mark.parametrize("reason", sorted(e.BY_REASON))
def test_every_reason_has_its_verdict(reason: str) -> None:
    expected = (
        Verdict.NOT_APPLIED if reason in NOT_APPLIED else Verdict.UNKNOWN if reason in UNKNOWN else Verdict.REFUSED
    )
    assert verdict(e.BY_REASON[reason]("text")) is expected


def test_what_was_never_sent_has_no_effect() -> None:
    assert verdict(NotSent("no connection")) is Verdict.NOT_APPLIED


def test_a_reason_of_a_later_server_is_a_refusal_but_settles_nothing() -> None:
    error = e.QkmsError("text", reason="OF_A_LATER_SERVER")
    assert verdict(error) is Verdict.REFUSED
    assert not settles(error)


@pytest.mark.parametrize("blind", [e.PermissionDenied("no"), e.InternalError("incident 1")])
def test_a_refusal_from_outside_the_ledger_does_not_settle_an_earlier_attempt(blind: e.QkmsError) -> None:
    assert not settles(blind)


def test_a_refusal_of_the_ledger_settles_it() -> None:
    assert settles(e.VersionConflict("expected 1, actual 2"))


def test_an_unknown_outcome_names_the_request_to_repeat() -> None:
    error = ended_unknown(REQUEST, "RotateKey", e.Unavailable("lost", retry_after=0.5))
    assert error.request_id == REQUEST
    assert error.metadata["request_id"] == REQUEST
    assert REQUEST in str(error)
    assert error.retry_after == 0.5
