"""What one membership change makes of a configuration, and which changes are refused. Pure.

A change touches one member, so that any majority before and any majority
after have a member in common (Raft dissertation, 4.1). A member joins as a
learner, and is promoted once it has the log: a voter that lags would count
for every quorum and help none. A change that already holds is granted again
and changes nothing.
"""

from typing import Literal

import msgspec

from qkms_node.consensus.configuration import Address, Configuration, MemberId
from qkms_node.consensus.dialling import split_address

MAX_VOTERS = 9
MAX_MEMBERS = 32

Kind = Literal["add_learner", "promote", "remove"]


class ChangeImpossible(ValueError):
    """The change makes no sense for this configuration; the message says why and what to do."""

    code = "CHANGE_IMPOSSIBLE"


class Change(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """`address`: host:port where peers dial `member`; only for `add_learner`."""

    kind: Kind
    member: MemberId
    address: Address | None = None


def changed(configuration: Configuration, change: Change) -> Configuration:
    """The configuration after `change`, the same where it already holds. Raises ChangeImpossible."""
    match change.kind:
        case "add_learner":
            return _with_learner(configuration, change.member, change.address)
        case "promote":
            return _with_voter(configuration, change.member)
        case "remove":
            return _without(configuration, change.member)


def _with_learner(configuration: Configuration, member: str, address: str | None) -> Configuration:
    if address is None:
        raise ChangeImpossible(f"to add {member} its address is needed, host:port")
    try:
        split_address(address)
    except ValueError as error:
        raise ChangeImpossible(f"the address of {member}: {error}") from None
    members = configuration.members
    if members.get(member) == address:
        return configuration
    if member in members:
        raise ChangeImpossible(
            f"{member} is a member at {members[member]}; remove it before it joins at {address}"
        )
    taken = next((other for other, at in members.items() if at == address), None)
    if taken is not None:
        raise ChangeImpossible(f"{address} is the address of {taken}")
    if len(members) >= MAX_MEMBERS:
        raise ChangeImpossible(f"the cluster has {MAX_MEMBERS} members, that are the most")
    return Configuration(configuration.voters, {**configuration.learners, member: address})


def _with_voter(configuration: Configuration, member: str) -> Configuration:
    if member in configuration.voters:
        return configuration
    if member not in configuration.learners:
        raise ChangeImpossible(f"{member} is no member; add it as a learner first")
    if len(configuration.voters) >= MAX_VOTERS:
        raise ChangeImpossible(f"the cluster has {MAX_VOTERS} voters, that are the most")
    learners = {m: a for m, a in configuration.learners.items() if m != member}
    return Configuration({**configuration.voters, member: configuration.learners[member]}, learners)


def _without(configuration: Configuration, member: str) -> Configuration:
    if set(configuration.voters) == {member}:
        raise ChangeImpossible(f"{member} is the last voter; a cluster has at least one")
    voters = {m: a for m, a in configuration.voters.items() if m != member}
    learners = {m: a for m, a in configuration.learners.items() if m != member}
    return Configuration(voters, learners)
