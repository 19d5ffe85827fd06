"""Consistency levels and the revision token."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkms.v1 import common_pb2
from qkms_client.consistency import STALE_OK, at_least, bounded, linearizable
from qkms_client.methods import Fresh
from qkms_client.tokens import RevisionToken


def test_levels_on_the_wire() -> None:
    assert linearizable().message().level == common_pb2.LINEARIZABLE
    assert STALE_OK.message().level == common_pb2.STALE_OK
    assert at_least(7).message() == common_pb2.Consistency(level=common_pb2.AT_LEAST, revision=7)
    message = bounded(timedelta(milliseconds=1500)).message()
    assert message.level == common_pb2.BOUNDED
    assert message.max_staleness.ToTimedelta() == timedelta(milliseconds=1500)


@pytest.mark.parametrize("revision", [0, -1])
def test_revisions_begin_at_one(revision: int) -> None:
    with pytest.raises(ValueError, match="begin at 1"):
        at_least(revision)


@pytest.mark.parametrize("seconds", [0, -1])
def test_a_bound_is_positive(seconds: int) -> None:
    with pytest.raises(ValueError, match="positive"):
        bounded(timedelta(seconds=seconds))


@given(st.lists(st.integers(0, 2**63), max_size=20))
def test_the_token_is_the_highest_revision_seen(revisions: list[int]) -> None:
    token = RevisionToken()
    for revision in revisions:
        token.saw(revision)
    assert token.revision == max(revisions, default=0)


def test_a_metadata_read_carries_the_token_unless_asked_otherwise() -> None:
    token = RevisionToken(12)
    assert token.consistency(None, Fresh.SEEN) == at_least(12)
    assert token.consistency(STALE_OK, Fresh.SEEN) == STALE_OK


def test_before_the_first_answer_there_is_nothing_to_carry() -> None:
    assert RevisionToken().consistency(None, Fresh.SEEN) is None


def test_the_use_of_keys_keeps_its_own_bound() -> None:
    """AT_LEAST in its place would let a cut-off node go on with a revoked version."""
    assert RevisionToken(12).consistency(None, Fresh.CHECKED) is None


def test_an_answer_from_the_past_is_noticed_unless_it_was_asked_for() -> None:
    token = RevisionToken(12)
    assert token.too_old(11, None, Fresh.CHECKED)
    assert not token.too_old(12, None, Fresh.CHECKED)
    assert not token.too_old(11, STALE_OK, Fresh.CHECKED)
    assert not token.too_old(11, None, Fresh.OWN)
