"""Whether a request id stood for one request only. Pure.

An answered request binds its id to its body: call, key and arguments. The same id with another body must be
refused. One of unknown outcome binds nothing for certain, and neither does a refused one.
"""

from collections.abc import Sequence

from qkms_chaos.checking.history import Op, Outcome


def breaches(ops: Sequence[Op]) -> list[str]:
    """Two answered operations under one request id that asked for different things, each pair named."""
    first: dict[object, Op] = {}
    found = []
    for op in sorted(ops, key=lambda op: op.start):
        identifier = op.args.get("request_id")
        if identifier is None or op.outcome is not Outcome.OK:
            continue
        bound = first.setdefault(identifier, op)
        if (bound.call, bound.key, bound.args) != (op.call, op.key, op.args):
            found.append(f"one request id was answered for two requests: {bound} and {op}")
    return found
