"""A QKD key seeds one root epoch, as far as versions tell: a rotation names the epoch of its version and the keys
of that epoch. Pure.

Epochs under which nobody rotated a key are not seen, nor those that were given up.
"""

from collections.abc import Sequence

from qkms_chaos.checking.history import Op, Outcome
from qkms_chaos.checking.key_model import number


def seeding_once(ops: Sequence[Op]) -> list[str]:
    """No QKD key is named by two epochs."""
    first: dict[str, Op] = {}
    found: dict[tuple[str, int], str] = {}
    for op in ops:
        if op.call != "rotate" or op.outcome is not Outcome.OK:
            continue
        epoch = number(op.answer.get("epoch"))
        for key_id in str(op.answer.get("qkd_keys") or "").split():
            before = number(first.setdefault(key_id, op).answer.get("epoch"))
            if before != epoch:
                words = f"QKD key {key_id} seeded root epochs {before} and {epoch}: {first[key_id]}; {op}"
                found.setdefault((key_id, epoch), words)
    return list(found.values())
