"""Faults as data: what is done to a cluster, when; printed, stored, replayed. Pure.

A schedule is a list of steps in order of time, in seconds from the start of the load. It is JSON (an array of
steps), so that a run can be repeated from its file exactly; `random_schedule` makes one from a seed. A node may be
named by its part, LEADER or FOLLOWER, which is found out when the fault is carried out.
"""

import random
from collections.abc import Sequence

import msgspec

from qkms_qkd.unreadable import UNREADABLE

LEADER, FOLLOWER = "leader", "follower"


class Fault(msgspec.Struct, frozen=True, tag_field="fault", forbid_unknown_fields=True):
    """Something that is done to the cluster. `str()` says it in words."""


class Isolate(Fault, frozen=True, tag="isolate"):
    """The node reaches no other node and none reaches it; its clients and its KME do."""

    node: str

    def __str__(self) -> str:
        return f"{self.node} is cut off from the other nodes"


class Halves(Fault, frozen=True, tag="halves"):
    """These nodes on one side, the rest on the other."""

    side: tuple[str, ...]

    def __str__(self) -> str:
        return f"{', '.join(self.side)} on one side of a cut, the rest on the other"


class OneWay(Fault, frozen=True, tag="one-way"):
    """What the node says reaches no other node; it hears them."""

    node: str

    def __str__(self) -> str:
        return f"what {self.node} says reaches no other node"


class Bridge(Fault, frozen=True, tag="bridge"):
    """The others reach the node, and each other not."""

    node: str

    def __str__(self) -> str:
        return f"the nodes reach {self.node} and not each other"


class Slow(Fault, frozen=True, tag="slow"):
    """Everything between nodes comes later."""

    delay_ms: int
    jitter_ms: int = 0

    def __str__(self) -> str:
        return f"{self.delay_ms} ms more, give or take {self.jitter_ms}, between all nodes"


class Limit(Fault, frozen=True, tag="limit"):
    """No more than this goes from the other nodes to the node."""

    node: str
    kib_per_s: int

    def __str__(self) -> str:
        return f"{self.node} gets {self.kib_per_s} KiB/s at most from the others"


class Reset(Fault, frozen=True, tag="reset"):
    """All connections between nodes end with a reset."""

    def __str__(self) -> str:
        return "all connections between nodes are reset"


class LoseReplies(Fault, frozen=True, tag="lose-replies"):
    """What clients ask reaches the node, and its answers do not reach them."""

    node: str

    def __str__(self) -> str:
        return f"the answers of {self.node} are lost"


class Add(Fault, frozen=True, tag="add"):
    """A spare node joins as a learner and is promoted."""

    node: str

    def __str__(self) -> str:
        return f"{self.node} joins"


class Remove(Fault, frozen=True, tag="remove"):
    """The node is taken out of the cluster and stopped."""

    node: str

    def __str__(self) -> str:
        return f"{self.node} is removed"


class CutKme(Fault, frozen=True, tag="cut-kme"):
    """The node and its KME do not reach each other."""

    node: str

    def __str__(self) -> str:
        return f"{self.node} and its KME do not reach each other"


class HealNetwork(Fault, frozen=True, tag="heal-network"):
    """The network is whole."""

    def __str__(self) -> str:
        return "the network is whole"


class Kill(Fault, frozen=True, tag="kill"):
    """SIGKILL."""

    node: str

    def __str__(self) -> str:
        return f"{self.node} is killed"


class KillAll(Fault, frozen=True, tag="kill-all"):
    """SIGKILL to every node at once."""

    def __str__(self) -> str:
        return "every node is killed"


class Pause(Fault, frozen=True, tag="pause"):
    """SIGSTOP."""

    node: str

    def __str__(self) -> str:
        return f"{self.node} stands still"


class Revive(Fault, frozen=True, tag="revive"):
    """What is paused goes on, what is down is started."""

    def __str__(self) -> str:
        return "every node and KME runs"


