"""Read barriers: what a majority confirmed, for whom, and for nobody else. The network is a list."""

import random
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from qkms_node.consensus.configuration import Configuration
from qkms_node.consensus.core import Core
from qkms_node.consensus.messages import Message, Probe, ProbeAnswer, ReadIndex, ReadIndexAnswer
from qkms_node.consensus.reads import Reads, Waiter
from qkms_node.consensus.replica import NoQuorum, Role
from qkms_node.consensus.settings import Timing

FAR = 1e9


@dataclass
class FakeCore:
    """A member's state as a test wants it; `sent` is its network."""

    id: str
    role: Role = Role.FOLLOWER
    leader: str | None = "node-1"
    term: int = 3
    commit_index: int = 10
    applied_index: int = 10
    no_op_index: int = 9
    clock: float = 100.0
    timing: Timing = field(default_factory=Timing)
    sent: list[tuple[str, Message]] = field(default_factory=list)
    rng: random.Random = field(default_factory=random.Random)
    limits: Any = field(default_factory=SimpleNamespace)

    @property
    def members(self) -> Any:
        voters = dict.fromkeys(("node-1", "node-2", "node-3"), "localhost:1")
        return SimpleNamespace(
            other_voters=sorted(voters.keys() - {self.id}),
            is_alone=False,
            is_quorum=Configuration(voters).is_quorum,
        )

    @property
    def connected(self) -> frozenset[str]:
        return frozenset(self.members.other_voters)

    def now(self) -> float:
        return self.clock

    def send(self, peer: str, message: Message) -> None:
        self.sent.append((peer, message))

    def speaks_to(self, peer: str) -> bool:
        return any(to == peer for to, _ in self.sent)

    def speaks_to_any(self) -> bool:
        return bool(self.sent)


def member(core: FakeCore) -> Reads:
    return Reads(cast(Core, core))


def leader_core() -> FakeCore:
    return FakeCore("node-1", Role.LEADER)


def take(core: FakeCore, kind: type[Any]) -> list[Any]:
    found = [message for _, message in core.sent if isinstance(message, kind)]
    core.sent[:] = [pair for pair in core.sent if not isinstance(pair[1], kind)]
    return found


def test_a_round_needs_a_majority_that_answered_after_it_began() -> None:
    core = leader_core()
    reads = member(core)
    waiter = Waiter(FAR, None)
    reads.add(waiter)
    reads.step()
    probe = take(core, Probe)[0]
    reads.on_probe_answer("node-2", ProbeAnswer(3, probe.seq - 1))
    reads.step()
    assert not reads.ended
    reads.on_probe_answer("node-2", ProbeAnswer(3, probe.seq))
    reads.step()
    assert waiter.result == 10


def test_a_leader_whose_first_entry_is_not_committed_confirms_nothing() -> None:
    core = leader_core()
    core.no_op_index = 11
    reads = member(core)
    reads.add(Waiter(FAR, None))
    reads.step()
    assert not take(core, Probe)
    core.commit_index = core.applied_index = 11
    reads.step()
    assert take(core, Probe)


def test_a_follower_waits_until_it_has_applied_the_index() -> None:
    core = FakeCore("node-2", applied_index=5)
    reads = member(core)
    waiter = Waiter(FAR, None)
    reads.add(waiter)
    reads.step()
    asked = take(core, ReadIndex)[0]
    reads.on_read_index_answer(ReadIndexAnswer(asked.seq, True, 8))
    reads.step()
    assert not reads.ended
    assert reads.fresh_since is None
    core.clock += 5
    core.applied_index = 8
    reads.step()
    assert waiter.result == 8
    assert member_fresh(reads) == 100.0, "freshness dates from the start of the barrier"


def test_an_answer_to_an_earlier_run_of_this_node_confirms_nothing() -> None:
    """The leader may answer a request of the run before: its round began before this run's caller asked."""
    lead = leader_core()
    leader = member(lead)
    before = FakeCore("node-2")
    first_run = member(before)
    first_run.add(Waiter(FAR, None))
    first_run.step()
    leader.on_read_index("node-2", take(before, ReadIndex)[0])
    leader.step()
    probe = take(lead, Probe)[0]

    after = FakeCore("node-2")
    second_run = member(after)
    waiter = Waiter(FAR, None)
    second_run.add(waiter)
    second_run.step()
    leader.on_probe_answer("node-3", ProbeAnswer(3, probe.seq))
    leader.step()
    for answer in take(lead, ReadIndexAnswer):
        second_run.on_read_index_answer(answer)
    second_run.step()
    assert waiter.result is None


def test_a_caller_without_a_quorum_ends_at_its_deadline() -> None:
    core = FakeCore("node-2", leader=None)
    reads = member(core)
    waiter = Waiter(101.0, None)
    reads.add(waiter)
    reads.step()
    assert not reads.ended
    core.clock = 101.0
    reads.step()
    assert isinstance(waiter.result, NoQuorum)


def test_a_leader_that_steps_down_sends_its_followers_elsewhere() -> None:
    asking = FakeCore("node-2")
    follower = member(asking)
    follower.add(Waiter(FAR, None))
    follower.step()
    asked = take(asking, ReadIndex)[0]
    core = leader_core()
    reads = member(core)
    reads.on_read_index("node-2", asked)
    reads.step()
    core.role = Role.FOLLOWER
    reads.stopped_leading()
    assert take(core, ReadIndexAnswer) == [ReadIndexAnswer(asked.seq, False, 0)]


def member_fresh(reads: Reads) -> float | None:
    return reads.fresh_since


def test_freshness_nobody_waits_for_travels_with_what_is_sent_anyway() -> None:
    core = leader_core()
    reads = member(core)
    reads.step()
    assert not take(core, Probe)
    core.send("node-2", ProbeAnswer(3, 1))  # stands for a heartbeat
    reads.step()
    probe = take(core, Probe)[0]
    reads.on_probe_answer("node-2", ProbeAnswer(3, probe.seq))
    reads.step()
    assert reads.fresh_since == core.clock


def test_a_follower_renews_its_freshness_even_when_it_has_nothing_else_to_say() -> None:
    core = FakeCore("node-2")
    reads = member(core)
    core.clock += 1
    reads.step()
    first = take(core, ReadIndex)[0]
    reads.on_read_index_answer(ReadIndexAnswer(first.seq, True, 10))
    reads.step()
    core.clock += core.timing.background_barrier_s + core.timing.heartbeat_s
    reads.step()
    assert not take(core, ReadIndex)
    core.clock += 2 * core.timing.heartbeat_s
    reads.step()
    assert [message.patient for message in take(core, ReadIndex)] == [True]


def test_a_caller_does_not_wait_for_a_patient_request() -> None:
    core = FakeCore("node-2")
    reads = member(core)
    core.clock += 1
    reads.step()
    assert [message.patient for message in take(core, ReadIndex)] == [True]
    reads.add(Waiter(FAR, None))
    reads.step()
    assert [message.patient for message in take(core, ReadIndex)] == [False]
