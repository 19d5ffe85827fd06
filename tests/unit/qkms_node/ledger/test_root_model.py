"""Root epochs, shares, recovery and rewrapping in any order, against a model with one line for each promise."""

from dataclasses import dataclass, field

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule
from msgspec.structs import replace

from ledger_machine import ANY_TIME, LedgerMachine, run
from ledger_world import NODES, World, new, request, share
from qkms_node.keys.grade import Grade
from qkms_node.ledger import commands as c

epochs = st.sampled_from((0, 0, 1, 2, 3, -1))
"""So many before the newest; -1: one that there is not yet."""
nodes = st.sampled_from((*NODES, "stranger"))
keys = st.sampled_from(("", "q1", "q2", "q3", "q4", "q5"))
sets = st.sampled_from(("", "s1", "s2"))
qbers = st.sampled_from((0.01, 0.01, 0.05, 1.0))
limits = st.sampled_from((0.0, 0.0, 0.03))
relay_names = st.sampled_from(((), (), ("kme-7",), ("kme-7", "kme-8")))
yes_or_no = st.booleans()
ENDED = ("ABORTED", "DESTROYED")


@dataclass
class Epoch:
    """One root epoch. `shares`: by node, what seals its share; `recovery`: the set that it is sealed to.

    `relays`: those that have seen what sealed any share of it; `qber`: the greatest of its links.
    """

    qkd: bool
    base: int
    state: str = "STAGED"
    shares: dict[str, str] = field(default_factory=dict)
    confirmed: set[str] = field(default_factory=set)
    rejected: set[str] = field(default_factory=set)
    recovery: str = ""
    relays: set[str] = field(default_factory=set)
    qber: float = 0.0

    def suits(self, refuses: bool, limit: float) -> str:
        """With what a key is refused under it; empty: it is not."""
        if refuses and self.relays:
            return "RELAYS_REFUSED"
        return "QBER_TOO_HIGH" if limit and self.qber > limit else ""


