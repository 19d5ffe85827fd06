"""Who takes part: at the end what was acknowledged, by every node's word; on the way one step at a time. Pure.

The founders are not in a history: who they were follows from what the nodes say at the end.
"""

from collections.abc import Mapping, Sequence

from qkms_chaos.checking.effects import latest
from qkms_chaos.checking.history import Op, Outcome, by_process
from qkms_chaos.checking.key_model import LINEARIZABLE, number

LEARNER, VOTER = 1, 2
"""Roles as events tell them."""


def agreed(ops: Sequence[Op]) -> list[str]:
    """All nodes name the same members with the same parts, and each part is acted."""
    looks = [op for op in ops if op.call == "members" and op.outcome is Outcome.OK]
    found = [
        f"{op.node} says that {member} is {part}"
        for op in looks
        for member, part in op.answer.items()
        if len(set(str(part).split(" acts "))) > 1
    ]
    told = {op.node: dict(sorted(op.answer.items())) for op in looks}
    if len({str(members) for members in told.values()}) > 1:
        found.append(f"the nodes differ on who takes part: {told}")
    return found


def acknowledged(ops: Sequence[Op]) -> list[str]:
    """Who was let in takes part at the end, as a voter once promoted; who was taken out does not."""
    last = _last(ops)
    found = []
    for op in (op for op in ops if op.call == "members" and op.outcome is Outcome.OK):
        for member, change in last.items():
            part = str(op.answer.get(member) or "")
            if change.call == "remove" and part:
                found.append(f"{op.node} says that {member} is {part}: {change}")
            elif change.call == "add" and not part:
                found.append(f"{op.node} does not know {member}: {change}")
            elif change.call == "promote" and not part.startswith("VOTER"):
                found.append(f"{op.node} says that {member} is {part or 'no member'}: {change}")
    return found


def steps(ops: Sequence[Op]) -> list[str]:
    """Who watches is told of a new member first that it learns, then that it votes."""
    found = []
    added = {op.key: op.start for op in ops if op.call == "add"}
    for process, own in by_process(list(ops)):
        learned: set[str] = set()
        for op in own:
            if op.call != "event" or op.answer.get("type") != "MEMBER_CHANGED":
                continue
            member, part = op.key.removeprefix("members/"), number(op.answer.get("state"))
            if part == LEARNER:
                learned.add(member)
            elif part == VOTER and own[0].start < added.get(member, 0.0) and member not in learned:
                found.append(f"{process} was told that {member} votes, and not that it learned before: {op}")
    return found


def gone(ops: Sequence[Op]) -> list[str]:
    """Nobody gets a linearizable answer from a member that was taken out before the call began."""
    out = {member: latest(op) for member, op in _last(ops).items() if op.call == "remove"}
    return [
        f"{op.node} was taken out and answered: {op}"
        for op in ops
        if op.node in out and op.start > out[op.node] and op.outcome is Outcome.OK
        if op.answer.get("level") == LINEARIZABLE
    ]


def _last(ops: Sequence[Op]) -> Mapping[str, Op]:
    """The last change of each member, where all of its changes are certain."""
    found: dict[str, Op] = {}
    unclear = set()
    for op in sorted(ops, key=lambda op: op.start):
        if op.call not in ("add", "promote", "remove"):
            continue
        if op.outcome is Outcome.UNKNOWN:
            unclear.add(op.key)
        elif op.outcome is Outcome.OK:
            found[op.key] = op
    return {member: op for member, op in found.items() if member not in unclear}
