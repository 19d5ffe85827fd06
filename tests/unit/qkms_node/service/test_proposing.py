"""What a caller may do is decided over this node's ledger: it must not be one from before a long cut."""

import dataclasses
from typing import Any

import pytest

from ledger_world import request
from qkms_node.consensus.local import LocalReplica
from qkms_node.consensus.replica import ReplicaStatus
from qkms_node.errors import QkmsError
from qkms_node.ledger import commands as c
from qkms_node.service.proposing import Proposer


class Machine:
    """Counts what is applied."""

    applied = 0

    def apply(self, index: int, time_ms: int, command: bytes) -> bytes:
        self.applied += 1
        return c.encode_outcome(c.Outcome(index, changed=True))

    def snapshot(self) -> list[bytes]:
        return []

    def restore(self, chunks: Any) -> Any:
        raise NotImplementedError


class Healed(LocalReplica):
    """A replica that has its quorum again, and has not caught up before its next barrier."""

    def __init__(self, machine: Machine, staleness_s: float | None) -> None:
        super().__init__("node-1", machine)
        self._behind_s = staleness_s

    def status(self) -> ReplicaStatus:
        return dataclasses.replace(super().status(), staleness_s=self._behind_s)

    async def read_barrier(self, timeout_s: float) -> int:
        index = await super().read_barrier(timeout_s)
        self._behind_s = 0.0
        return index


@pytest.mark.parametrize("staleness_s", [30.1, None])
async def test_a_mutation_decided_over_an_old_ledger_is_not_proposed(staleness_s: float | None) -> None:
    machine = Machine()
    proposer = Proposer(Healed(machine, staleness_s), 1.0, decided_within_s=30.0)
    with pytest.raises(QkmsError) as caught:
        await proposer.effect(c.RequestRoot(request(), 0))
    assert (caught.value.code, machine.applied) == ("NOT_COMMITTED", 0)
    assert (await proposer.effect(c.RequestRoot(request(), 0))).changed, "asked again, it is decided anew"


async def test_what_nodes_propose_of_themselves_needs_no_decision() -> None:
    machine = Machine()
    assert (await Proposer(Healed(machine, None), 1.0).effect(c.AdvanceTime())).changed


async def test_a_node_that_is_still_cut_off_says_so() -> None:
    replica = Healed(Machine(), 99.0)
    replica.cut()
    with pytest.raises(QkmsError) as caught:
        await Proposer(replica, 1.0).effect(c.RequestRoot(request(), 0))
    assert caught.value.code == "NO_QUORUM"
