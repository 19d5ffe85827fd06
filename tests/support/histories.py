"""Histories of clients, made by the real ledger: what a cluster that keeps its promises would have answered."""

import itertools
import random
from dataclasses import dataclass, field

from ledger_world import NODES, World, new, request, seeded
from qkms_chaos.checking.history import Op, Outcome, Value
from qkms_node.ledger import commands as c
from qkms_node.ledger.state import Refusal
from qkms_node.ledger.usage import Use, version_for

KEY = "k1"
DAY_MS = 24 * 3600 * 1000
CACHES_MS = 30_000
Answer = dict[str, Value]


@dataclass
class Cluster:
    """One key in a ledger; `do` gives outcome, answer and reason as a client writes them down."""

    world: World = field(default_factory=seeded)

    @property
    def newest(self) -> int:
        key = self.world.state.keys.get(KEY)
        return key.version_count if key else 0

    @property
    def primary(self) -> int:
        key = self.world.state.keys.get(KEY)
        return key.primary if key else 0

    def do(self, call: str, args: Answer) -> tuple[Outcome, Answer, str]:
        if call in ("get", "encrypt", "decrypt"):
            return self._read(call, int(str(args.get("version", 0))))
        outcome = self.world.do(self._command(call, args), CACHES_MS + 1 if call == "activate" else 1)
        if outcome.code:
            return Outcome.REFUSED, {}, outcome.code
        if call == "stage" and outcome.changed:
            self._validated()
        answer: Answer = {"revision": self.world.state.revision, "replayed": outcome.replayed}
        if call in ("create", "rotate", "stage"):
            assert outcome.version is not None
            answer["version"] = outcome.version.version
        if call == "activate":
            assert outcome.version is not None
            answer["primary"] = outcome.version.version
        return Outcome.OK, answer, ""

    def _read(self, call: str, version: int) -> tuple[Outcome, Answer, str]:
        state = self.world.state
        answer: Answer = {"revision": state.revision, "level": "linearizable"}
        try:
            match call:
                case "get":
                    return Outcome.OK, {**answer, "primary": state.key(KEY).primary}, ""
                case "encrypt":
                    used = version_for(state, KEY, None, Use.PROTECT)[1].version
                    return Outcome.OK, {**answer, "version": used}, ""
                case _:
                    version_for(state, KEY, version, Use.PROCESS)
                    return Outcome.OK, {**answer, "fingerprint": f"f{version}"}, ""
        except Refusal as refusal:
            return Outcome.REFUSED, {}, refusal.code

    def _command(self, call: str, args: Answer) -> c.AnyCommand:
        asked, version = request(str(args["request_id"])), int(str(args.get("version", 0)))
        fresh = new(self.newest + 1)
        match call:
            case "create":
                return c.CreateKey(asked, KEY, "AES_256_GCM", 0, CACHES_MS, {}, new(1))
            case "rotate":
                return c.RotateKey(asked, KEY, int(str(args["expected"])), fresh)
            case "stage":
                return c.StageVersion(asked, KEY, fresh, NODES)
            case "activate":
                return c.ActivateVersion(asked, KEY, version, self.primary)
            case "abort":
                return c.AbortVersion(asked, KEY, version, "")
            case "disable":
                return c.DisableVersion(asked, KEY, version)
            case "enable":
                return c.EnableVersion(asked, KEY, version)
            case _:
                return c.DestroyVersion(asked, KEY, version, DAY_MS)

    def _validated(self) -> None:
        self.world.witness(self.newest, *NODES, key_id=KEY)
        self.world.validate(self.newest, key_id=KEY)


@dataclass
class Planned:
    """An operation before anybody has answered it. `point`: when it takes effect; None: it does not."""

    process: str
    call: str
    args: Answer
    start: float
    point: float | None
    end: float
    known: bool = True


def answered(planned: list[Planned], cluster: Cluster | None = None) -> list[Op]:
    """What clients write down when each operation takes effect at its point."""
    cluster = cluster or Cluster()
    found: dict[int, tuple[Outcome, Answer, str]] = {}
    for number, one in sorted(enumerate(planned), key=lambda item: item[1].point or 0.0):
        if one.point is not None:
            found[number] = cluster.do(one.call, one.args)
    ops = []
    for number, one in enumerate(planned):
        outcome, answer, reason = found.get(number, (Outcome.UNKNOWN, {}, ""))
        if not one.known:
            outcome, answer, reason = Outcome.UNKNOWN, {}, "OUTCOME_UNKNOWN"
        ops.append(Op(one.process, one.call, KEY, one.start, one.end, outcome, one.args, answer, reason))
    return ops


def args_of(call: str, rng: random.Random, newest: int, identifier: str) -> Answer:
    """Arguments near the present state, so that calls meet."""
    near = rng.randint(max(1, newest - 2), max(1, newest + 1))
    match call:
        case "get" | "encrypt":
            return {"level": "linearizable"}
        case "decrypt":
            return {"level": "linearizable", "version": near, "fingerprint": f"f{near}"}
        case "rotate":
            return {"request_id": identifier, "expected": newest if rng.random() < 0.7 else near}
        case "create" | "stage":
            return {"request_id": identifier}
        case _:
            return {"request_id": identifier, "version": near}


def busy_key(seed: int, operations: int, clients: int, unknown: float) -> list[Op]:
    """Clients that rotate, disable, enable and read one key, a share of them without an answer.

    Most rotations expect the version that is primary; an unknown one may come long after its call.
    """
    rng, ids, cluster = random.Random(seed), itertools.count(), Cluster()
    ops = answered([Planned("setup", "create", {"request_id": "create"}, 0.0, 0.01, 0.02)], cluster)
    free = [(rng.uniform(0.05, 0.1), f"c{n}") for n in range(clients)]
    planned = []
    for _ in range(operations - 1):
        free.sort()
        start, process = free[0]
        end = start + rng.uniform(0.01, 0.05)
        calls = ("get", "encrypt", "rotate", "disable", "enable")
        [call] = rng.choices(calls, (40, 25, 25, 5, 5))
        known = rng.random() >= unknown or call in ("get", "encrypt")
        point = rng.uniform(start, end if known else end + 1.0)
        late = None if not known and rng.random() < 0.5 else point
        planned.append(
            (late or point, Planned(process, call, {"request_id": f"r{next(ids)}"}, start, late, end, known))
        )
        free[0] = (end + rng.uniform(0.0, 0.01), process)
    for _, one in sorted(planned, key=lambda item: item[0]):
        one.args = args_of(one.call, rng, max(1, cluster.newest), str(one.args["request_id"]))
        ops += answered([one], cluster)
    return sorted(ops, key=lambda op: op.end or 0.0)
