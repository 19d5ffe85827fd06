"""One key of the KMS as a sequential object: what each operation answers and does, one after another. Pure.

Implements creation, rotation, staging, activation and abortion, disabling, enabling and destruction of versions,
reads and uses; and the memory of request ids, which answers a repetition without a second effect. It follows the
rules of `qkms_node.ledger` in its own words, so that a wrong rule there is not repeated here.

Leaves out what no load does or no history shows: compromise, restoration, disabled and deleted keys, rotation by
period, evidence on staged versions and the waits before activation. A refusal for one of those says nothing.

Two things are forgotten because nobody can tell any more, which keeps the states few: whether a version that is no
longer primary is suspended, unless an operation of the history depends on it (`Watched`); and request ids that
occur once.
"""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from qkms_chaos.checking.history import READS, Op, Outcome

LINEARIZABLE = "linearizable"
NO_KEY = "KEY_NOT_FOUND"
NO_VERSION = "VERSION_NOT_FOUND"
ILLEGAL = "ILLEGAL_TRANSITION"

_STATES_MATTER = frozenset({"destroy", "stage", "activate", "abort"})
_DECIDED_BY_STATE = {
    "create": {"KEY_EXISTS"},
    "rotate": {NO_KEY, "VERSION_CONFLICT", "ROTATION_PENDING"},
    "stage": {NO_KEY, "ROTATION_PENDING"},
    "activate": {NO_KEY, NO_VERSION, ILLEGAL},
    "abort": {NO_KEY, NO_VERSION, ILLEGAL},
    "disable": {NO_KEY, NO_VERSION, ILLEGAL},
    "enable": {NO_KEY, NO_VERSION, ILLEGAL},
    "destroy": {NO_KEY, NO_VERSION, ILLEGAL, "VERSION_IS_PRIMARY"},
    "get": {NO_KEY},
    "encrypt": {NO_KEY, "VERSION_DISABLED", "VERSION_DESTROYED"},
    "decrypt": {NO_KEY, NO_VERSION, "VERSION_STAGED", "VERSION_DISABLED", "VERSION_DESTROYED"},
}


class State(NamedTuple):
    """A key. `primary` 0: it does not exist. `gone`: destroyed, or to be; `aborted` ones are gone as well.

    `done`: request ids that had their effect, alone and with what was answered.
    """

    primary: int = 0
    newest: int = 0
    staged: int = 0
    suspended: frozenset[int] = frozenset()
    gone: frozenset[int] = frozenset()
    aborted: frozenset[int] = frozenset()
    done: frozenset[str | tuple[str, int]] = frozenset()

    def __str__(self) -> str:
        if not self.primary:
            return "the key does not exist"
        more = f", {self.staged} staged" if self.staged else ""
        for word, versions in (("disabled", self.suspended), ("destroyed", self.gone)):
            more += f", {word}: {', '.join(map(str, sorted(versions)))}" if versions else ""
        return f"the primary version is {self.primary}, versions 1 to {self.newest}{more}"


class Call(NamedTuple):
    """An operation as the model takes it. `answered`: the version or primary that was told; 0: none was.

    `fixed`: its outcome is known, so it must have its place in the order.
    """

    name: str
    version: int
    expected: int
    request_id: str
    answered: int
    refused: str
    fresh: bool
    """The answer says that this was no repetition."""
    fixed: bool
    repeated: bool
    """Another operation has the same request id."""


class Watched(NamedTuple):
    """Versions whose state shows after they are no longer primary; `every`: it shows of all.

    `ids`: request ids of which it shows whether they had their effect before.
    """

    versions: frozenset[int]
    ids: frozenset[str] = frozenset()
    every: bool = False


def calls(ops: Iterable[Op]) -> list[tuple[Op, Call]]:
    """The operations on a key that say something of the order of its states, as calls.

    Those are mutations, and uses and reads that are linearizable by their answer or, where they were refused,
    by what was asked for. Refusals that do not depend on the key's state constrain nothing.
    """
    ops = list(ops)
    ids = Counter(op.args.get("request_id") for op in ops)
    return [(op, _call(op, ids[op.args.get("request_id")] > 1)) for op in ops if _says_something(op)]


def watched(of: Iterable[Call]) -> Watched:
    """What the calls can see of versions that are no longer primary."""
    of = list(of)
    seen = {call.version for call in of if call.name == "decrypt" or call.refused == ILLEGAL}
    ids = {call.request_id for call in of if call.repeated and (call.fresh or call.refused)}
    return Watched(frozenset(seen), frozenset(ids), any(call.name in _STATES_MATTER for call in of))


def step(state: State, call: Call, seen: Watched) -> State | None:
    """The state after the call if it may be next, with its answer; else None."""
    if call.refused:
        return state if _refuses(state, call) else None
    if call.name in READS:
        return state if _reads(state, call) else None
    if _remembered(state, call):
        told = not call.answered or (call.request_id, call.answered) in state.done
        return state if told and not call.fresh else None
    after = _after(state, call, seen)
    if after is None or not call.repeated or _forgotten(state, call, seen):
        return after
    answer = call.request_id, call.answered or _told(call.name, after)
    return after._replace(done=after.done | {call.request_id, answer})


def inert(state: State, call: Call, seen: Watched) -> bool:
    """Whether the call changes nothing in this state nor in any that can follow."""
    if call.refused or call.name in READS:
        return True
    return _remembered(state, call) or _forgotten(state, call, seen)


