"""Versions are numbered without a gap, made once, validated before activation; a request has one answer. Pure."""

from collections.abc import Sequence

from qkms_chaos.checking.effects import MAKING, Changes, latest, told
from qkms_chaos.checking.history import Op, Outcome, by_key
from qkms_chaos.checking.key_model import number


def one_answer(ops: Sequence[Op]) -> list[str]:
    """Every answer under a request id is the same, and no version is the answer to two requests."""
    found = []
    for key, own in by_key(list(ops)).items():
        of_request: dict[str, Op] = {}
        of_version: dict[int, Op] = {}
        for op in own:
            identifier, answer = op.args.get("request_id"), told(op)
            if op.outcome is not Outcome.OK or identifier is None or not answer:
                continue
            first = of_request.setdefault(str(identifier), op)
            if told(first) != answer:
                found.append(f"one request was answered with versions {told(first)} and {answer} of {key}: {op}")
            if op.call in MAKING:
                other = of_version.setdefault(answer, op)
                if other.args.get("request_id") != identifier:
                    found.append(f"version {answer} of {key} was given to two requests: {other}; {op}")
    return found


def contiguous(ops: Sequence[Op]) -> list[str]:
    """Each version up to the newest was answered to somebody, or may be of a request that nobody answered."""
    found = []
    for key, own in by_key(list(ops)).items():
        given = {told(op) for op in own if op.call in MAKING and op.outcome is Outcome.OK}
        if not given:
            continue
        newest = max(given | {told(op) for op in own if op.outcome is Outcome.OK})
        pending = _unanswered(own)
        for version in range(1, newest + 1):
            if version in given:
                continue
            op = next((op for op in pending if number(op.args.get("expected")) < version), None)
            if op is None:
                found.append(f"version {version} of {key} exists, and no request can have made it")
            else:
                pending.remove(op)
    return found


def used_once_made(ops: Sequence[Op]) -> list[str]:
    """Nothing is encrypted under a version before the making of it began; a staged one, its activation."""
    found = []
    for key, own in by_key(list(ops)).items():
        begun, pending = _begun(own), _unanswered(own)
        for op in own:
            if op.call != "encrypt" or op.outcome is not Outcome.OK or op.end is None:
                continue
            version = told(op)
            since = begun.get(version)
            if since is None:
                able = (one.start for one in pending if number(one.args.get("expected")) < version)
                since = min(able, default=None)
            if since is None:
                found.append(f"version {version} of {key} was used, and no request can have made it: {op}")
            elif op.end < since:
                found.append(f"version {version} of {key} was used {since - op.end:.3f} s too early: {op}")
    return found


def validated(ops: Sequence[Op]) -> list[str]:
    """No activation makes a version primary before a validation of it was asked for that may have succeeded."""
    changes = Changes(ops)
    activations = [
        op
        for op in ops
        if op.call == "activate" and op.outcome is Outcome.OK and not op.answer.get("already_active")
    ]
    found = []
    for op in activations:
        version = number(op.args.get("version"))
        if not any(one.start < latest(op) for one in changes.of("validate", op.key, version)):
            found.append(f"version {version} of {op.key} was activated, and nobody had validated it: {op}")
    return found


def _unanswered(own: Sequence[Op]) -> list[Op]:
    """One operation, the first, of each request for a version of which nobody knows the outcome."""
    known = {op.args.get("request_id") for op in own if op.call in MAKING and op.outcome is Outcome.OK}
    first: dict[object, Op] = {}
    for op in own:
        if op.call in MAKING and op.outcome is Outcome.UNKNOWN and op.args.get("request_id") not in known:
            first.setdefault(op.args.get("request_id"), op)
    return sorted(first.values(), key=lambda op: number(op.args.get("expected")))


def _begun(own: Sequence[Op]) -> dict[int, float]:
    """When the first request for each version began, that of one that waits for activation: its activation."""
    asked: dict[object, float] = {}
    for op in own:
        asked.setdefault(op.args.get("request_id"), op.start)
    changes = Changes(own)
    begun: dict[int, float] = {}
    for op in own:
        if op.call in MAKING and op.outcome is Outcome.OK:
            since = asked[op.args.get("request_id")]
            if op.call == "stage":
                activations = changes.of("activate", op.key, told(op))
                since = min((one.start for one in activations), default=float("inf"))
            begun[told(op)] = min(since, begun.get(told(op), since))
    return begun