class RootsInAnyOrder(LedgerMachine):
    """The leader is node-1, the voters are NODES; each epoch's commitment is its number."""

    COMMANDS = frozenset(
        {
            *(c.RequestRoot, c.RegisterNode, c.StageRoot, c.ConfirmRoot, c.RejectShare, c.ReplaceShare),
            *(
                c.ActivateRoot,
                c.AbortRoot,
                c.RefuseRoot,
                c.RewrapVersions,
                c.DestroyRoot,
                c.SetRecovery,
                c.SealToRecovery,
            ),
            *(c.CreateKey, c.UpdateKey, c.AdvanceTime),
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self.epochs: dict[int, Epoch] = {}
        self.active = self.last = 0
        self.wanted = False
        self.refused: int | None = None
        self.used: set[str] = set()
        self.nodes: dict[str, int] = {}
        self.versions: dict[str, int] = {}
        self.promised: dict[str, bool] = {}
        self.refuses: dict[str, bool] = {}
        self.limits: dict[str, float] = {}
        self.relayed: dict[str, bool] = {}
        self.seen: dict[str, float] = {}
        self.recovery = ""

    def beginning(self) -> World:
        return World()

    @initialize()
    def begin(self) -> None:
        self.take_the_whole_way()
        self.create_key("a", False, 0.0)

    def at(self, back: int) -> int:
        return self.last - back

    @rule(behind=st.sampled_from((0, 0, 1)))
    def request_root(self, behind: int) -> None:
        expected = self.active - behind
        refusal = "" if expected == self.active else "EPOCH_CONFLICT"
        self.do(c.RequestRoot(request(), expected), refusal, changes=not self.wanted)
        if not refusal and not self.wanted:
            self.wanted, self.refused = True, None

    @rule(epoch=st.sampled_from((0, 0, 0, 1, 2)))
    def refuse_root(self, epoch: int) -> None:
        """0 stands for the active one."""
        epoch = epoch or self.active
        staged = any(one.state == "STAGED" for one in self.epochs.values())
        changes = epoch == self.active and not staged and (self.wanted or self.refused != epoch)
        self.do(c.RefuseRoot(epoch, "no keys"), changes=changes)
        if changes:
            self.wanted, self.refused = False, epoch

    @rule(node=nodes, keys_number=st.integers(1, 2))
    def register(self, node: str, keys_number: int) -> None:
        same = self.nodes.get(node) == keys_number
        self.do(c.RegisterNode(node, b"m%d" % keys_number, b"x"), changes=not same)
        self.nodes[node] = keys_number

    @rule(
        ahead=st.sampled_from((0, 1, 1, 1, 2)),
        qkd=st.booleans(),
        key_id=keys,
        low=st.booleans(),
        relays=relay_names,
        qber=qbers,
    )
    def stage(self, ahead: int, qkd: bool, key_id: str, low: bool, relays: tuple[str, ...], qber: float) -> None:
        """`low`: the shares are sealed without the QKD key."""
        number = self.last + ahead
        seeds = (key_id,) if qkd and key_id else ()
        sealing = "" if low or not seeds else key_id
        relays, qber = (relays, qber) if sealing else ((), 0.0)
        shares = {node: share(node, b"s%d" % number, sealing, relays, qber) for node in NODES[1:]}
        grade = Grade.QKD_PQC if seeds else Grade.PQC
        refusal, known = "", self.epochs.get(number)
        if known is None:
            if ahead != 1:
                refusal = "EPOCH_CONFLICT"
            elif any(epoch.state == "STAGED" for epoch in self.epochs.values()):
                refusal = "ROTATION_PENDING"
            elif self.used & set(seeds):
                refusal = "KEY_REPLAYED"
            elif seeds and low:
                refusal = "SHARE_BELOW_GRADE"
        command = c.StageRoot(number, self.active, grade, "node-1", b"c%d" % number, seeds, NODES, shares)
        self.do(command, refusal, changes=known is None)
        if known is None and not refusal:
            self.epochs[number] = Epoch(bool(seeds), self.active, shares=dict.fromkeys(NODES[1:], sealing))
            self.epochs[number].relays, self.epochs[number].qber = set(relays), qber
            self.last = number
            self.used |= set(seeds)
            self.refused = None

    @rule(number=epochs, node=nodes, wrong=st.sampled_from((False, False, False, True)))
    def confirm(self, number: int, node: str, wrong: bool) -> None:
        number = self.at(number)
        epoch, refusal = self.epochs.get(number), ""
        if epoch is None:
            refusal = "EPOCH_NOT_FOUND"
        elif epoch.state == "ABORTED":
            refusal = "EPOCH_ABORTED"
        elif node not in NODES and node not in epoch.shares:
            refusal = "NOT_A_VOTER"
        elif wrong:
            refusal = "COMMITMENT_MISMATCH"
        commitment = b"wrong" if wrong else b"c%d" % number
        changes = epoch is not None and node not in epoch.confirmed
        self.do(c.ConfirmRoot(number, node, commitment), refusal, changes=changes)
        if epoch is not None and not refusal:
            epoch.confirmed.add(node)
            if changes:
                epoch.rejected.discard(node)

    @rule(number=epochs, node=nodes, stale=st.booleans())
    def reject(self, number: int, node: str, stale: bool) -> None:
        number = self.at(number)
        epoch = self.epochs.get(number)
        sealed = self.world.state.roots[number].shares.get(node) if epoch is not None else None
        given = b"another" if stale else sealed.sealed if sealed is not None else b""
        changes = epoch is not None and not stale and epoch.state != "ABORTED" and node not in epoch.rejected
        self.do(
            c.RejectShare(number, node, given, "why"),
            "" if epoch is not None else "EPOCH_NOT_FOUND",
            changes=changes,
        )
        if epoch is not None and changes:
            epoch.rejected.add(node)
            epoch.confirmed.discard(node)

    @rule(number=epochs, node=nodes, key_id=keys, relays=relay_names, qber=qbers)
    def replace_share(self, number: int, node: str, key_id: str, relays: tuple[str, ...], qber: float) -> None:
        number = self.at(number)
        relays, qber = (relays, qber) if key_id else ((), 0.0)
        epoch, refusal, changes = self.epochs.get(number), "", False
        if epoch is None:
            refusal = "EPOCH_NOT_FOUND"
        else:
            lacks = node in epoch.rejected or (node not in epoch.shares and node not in epoch.confirmed)
            changes = lacks and epoch.state in ("ACTIVE", "RETIRED")
            if changes and epoch.qkd and not key_id:
                refusal = "SHARE_BELOW_GRADE"
            elif changes and key_id in self.used:
                refusal = "KEY_REPLAYED"
        self.do(c.ReplaceShare(number, share(node, b"again", key_id, relays, qber)), refusal, changes=changes)
        if epoch is not None and changes and not refusal:
            epoch.shares[node] = key_id
            epoch.relays |= set(relays)
            epoch.qber = max(epoch.qber, qber)
            epoch.rejected.discard(node)
            self.used |= {key_id} - {""}

    @rule(number=epochs)
    def activate(self, number: int) -> None:
        number = self.at(number)
        epoch, refusal, changes = self.epochs.get(number), "", True
        if epoch is None:
            refusal = "EPOCH_NOT_FOUND"
        elif epoch.state in ("ACTIVE", "RETIRED", "DESTROYED"):
            changes = False
        elif epoch.state == "ABORTED":
            refusal = "EPOCH_ABORTED"
        elif len(epoch.confirmed) < 2 or epoch.rejected:
            refusal = "NOT_CONFIRMED"
        elif self.recovery and epoch.recovery != self.recovery:
            refusal = "NOT_RECOVERABLE"
        self.do(c.ActivateRoot(number), refusal, changes=changes)
        if epoch is not None and not refusal and changes:
            if self.active:
                self.epochs[self.active].state = "RETIRED"
            epoch.state, self.active, self.wanted = "ACTIVE", number, False

    @rule()
    def take_the_whole_way(self) -> None:
        """Few epochs come so far by chance."""
        self.take_on_the_way(1, "", (), 0.0)

    @rule(relays=relay_names, qber=qbers)
    def take_the_whole_way_with_qkd(self, relays: tuple[str, ...], qber: float) -> None:
        self.take_on_the_way(1, f"of-{self.last + 1}", relays, qber)

    def take_on_the_way(self, ahead: int, key_id: str, relays: tuple[str, ...], qber: float) -> None:
        self.stage(ahead, bool(key_id), key_id, False, relays, qber)
        for node in NODES[:2]:
            self.confirm(0, node, False)
        self.seal(0, self.recovery or "s1")
        self.activate(0)

    @rule()
    def take_an_epoch_to_its_end(self) -> None:
        old = self.active
        self.take_the_whole_way()
        for key_id in list(self.versions):
            self.rewrap(key_id, self.active, "seen")
        self.destroy(self.last - old)

    @rule(number=epochs)
    def abort(self, number: int) -> None:
        number = self.at(number)
        epoch, refusal = self.epochs.get(number), ""
        if epoch is None:
            refusal = "EPOCH_NOT_FOUND"
        elif epoch.state not in ("STAGED", "ABORTED"):
            refusal = "ILLEGAL_TRANSITION"
        changes = epoch is not None and epoch.state == "STAGED"
        self.do(c.AbortRoot(number, "why"), refusal, changes=changes)
        if epoch is not None and changes:
            epoch.state, epoch.shares = "ABORTED", {}

    @rule()
    def stage_and_give_up(self) -> None:
        self.stage(1, False, "", False, (), 0.0)
        self.abort(0)

    @rule(key_id=st.sampled_from(("a", "b")), refuses=yes_or_no, limit=limits)
    def create_key(self, key_id: str, refuses: bool, limit: float) -> None:
        refusal = "KEY_EXISTS" if key_id in self.versions else "" if self.active else "PROPOSAL_STALE"
        if not refusal:
            refusal = self.epochs[self.active].suits(refuses, limit)
        made = c.CreateKey(request(), key_id, "AES_256_GCM", 0, 1_000, {}, new(1, self.active))
        self.do(replace(made, refuse_relays=refuses, max_qber=limit), refusal)
        if not refusal:
            self.versions[key_id] = self.active
            self.promised[key_id] = self.epochs[self.active].qkd
            self.refuses[key_id], self.limits[key_id] = refuses, limit
            self.relayed[key_id] = bool(self.epochs[self.active].relays)
            self.seen[key_id] = self.epochs[self.active].qber

    @rule(key_id=st.sampled_from(("a", "b")), refuses=yes_or_no)
    def let_refuse(self, key_id: str, refuses: bool) -> None:
        refusal, changes = "", self.refuses.get(key_id) != refuses
        if key_id not in self.versions:
            refusal = "KEY_NOT_FOUND"
        elif changes and refuses:
            seen = self.relayed[key_id] or self.epochs[self.versions[key_id]].relays
            refusal = "RELAYS_REFUSED" if seen or self.epochs[self.active].relays else ""
        command = c.UpdateKey(request(), key_id, c.KeyChanges(refuse_relays=refuses))
        self.do(command, refusal, changes=changes)
        if not refusal:
            self.refuses[key_id] = refuses

    @rule(key_id=st.sampled_from(("a", "b")), limit=limits)
    def limit_qber(self, key_id: str, limit: float) -> None:
        refusal, changes = "", self.limits.get(key_id) != limit
        if key_id not in self.versions:
            refusal = "KEY_NOT_FOUND"
        elif changes and limit:
            seen = max(self.seen[key_id], self.epochs[self.versions[key_id]].qber, self.epochs[self.active].qber)
            refusal = "QBER_TOO_HIGH" if seen > limit else ""
        self.do(c.UpdateKey(request(), key_id, c.KeyChanges(max_qber=limit)), refusal, changes=changes)
        if not refusal:
            self.limits[key_id] = limit

    @rule(
        key_id=st.sampled_from(("a", "b")), epoch=st.integers(1, 4), start=st.sampled_from(("seen", "seen", "old"))
    )
    def rewrap(self, key_id: str, epoch: int, start: str) -> None:
        under = self.versions.get(key_id, 0)
        seen = under if start == "seen" else under + 1
        moves = under and start == "seen" and under != epoch and self.reaches(key_id, epoch)
        refusal = "" if epoch == self.active else "EPOCH_CONFLICT"
        moved = c.RewrapVersions(epoch, (c.Rewrapped(key_id, 1, seen, b"again"),))
        self.do(moved, refusal, changes=bool(moves))
        if moves and not refusal:
            self.relayed[key_id] |= bool(self.epochs[under].relays | self.epochs[epoch].relays)
            self.seen[key_id] = max(self.seen[key_id], self.epochs[under].qber, self.epochs[epoch].qber)
            self.versions[key_id] = epoch

    def reaches(self, key_id: str, after: int) -> bool:
        """Whether a version may go under an epoch: never to a lower grade than it was made with, and keeps,
        nor to one with relays or a QBER that its key refuses."""
        if after not in self.epochs or self.epochs[after].suits(self.refuses[key_id], self.limits[key_id]):
            return False
        return self.epochs[after].qkd or not self.promised[key_id]

    @rule(number=epochs)
    def destroy(self, number: int) -> None:
        number = self.at(number)
        epoch, refusal, changes = self.epochs.get(number), "", True
        if epoch is None:
            refusal = "EPOCH_NOT_FOUND"
        elif epoch.state == "DESTROYED":
            changes = False
        elif epoch.state != "RETIRED":
            refusal = "ILLEGAL_TRANSITION"
        elif number in self.versions.values() or any(
            other.state == "STAGED" and other.base == number for other in self.epochs.values()
        ):
            refusal = "EPOCH_IN_USE"
        self.do(c.DestroyRoot(number), refusal, changes=changes)
        if epoch is not None and not refusal and changes:
            epoch.state, epoch.shares, epoch.rejected, epoch.recovery = "DESTROYED", {}, set(), ""

    @rule(set_id=st.sampled_from(("s1", "s2")), expected=sets)
    def set_recovery(self, set_id: str, expected: str) -> None:
        changes = self.recovery != set_id
        refusal = "RECOVERY_CONFLICT" if changes and expected != self.recovery else ""
        self.do(c.SetRecovery(request(), set_id, expected, 2, 3, b"m", b"x"), refusal, changes=changes)
        if changes and not refusal:
            self.recovery = set_id
            for epoch in self.epochs.values():
                epoch.recovery = ""

    @rule(number=epochs, set_id=st.sampled_from(("s1", "s2")))
    def seal(self, number: int, set_id: str) -> None:
        number = self.at(number)
        epoch = self.epochs.get(number)
        changes = (
            epoch is not None and epoch.state not in ENDED and set_id == self.recovery and epoch.recovery != set_id
        )
        self.do(c.SealToRecovery(number, set_id, b"sealed"), changes=changes)
        if epoch is not None and changes:
            epoch.recovery = set_id

    @rule(later_ms=ANY_TIME)
    def wait(self, later_ms: int) -> None:
        self.pass_time(later_ms)

    @invariant()
    def the_epochs_are_what_the_model_says(self) -> None:
        state = self.world.state
        assert (state.active_epoch, state.last_epoch, state.root_requested) == (
            self.active,
            self.last,
            self.wanted,
        )
        assert list(state.root_refusals) == ([] if self.refused is None else [self.refused])
        assert {n: r.state.name for n, r in state.roots.items()} == {n: e.state for n, e in self.epochs.items()}
        for number, epoch in self.epochs.items():
            root = state.roots[number]
            assert (set(root.confirmed), set(root.rejected)) == (epoch.confirmed, epoch.rejected)
            assert {node: s.qkd_key_id for node, s in root.shares.items()} == epoch.shares
            assert root.recovery_set == epoch.recovery
            assert (root.relays, root.qber) == (tuple(sorted(epoch.relays)), epoch.qber)
        assert state.qkd_key_epochs.keys() == self.used
        assert {key: v.epoch for (key, _), v in state.versions.items()} == self.versions
        assert {key: v.relayed for (key, _), v in state.versions.items()} == self.relayed
        assert {key: v.qber for (key, _), v in state.versions.items()} == self.seen
        assert {key: record.refuse_relays for key, record in state.keys.items()} == self.refuses
        assert {key: record.max_qber for key, record in state.keys.items()} == self.limits
        assert sum(epoch.state == "ACTIVE" for epoch in self.epochs.values()) <= 1


def test_roots_in_any_order() -> None:
    never_refused = frozenset({c.RegisterNode, c.RefuseRoot, c.SealToRecovery, c.AdvanceTime})
    run(RootsInAnyOrder, only_ever=never_refused, examples=80)
