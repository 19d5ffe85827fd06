"""Every judgement on a history. Pure."""

from collections.abc import Sequence

from qkms_chaos.checking import (
    audit,
    last_looks,
    membership,
    request_bodies,
    root_keys,
    sessions,
    staleness,
    uses,
    versions,
    watches,
)
from qkms_chaos.checking.history import CHANGES, READS, Op, by_key
from qkms_chaos.checking.judgement import Judgement
from qkms_chaos.checking.linearizability import BUDGET, Result, check_key


def judgements(ops: Sequence[Op], max_staleness_s: float, budget: int = BUDGET) -> list[Judgement]:
    """What a history is held to. `max_staleness_s`: that of its keys; `budget`: see `linearizability`."""
    return [*without_watches(ops, max_staleness_s, budget), *_of_watches(ops)]


def without_watches(ops: Sequence[Op], max_staleness_s: float, budget: int = BUDGET) -> list[Judgement]:
    """What a history is held to in which nobody watched."""
    of_keys = [op for op in ops if op.call in CHANGES | READS]
    return [*_of_keys(of_keys, max_staleness_s, budget), *_of_the_cluster(ops)]


def _of_keys(ops: Sequence[Op], max_staleness_s: float, budget: int) -> list[Judgement]:
    return [
        _linearizable(ops, budget),
        Judgement("no client goes back in time", sessions.revisions(ops)),
        Judgement("a client sees its own writes", sessions.own_writes(ops)),
        Judgement("answers are labelled with their level and age", staleness.labels(ops, max_staleness_s)),
        Judgement("no answer is older than it says", staleness.ages(ops)),
        Judgement("one request, one answer", versions.one_answer(ops)),
        Judgement("one request id, one request", request_bodies.breaches(ops)),
        Judgement("versions are numbered without a gap", versions.contiguous(ops)),
        Judgement("no version is used before it is made", versions.used_once_made(ops)),
        Judgement("no version is activated before it is validated", versions.validated(ops)),
        Judgement("a disabled version is not used past the bound", uses.revoked(ops, max_staleness_s)),
        Judgement("a QKD key seeds one root epoch", root_keys.seeding_once(ops)),
        Judgement("what was encrypted is what comes out", uses.plaintexts(ops)),
        Judgement("what nobody disabled can be decrypted", uses.decryptable(ops, max_staleness_s)),
        Judgement("what was acknowledged is there at the end", last_looks.lasting(ops), last_looks.unseen(ops)),
    ]


def _of_watches(ops: Sequence[Op]) -> list[Judgement]:
    left_open = watches.unknown(ops)
    return [
        Judgement("watches tell in order, and each event once", watches.ordered(ops)),
        Judgement("watches tell everything, resumed or not", watches.complete(ops), left_open),
        Judgement("watches tell nothing that was not", watches.founded(ops), left_open),
        Judgement("a member learns before it votes", membership.steps(ops)),
    ]


def _of_the_cluster(ops: Sequence[Op]) -> list[Judgement]:
    return [
        Judgement("the audit is one unbroken chain", audit.chains(ops)),
        Judgement("the audit has one entry per effect", audit.effects(ops)),
        Judgement("the members are those that were let in", membership.acknowledged(ops)),
        Judgement("the nodes agree on who takes part", membership.agreed(ops)),
        Judgement("who was taken out answers nobody", membership.gone(ops)),
    ]


def _linearizable(ops: Sequence[Op], budget: int) -> Judgement:
    found = [check_key(key, own, budget) for key, own in by_key(list(ops)).items()]
    return Judgement(
        "operations are linearizable",
        [one.words for one in found if one.result is Result.BROKEN],
        "; ".join(one.words for one in found if one.result is Result.UNDECIDED),
    )
