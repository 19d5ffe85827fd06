"""What a client was told never goes back behind what it was told or did before. Pure.

The SDK sees to that for answers whose consistency is its own choice, and the cluster for linearizable ones. A read
for which the caller itself named BOUNDED or STALE_OK may be older, and is not looked at here.
"""

from collections.abc import Iterator, Sequence

from qkms_chaos.checking.effects import Changes, told
from qkms_chaos.checking.history import Op, Outcome, by_process
from qkms_chaos.checking.key_model import number

_FREE = frozenset({"bounded", "stale_ok"})


def revisions(ops: Sequence[Op]) -> list[str]:
    """No answer is from a revision before one that the same client has seen."""
    found = []
    for process, own in by_process(list(ops)):
        seen, where = 0, ""
        for op in _answered(own):
            revision = number(op.answer.get("revision"))
            if revision and revision < seen and op.args.get("level") not in _FREE:
                found.append(f"{process} was answered from revision {revision} after it had seen {where}: {op}")
            if revision > seen:
                seen, where = revision, f"{revision} at {op.node or 'a node'}"
    return found


def own_writes(ops: Sequence[Op]) -> list[str]:
    """A client sees the primary versions that it made, and cannot use a version that it disabled."""
    found: list[str] = []
    changes = Changes(ops)
    for _, own in by_process(list(ops)):
        made: dict[str, Op] = {}
        disabled: dict[tuple[str, int], Op] = {}
        for op in _answered(own):
            match op.call:
                case "create" | "rotate" | "activate":
                    if op.key not in made or told(op) > told(made[op.key]):
                        made[op.key] = op
                case "disable":
                    disabled[op.key, number(op.args.get("version"))] = op
                case "get" | "encrypt" | "decrypt" if op.args.get("level") not in _FREE:
                    found += _unseen(op, made, disabled, changes)
    return found


def _answered(ops: Sequence[Op]) -> Iterator[Op]:
    return (op for op in ops if op.outcome is Outcome.OK and op.end is not None)


def _unseen(op: Op, made: dict[str, Op], disabled: dict[tuple[str, int], Op], changes: Changes) -> Iterator[str]:
    own = made.get(op.key)
    if op.call != "decrypt" and own is not None and told(op) < told(own):
        yield f"version {told(op)} was told to the client that had made version {told(own)}: {op}"
    used = number(op.args.get("version") if op.call == "decrypt" else op.answer.get("version"))
    change = disabled.get((op.key, used))
    if op.call != "get" and change is not None and not changes.maybe_after(change, "enable"):
        yield f"version {used} was used by the client that had disabled it: {op}"