class KillKme(Fault, frozen=True, tag="kill-kme"):
    """SIGKILL to the KME of a node."""

    node: str

    def __str__(self) -> str:
        return f"the KME of {self.node} is killed"


class QuantumFault(Fault, frozen=True, tag="quantum"):
    """Switches of the simulated link between the KMEs of two nodes, by the KMEs' admin API."""

    one: str
    other: str
    switches: dict[str, bool | float]

    def __str__(self) -> str:
        switches = ", ".join(f"{name} {value}" for name, value in self.switches.items())
        return f"the quantum link {self.one}-{self.other}: {switches or 'sound'}"


class KmeLies(Fault, frozen=True, tag="kme-lies"):
    """Switches of the simulated KME of a node as a whole, by its admin API: `slow_s`, `wrong_key`, `redeliver`,
    `exhausted`, `clock_s`."""

    node: str
    switches: dict[str, bool | float]

    def __str__(self) -> str:
        switches = ", ".join(f"{name} {value}" for name, value in self.switches.items())
        return f"the KME of {self.node} lies: {switches}"


class HonestKmes(Fault, frozen=True, tag="honest-kmes"):
    """No KME lies any more."""

    def __str__(self) -> str:
        return "every KME is honest"


class AskRoot(Fault, frozen=True, tag="ask-root"):
    """The operator asks for a new root epoch: the moment in which keys of KMEs are needed."""

    def __str__(self) -> str:
        return "a new root epoch is asked for"


class Disk(Fault, frozen=True, tag="disk"):
    """Rules of the disk shim (`disk_shim/shim.h`) for a node's files; none: the disk is sound."""

    node: str
    rules: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"the disk of {self.node}: {'; '.join(self.rules) or 'sound'}"


class Clock(Fault, frozen=True, tag="clock"):
    """The node's wall clock is off by so many seconds."""

    node: str
    offset_s: float

    def __str__(self) -> str:
        return f"the clock of {self.node} is {self.offset_s:+g} s off"


