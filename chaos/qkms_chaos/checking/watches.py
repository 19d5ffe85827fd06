"""A watch tells of every effect, in order of revision, each event once; also when it is resumed elsewhere. Pure.

What had an effect is known from the audit, which the history holds as it stands at the nodes in the end. A resumed
watch may repeat what the one before it told, and nothing from before its token.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from qkms_chaos.checking.audit import Entry, entries
from qkms_chaos.checking.history import Op, Outcome, by_process
from qkms_chaos.checking.key_model import number

TOLD = frozenset(
    {
        *("create_key", "rotate_key", "disable_version", "enable_version", "destroy_version"),
        *("stage_version", "activate_version", "abort_version", "add_member", "promote_member", "remove_member"),
    }
)
"""Commands of the audit of which a watch tells."""


@dataclass
class Watch:
    """One watch: what it told, `after` which revision. `resumed`: it took up where the one before it was."""

    process: str
    after: int
    resumed: bool
    events: list[Op] = field(default_factory=list)


def ordered(ops: Sequence[Op]) -> list[str]:
    """No watch goes back, repeats an event, or tells of one from before its beginning."""
    found = []
    for watch in _watches(ops):
        last, told = watch.after, set[tuple[object, ...]]()
        for op in watch.events:
            revision = _revision(op)
            if revision <= watch.after:
                found.append(f"a watch from after revision {watch.after} told of an earlier one: {op}")
            elif revision < last:
                found.append(f"a watch told of revision {revision} after {last}: {op}")
            if _identity(op) in told:
                found.append(f"a watch told of one event twice: {op}")
            told.add(_identity(op))
            last = max(last, revision)
    return found


def complete(ops: Sequence[Op]) -> list[str]:
    """Whoever watches on is told of every effect since the beginning of its first watch."""
    effects = {(one.revision, _watched(one)) for one in _audited(ops) if one.method in TOLD}
    chains = list(_chains(ops))
    everything = effects | {(_revision(op), op.key) for _, _, events in chains for op in events}
    found = [f"{op.process} was never told of what came last" for op in ops if _gave_up(op)]
    for process, after, events in chains:
        told = {(_revision(op), op.key) for op in events}
        until = max((revision for revision, _ in told), default=after)
        missing = sorted(one for one in everything - told if after < one[0] <= until)
        found += [f"{process} was not told of {key} at revision {revision}" for revision, key in missing]
    return found


def founded(ops: Sequence[Op]) -> list[str]:
    """Every event about a key has its effect in the audit, at its revision."""
    effects = {one.revision for one in _audited(ops)}
    newest = max(effects, default=0)
    return [
        f"an event that no effect explains: {op}"
        for op in ops
        if op.call == "event" and op.answer.get("type") in _OF_KEYS and _revision(op) <= newest
        if _revision(op) not in effects
    ]


def unknown(ops: Sequence[Op]) -> str:
    """Why it cannot be told whether watches are complete; empty: it can, or nobody watched."""
    watched = any(op.call == "watch" for op in ops)
    return "nobody read the audit" if watched and not any(op.call == "audited" for op in ops) else ""


_OF_KEYS = frozenset({"KEY_CREATED", "KEY_ROTATED", "VERSION_STATE_CHANGED", "KEY_UPDATED", "KEY_DELETED"})


def _watches(ops: Sequence[Op]) -> Iterator[Watch]:
    for process, own in by_process(list(ops)):
        watch: Watch | None = None
        for op in own:
            if op.call == "watch" and op.outcome is Outcome.OK:
                if watch is not None:
                    yield watch
                watch = Watch(process, number(op.answer.get("after")), op.args.get("resumed") is True)
            elif op.call == "event" and watch is not None:
                watch.events.append(op)
        if watch is not None:
            yield watch


def _chains(ops: Sequence[Op]) -> Iterator[tuple[str, int, list[Op]]]:
    """Watches that were resumed one after another: whose, after which revision, what they told together."""
    chain: tuple[str, int, list[Op]] | None = None
    for watch in _watches(ops):
        if chain is not None and watch.resumed and watch.process == chain[0]:
            chain[2].extend(watch.events)
            continue
        if chain is not None:
            yield chain
        chain = watch.process, watch.after, list(watch.events)
    if chain is not None:
        yield chain


def _audited(ops: Sequence[Op]) -> set[Entry]:
    return {one for own in entries(ops).values() for one in own}


def _watched(entry: Entry) -> str:
    """The name that an event about it has."""
    collection, _, name = entry.resource.partition("/")
    return f"members/{name}" if collection == "nodes" else name.partition("/")[0]


def _gave_up(op: Op) -> bool:
    return op.call == "watched" and op.outcome is Outcome.REFUSED


def _identity(op: Op) -> tuple[object, ...]:
    return op.key, *(op.answer.get(name) for name in ("revision", "type", "version", "state"))


def _revision(op: Op) -> int:
    return number(op.answer.get("revision"))