def _says_something(op: Op) -> bool:
    if op.outcome is Outcome.REFUSED:
        asked = op.call not in READS or op.args.get("level") == LINEARIZABLE
        return asked and op.reason in _DECIDED_BY_STATE.get(op.call, ())
    if op.call in READS:
        return op.outcome is Outcome.OK and op.end is not None and op.answer.get("level") == LINEARIZABLE
    return op.call in _DECIDED_BY_STATE


def _call(op: Op, repeated: bool) -> Call:
    told = op.answer.get("version", op.answer.get("primary"))
    return Call(
        name=op.call,
        version=number(op.args.get("version")),
        expected=number(op.args.get("expected")),
        request_id=str(op.args.get("request_id")),
        answered=number(told),
        refused=op.reason if op.outcome is Outcome.REFUSED else "",
        fresh=op.answer.get("replayed") is False,
        fixed=op.outcome is not Outcome.UNKNOWN and op.end is not None,
        repeated=repeated and op.args.get("request_id") is not None,
    )


def number(value: object) -> int:
    """A version's number, 0 where there is none."""
    return value if isinstance(value, int) else 0


def _remembered(state: State, call: Call) -> bool:
    return call.repeated and call.request_id in state.done


def _told(name: str, state: State) -> int:
    return state.newest if name in ("create", "rotate", "stage") else state.primary if name == "activate" else 0


def _reads(state: State, call: Call) -> bool:
    if call.name == "decrypt":
        return _opens(state, call.version)
    usable = call.name == "get" or state.primary not in state.suspended | state.gone
    return state.primary > 0 and call.answered == state.primary and usable


def _opens(state: State, version: int) -> bool:
    closed = version == state.staged or version in state.suspended or version in state.gone
    return 1 <= version <= state.newest and not closed


def _refuses(state: State, call: Call) -> bool:
    if _remembered(state, call):
        return False
    exists, version = state.primary > 0, call.version if call.name != "encrypt" else state.primary
    match call.refused:
        case "KEY_EXISTS":
            return exists
        case "KEY_NOT_FOUND":
            return not exists
        case "VERSION_CONFLICT":
            return exists and state.primary != call.expected
        case "ROTATION_PENDING":
            return state.staged > 0
        case "VERSION_NOT_FOUND":
            return exists and version > state.newest
        case "VERSION_STAGED":
            return exists and version == state.staged
        case "VERSION_DISABLED":
            return exists and version in state.suspended
        case "VERSION_DESTROYED":
            return version in state.gone
        case "VERSION_IS_PRIMARY":
            return version == state.primary and version not in state.suspended
        case _:
            return exists and version <= state.newest and not _legal(state, call.name, version)


def _legal(state: State, name: str, version: int) -> bool:
    match name:
        case "activate":
            return version in (state.staged, state.primary)
        case "abort":
            return version == state.staged or version in state.aborted
        case "destroy":
            return version != state.staged and version not in state.aborted
        case _:
            return version != state.staged and version not in state.gone


def _after(state: State, call: Call, seen: Watched) -> State | None:
    if call.name == "create":
        after = State(1, 1, done=state.done) if not state.primary else None
        return after if call.answered in (0, 1) else None
    if not state.primary:
        return None
    match call.name:
        case "rotate" | "stage":
            return _more(state, call, seen)
        case "activate":
            return _activated(state, call)
        case _:
            known = 1 <= call.version <= state.newest and _legal(state, call.name, call.version)
            return _changed(state, call, seen) if known else None


def _more(state: State, call: Call, seen: Watched) -> State | None:
    new = state.newest + 1
    if state.staged or call.answered not in (0, new):
        return None
    if call.name == "stage":
        return state._replace(newest=new, staged=new)
    if state.primary != call.expected:
        return None
    kept = state.suspended if _shows(state.primary, seen) else state.suspended - {state.primary}
    return state._replace(primary=new, newest=new, suspended=kept)


def _activated(state: State, call: Call) -> State | None:
    if call.answered not in (0, call.version) or not _legal(state, "activate", call.version):
        return None
    return state if call.version == state.primary else state._replace(primary=call.version, staged=0)


def _changed(state: State, call: Call, seen: Watched) -> State | None:
    version = call.version
    match call.name:
        case "disable" | "enable" if version < state.primary and not _shows(version, seen):
            return state  # nobody can tell
        case "disable":
            return state._replace(suspended=state.suspended | {version})
        case "enable":
            return state._replace(suspended=state.suspended - {version})
        case "abort" if version == state.staged:
            return state._replace(staged=0, gone=state.gone | {version}, aborted=state.aborted | {version})
        case "destroy" if version == state.primary and version not in state.suspended:
            return None
        case "destroy":
            return state._replace(gone=state.gone | {version}, suspended=state.suspended - {version})
        case _:
            return state


def _forgotten(state: State, call: Call, seen: Watched) -> bool:
    """Whether the call is on a version of which nobody can tell any more what is done to it."""
    if call.name not in ("disable", "enable") or call.version >= state.primary or _shows(call.version, seen):
        return False
    return not call.repeated or call.request_id not in seen.ids


def _shows(version: int, seen: Watched) -> bool:
    return seen.every or version in seen.versions