AnyFault = (
    Isolate
    | Halves
    | OneWay
    | Bridge
    | Slow
    | Limit
    | Reset
    | LoseReplies
    | Add
    | Remove
    | CutKme
    | HealNetwork
    | Kill
    | KillAll
    | Pause
    | Revive
    | KillKme
    | QuantumFault
    | KmeLies
    | HonestKmes
    | AskRoot
    | Disk
    | Clock
)


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fault and its time, in seconds from the start of the load."""

    at_s: float
    fault: AnyFault

    def __str__(self) -> str:
        return f"{self.at_s:7.2f} s  {self.fault}"


def encode(steps: Sequence[Step]) -> bytes:
    """As JSON."""
    return msgspec.json.format(msgspec.json.encode(list(steps)))


def decode(text: bytes) -> list[Step]:
    """The steps of this JSON, in order of time. Raises ValueError."""
    try:
        steps = msgspec.json.decode(text, type=list[Step])
    except UNREADABLE as error:
        raise ValueError(f"this is no schedule: {error}") from None
    return sorted(steps, key=lambda step: step.at_s)


def random_schedule(
    seed: int, nodes: Sequence[str], seconds: float, kinds: Sequence[str], well_s: float = 2.0
) -> list[Step]:
    """Faults of these kinds (keys of MAKERS) one after another, each mended before the next, for so long.

    `well_s`: how long the cluster has to itself after each, on average.
    """
    rng = random.Random(seed)  # noqa: S311
    steps: list[Step] = []
    at = well_s / 2
    while at < seconds - well_s:
        faults, lasts = MAKERS[rng.choice(kinds)](rng, nodes)
        lasts = min(lasts, seconds - at)
        for share, fault in faults:
            steps.append(Step(round(at + share * lasts, 2), fault))
        at += lasts + rng.uniform(well_s / 2, well_s * 3 / 2)
    return sorted(steps, key=lambda step: step.at_s)


LIES: tuple[dict[str, bool | float], ...] = (
    {"wrong_key": True},
    {"exhausted": True},
    {"slow_s": 2.0},
    {"clock_s": 2 * 86_400.0},
    {"clock_s": -2 * 86_400.0},
    {"redeliver": True},
)
"""Two days are more than the age up to which a key is used."""

Made = tuple[list[tuple[float, AnyFault]], float]
"""Faults by the share of their time after which each begins, the last one mending; how long they last, in s."""


def _mended(fault: AnyFault, mending: AnyFault, lasts: float) -> Made:
    return [(0.0, fault), (1.0, mending)], lasts


def _one(rng: random.Random, nodes: Sequence[str]) -> str:
    return rng.choice((LEADER, *nodes))


def _isolate(rng: random.Random, nodes: Sequence[str]) -> Made:
    return _mended(Isolate(_one(rng, nodes)), HealNetwork(), rng.uniform(1, 5))


def _halves(rng: random.Random, nodes: Sequence[str]) -> Made:
    side = tuple(sorted(rng.sample(list(nodes), len(nodes) // 2)))
    return _mended(Halves(side), HealNetwork(), rng.uniform(1, 5))


def _one_way(rng: random.Random, nodes: Sequence[str]) -> Made:
    return _mended(OneWay(_one(rng, nodes)), HealNetwork(), rng.uniform(1, 5))


def _bridge(rng: random.Random, nodes: Sequence[str]) -> Made:
    return _mended(Bridge(rng.choice(list(nodes))), HealNetwork(), rng.uniform(1, 5))


def _flapping(rng: random.Random, nodes: Sequence[str]) -> Made:
    node, turns = _one(rng, nodes), rng.randint(3, 8)
    faults: list[tuple[float, AnyFault]] = []
    for turn in range(turns):
        faults += [(turn / turns, Isolate(node)), ((turn + 0.5) / turns, HealNetwork())]
    return faults, rng.uniform(0.3, 1.0) * turns


def _slow(rng: random.Random, _: Sequence[str]) -> Made:
    return _mended(Slow(rng.randint(2, 20), rng.randint(0, 5)), HealNetwork(), rng.uniform(2, 6))


def _limit(rng: random.Random, nodes: Sequence[str]) -> Made:
    return _mended(Limit(rng.choice(list(nodes)), rng.randint(20, 400)), HealNetwork(), rng.uniform(2, 6))


def _reset(rng: random.Random, _: Sequence[str]) -> Made:
    return [(0.0, Reset())], 0.5


def _kill(rng: random.Random, nodes: Sequence[str]) -> Made:
    return _mended(Kill(_one(rng, nodes)), Revive(), rng.uniform(0.5, 4))


def _kill_all(rng: random.Random, _: Sequence[str]) -> Made:
    return _mended(KillAll(), Revive(), rng.uniform(0.2, 2))


def _pause(rng: random.Random, nodes: Sequence[str]) -> Made:
    return _mended(Pause(_one(rng, nodes)), Revive(), rng.uniform(0.5, 4))


def _kme(rng: random.Random, nodes: Sequence[str]) -> Made:
    return _mended(KillKme(rng.choice(list(nodes))), Revive(), rng.uniform(1, 4))


def _quantum(rng: random.Random, nodes: Sequence[str]) -> Made:
    one, other = rng.sample(list(nodes), 2)
    switches: dict[str, bool | float] = rng.choice([{"cut": True}, {"intercept_resend": 0.6}])
    return _mended(QuantumFault(one, other, switches), QuantumFault(one, other, {}), rng.uniform(1, 6))


def _lie(rng: random.Random, nodes: Sequence[str]) -> Made:
    return _mended(KmeLies(_one(rng, nodes), dict(rng.choice(LIES))), HonestKmes(), rng.uniform(1, 6))


MAKERS = {
    "isolate": _isolate,
    "halves": _halves,
    "one-way": _one_way,
    "bridge": _bridge,
    "flapping": _flapping,
    "slow": _slow,
    "limit": _limit,
    "reset": _reset,
    "kill": _kill,
    "kill-all": _kill_all,
    "pause": _pause,
    "kme": _kme,
    "quantum": _quantum,
    "kme-lies": _lie,
}
