"""SAE keys at one node: policy first, nothing given out before it is committed, nothing lost by a refusal."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from ledger_world import NODES, request
from qkms_node.access.guard import Guard
from qkms_node.config_sections import Rule, SealSection
from qkms_node.consensus.local import LocalReplica
from qkms_node.consensus.replica import NotCommitted, OutcomeUnknown
from qkms_node.errors import QkmsError
from qkms_node.keys.grade import Grade
from qkms_node.keys.root import commitment
from qkms_node.keys.secret import RootSecret
from qkms_node.ledger import commands as c
from qkms_node.ledger.access_records import RuleRecord
from qkms_node.service import sae_keys
from qkms_node.service.freshness import Freshness
from qkms_node.service.proposing import Proposer
from qkms_node.service.roots import RootStore
from qkms_node.service.sae_keys import SaeKeyLimits, SaeKeys, pair_name
from qkms_node.service.seals.making import SealMaker
from qkms_node.service.store import LedgerStore

CHECK = commitment(RootSecret(bytes(32)), "test", 1)
ALICE, BOB = "alice", "bob"
A, B = "enc-a", "enc-b"


class Faulty(LocalReplica):
    """A replica whose next proposals meet the faults in `faults`: before they are applied, or after."""

    def __init__(self, store: LedgerStore) -> None:
        super().__init__("node-1", store)
        self.faults: list[str] = []
        self.proposed: list[bytes] = []
        self.before: Callable[[], None] = lambda: None

    async def propose(self, command: bytes, timeout_s: float) -> bytes:
        self.before()
        self.proposed.append(command)
        fault = self.faults.pop(0) if self.faults else ""
        if fault == "not committed":
            raise NotCommitted("the leader changed")
        if fault == "lost before":
            raise OutcomeUnknown("the leader was lost")
        answer = await super().propose(command, timeout_s)
        if fault == "lost after":
            raise OutcomeUnknown("the leader was lost")
        return answer


class Node:
    """A ledger with a root, and the use cases; alice's SAE is enc-a, bob's enc-b."""

    def __init__(self, folder: Path, rules: list[Rule]) -> None:
        self.store = LedgerStore(asyncio.get_running_loop())
        self.replica = Faulty(self.store)
        seal = SealSection(mode="keyfile", key_file=folder / "seal.key")
        self.roots = RootStore(folder, SealMaker(seal, "test", "node-1"), "test", "node-1")
        self.roots.keep(1, CHECK, RootSecret(bytes(32)))
        self.rules = rules
        self.apply(c.StageRoot(1, 0, Grade.PQC, "node-1", CHECK, (), NODES, {}))
        for node in NODES:
            self.apply(c.ConfirmRoot(1, node, CHECK))
        self.apply(c.ActivateRoot(1))
        self.keys = SaeKeys(
            Guard(rules, (), self.store.view),
            self.store,
            self.roots,
            Proposer(self.replica, 1.0),
            Freshness(self.replica, self.store, 1.0),
            SaeKeyLimits(10, 60_000),
        )

    def apply(self, command: c.AnyCommand) -> c.Outcome:
        return c.decode_outcome(self.store.apply(1, 1_000, c.encode_command(command)))

    async def draw(self, number: int = 1) -> list[sae_keys.SaeKey]:
        return await self.keys.draw(ALICE, A, (B,), number, 256)

    async def collect(self, *key_ids: str) -> dict[str, bytes]:
        return {each.key_id: each.key for each in await self.keys.collect(BOB, A, B, key_ids)}


def allowing(*actions: str) -> list[Rule]:
    return [Rule(principals=(ALICE, BOB), actions=actions, keys=(pair_name(A, B),))]


@pytest.fixture
async def node(tmp_path: Path) -> Node:
    return Node(tmp_path, allowing("northbound.*"))


async def refused(work: Awaitable[object], code: str) -> None:
    with pytest.raises(QkmsError) as caught:
        await work
    assert caught.value.code == code


@pytest.mark.parametrize(
    "faults", [*([fault] for fault in ("not committed", "lost before", "lost after")), ["lost after"] * 3]
)
async def test_a_proposal_is_repeated_until_its_outcome_is_known(node: Node, faults: list[str]) -> None:
    node.replica.faults = [*faults]
    [drawn] = await node.draw()
    node.replica.faults = [*faults]
    assert await node.collect(drawn.key_id) == {drawn.key_id: drawn.key}
    times = len(faults) + 1
    assert list(Counter(node.replica.proposed).values()) == [times, times], "the same two commands, each so often"
    await refused(node.collect(drawn.key_id), "SAE_KEY_NOT_FOUND")


@pytest.mark.parametrize("last", ["not committed", "lost before"])
async def test_what_stays_unknown_is_called_unknown_and_given_to_nobody(
    node: Node, monkeypatch: pytest.MonkeyPatch, last: str
) -> None:
    monkeypatch.setattr(sae_keys, "PATIENCE_S", 0.1)
    [drawn] = await node.draw()
    node.replica.faults = ["lost after", *[last] * 9]
    await refused(node.collect(drawn.key_id), "OUTCOME_UNKNOWN")
    node.replica.faults = []
    await refused(node.collect(drawn.key_id), "SAE_KEY_NOT_FOUND")
    node.replica.faults = ["lost after", *[last] * 9]
    await refused(node.draw(), "OUTCOME_UNKNOWN")
    with node.store.view() as state:
        assert state.sae_keys.counts["epoch"][1] == 1, "held for the slave until it expires, known to no master"


async def test_a_node_that_cannot_open_a_key_consumes_nothing(node: Node) -> None:
    [drawn] = await node.draw()
    node.roots.seal()
    await refused(node.collect(drawn.key_id), "SEALED")
    await refused(node.draw(), "SEALED")
    assert node.roots.unseal(b"")
    node.roots.keep(1, CHECK, RootSecret(bytes(32)))
    assert await node.collect(drawn.key_id) == {drawn.key_id: drawn.key}


async def test_a_right_that_is_taken_away_during_the_attempts_is_gone_for_the_next(node: Node) -> None:
    [drawn] = await node.draw()
    node.replica.faults = ["not committed"]
    proposals = 0

    def deny() -> None:
        nonlocal proposals
        proposals += 1
        denied = RuleRecord(("northbound.collect",), ("*",), "deny")
        node.apply(c.CreatePolicy(request(), "no-more", "", (denied,)))
        node.apply(c.CreateRole(request(), "no-more", "", (BOB,), ("no-more",)))

    node.replica.before = deny
    await refused(node.collect(drawn.key_id), "PERMISSION_DENIED")
    assert proposals == 1


async def test_draw_and_collect_are_rights_of_their_own(tmp_path: Path) -> None:
    node = Node(tmp_path, allowing("northbound.draw"))
    [drawn] = await node.draw()
    await refused(node.collect(drawn.key_id), "PERMISSION_DENIED")
    await refused(node.keys.draw(ALICE, A, (B, "enc-c"), 1, 256), "PERMISSION_DENIED")
    await refused(node.keys.draw("mallory", A, (B,), 1, 256), "PERMISSION_DENIED")
    with pytest.raises(QkmsError):
        node.keys.room(BOB, B, A)


async def test_an_epoch_that_overtakes_a_draw_is_drawn_under(node: Node) -> None:
    second = commitment(RootSecret(bytes([2] * 32)), "test", 2)
    node.roots.keep(2, second, RootSecret(bytes([2] * 32)))

    def next_epoch() -> None:
        node.replica.before = lambda: None
        node.apply(c.StageRoot(2, 1, Grade.PQC, "node-1", second, (), NODES, {}))
        for each in NODES:
            node.apply(c.ConfirmRoot(2, each, second))
        assert node.apply(c.ActivateRoot(2)).changed

    node.replica.before = next_epoch
    [drawn] = await node.draw()
    assert drawn.epoch == 2
    assert await node.collect(drawn.key_id) == {drawn.key_id: drawn.key}


def test_a_pair_has_one_name_and_no_other_pair_has_it() -> None:
    assert pair_name("sae:a", "sae:b") == "saePairs/sae:a/sae:b"
    assert len({pair_name("a/b", "c"), pair_name("a", "b/c"), pair_name("a%2Fb", "c")}) == 3


def test_a_key_in_clear_is_not_shown() -> None:
    assert "redacted" in repr(sae_keys.SaeKey("k", b"secret", Grade.PQC, 1))
    assert "secret" not in repr(sae_keys.SaeKey("k", b"secret", Grade.PQC, 1))
