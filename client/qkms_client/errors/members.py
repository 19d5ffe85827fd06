"""Refusals of membership changes."""

from qkms_client.errors.base import QkmsError, Retryable


class MemberNotFound(QkmsError):
    """There is no such member."""

    default_reason = "MEMBER_NOT_FOUND"
    advice = "list the members (qkms cluster members)"


class MemberExists(QkmsError):
    """The node is a member elsewhere, or another member has one of its addresses or its SAE id."""

    default_reason = "MEMBER_EXISTS"
    advice = "list the members; remove the one that is in the way, or choose another address"


class MemberNotReady(QkmsError):
    """The member cannot do this yet: it has not joined, or does not vote."""

    default_reason = "MEMBER_NOT_READY"
    advice = "start the node and wait until it has joined (qkms cluster members), then try again"


class MemberLimit(QkmsError):
    """The cluster has as many members, or voters, as it can have."""

    default_reason = "MEMBER_LIMIT"
    advice = "remove a member first"


class LastVoter(QkmsError):
    """Nobody else votes: this one cannot go, or hand over."""

    default_reason = "LAST_VOTER"
    advice = "add and promote another member first"


class NotFounded(Retryable):
    """The cluster has just been founded and has not recorded its members yet; nothing was changed."""

    default_reason = "NOT_FOUNDED"
    advice = "try again in a moment"
