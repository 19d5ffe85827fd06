"""What every node says once all faults are over: the same, and nothing acknowledged is missing. Pure."""

from collections.abc import Mapping, Sequence

from qkms_chaos.checking.effects import acknowledged
from qkms_chaos.checking.history import Op, Outcome
from qkms_chaos.checking.key_model import number

END = "end@"


def lasting(ops: Sequence[Op]) -> list[str]:
    """At the end all nodes name the same primary version of a key, no older than any acknowledged one."""
    newest: dict[str, int] = {}
    for _, key, version in acknowledged(ops):
        newest[key] = max(version, newest.get(key, 0))
    found = []
    for key, looks in _looks(ops).items():
        told = {op.node or op.process: number(op.answer.get("primary")) for op in looks}
        differ = {number(op.answer.get("primary")) for op in looks}
        if len(differ) > 1:
            found.append(f"the nodes differ on keys/{key}: {', '.join(f'{n}: {v}' for n, v in told.items())}")
        if min(differ) < newest.get(key, 0):
            found.append(f"version {newest[key]} of keys/{key} was acknowledged, at the end it is {min(differ)}")
    return found


def unseen(ops: Sequence[Op]) -> str:
    """Why the end cannot be told: no last looks, or a key that a node did not show; else empty."""
    asked = {(op.process, op.key) for op in ops if op.process.startswith(END) and op.call == "get"}
    shown = {(op.process, key) for key, looks in _looks(ops).items() for op in looks}
    if not asked:
        return "nobody looked at the end"
    return ", ".join(f"{process} was not shown keys/{key}" for process, key in sorted(asked - shown))


def _looks(ops: Sequence[Op]) -> Mapping[str, list[Op]]:
    found: dict[str, list[Op]] = {}
    for op in ops:
        if op.process.startswith(END) and op.call == "get" and op.outcome is Outcome.OK:
            found.setdefault(op.key, []).append(op)
    return found
