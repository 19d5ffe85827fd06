"""What was encrypted can be decrypted, unless somebody disabled it; and what was disabled is used no more. Pure.

A change may have come at any moment of its call, and one whose outcome is unknown at any later one: only what
cannot be otherwise counts.
"""

from collections.abc import Iterator, Sequence

from qkms_chaos.checking.effects import Changes, latest
from qkms_chaos.checking.history import Op, Outcome, by_key
from qkms_chaos.checking.key_model import LINEARIZABLE, number

_ENDINGS = ("disable", "destroy", "abort")


def revoked(ops: Sequence[Op], max_staleness_s: float) -> list[str]:
    """No call that begins later than its bound after the acknowledged disabling, or end, of a version uses it.

    The bound is the one that the call names, else the key's `max_staleness_s`. One that asks for any state,
    STALE_OK, has none.
    """
    found = []
    for _, own in by_key(list(ops)).items():
        since = _ended(own, Changes(own))
        for op in own:
            version, bound_s = _used(op), _bound_s(op, max_staleness_s)
            if op.outcome is Outcome.OK and version in since and bound_s is not None:
                late = op.start - since[version]
                if late > bound_s:
                    found.append(f"used {late:.3f} s after it was disabled, the bound is {bound_s:g} s: {op}")
    return found


def plaintexts(ops: Sequence[Op]) -> list[str]:
    """Every decryption gives what was encrypted."""
    return [
        f"another plaintext came out: {op}"
        for op in ops
        if op.call == "decrypt"
        and op.outcome is Outcome.OK
        and op.answer.get("fingerprint") != op.args.get("fingerprint")
    ]


def decryptable(ops: Sequence[Op], max_staleness_s: float) -> list[str]:
    """No decryption is refused for its version unless that may be disabled or destroyed, for all a node knows.

    A refusal from a state that is at most `max_staleness_s` old is due to what was so then.
    """
    found = []
    changes = Changes(ops)
    for key, own in by_key(list(ops)).items():
        for op in own:
            if op.call != "decrypt" or op.outcome is not Outcome.REFUSED or not op.reason.startswith("VERSION_"):
                continue
            why = [end for name in _ENDINGS for end in changes.of(name, key, _used(op))]
            if not any(_may_stand(end, op, changes, max_staleness_s) for end in why):
                found.append(f"a version that nobody had disabled was refused: {op}")
    return found


def _used(op: Op) -> int:
    match op.call:
        case "decrypt":
            return number(op.args.get("version"))
        case "encrypt":
            return number(op.answer.get("version"))
        case _:
            return 0


def _bound_s(op: Op, max_staleness_s: float) -> float | None:
    match op.args.get("level"):
        case None:
            return max_staleness_s
        case "bounded":
            bound_ms = op.args.get("bound_ms")
            return bound_ms / 1000 if isinstance(bound_ms, int | float) else max_staleness_s
        case level:
            return 0.0 if level == LINEARIZABLE else None


def _ended(own: Sequence[Op], changes: Changes) -> dict[int, float]:
    """When the disabling of each version that was not enabled since was acknowledged, or its end, for ever."""
    since: dict[int, float] = {}
    for op in own:
        if op.call in _ENDINGS and op.outcome is Outcome.OK and op.end is not None:
            version = number(op.args.get("version"))
            if op.call != "disable" or not changes.maybe_after(op, "enable"):
                since[version] = min(op.end, since.get(version, op.end))
    return since


def _may_stand(end: Op, use: Op, changes: Changes, max_staleness_s: float) -> bool:
    """Whether the version may still have been as this change left it when the use was refused."""
    if end.start > (use.end or use.start):
        return False
    return end.call != "disable" or not any(_undone(end, use, changes, max_staleness_s))


def _undone(end: Op, use: Op, changes: Changes, max_staleness_s: float) -> Iterator[bool]:
    for op in changes.of("enable", end.key, _used(use)):
        certain = op.outcome is Outcome.OK and latest(op) < use.start - max_staleness_s
        yield certain and op.start > latest(end)
