"""Members, invitations and handovers in any order, against who is there, invited and wished for."""

from dataclasses import dataclass

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from ledger_machine import LedgerMachine, run
from ledger_world import request
from qkms_node.ledger import commands as c
from qkms_node.ledger.join_rules import MEMORY_MS
from qkms_node.ledger.link_records import AlarmKind, AlarmSeverity, alarm_name
from qkms_node.ledger.member_records import MemberRecord, MemberRole

FOUNDERS = ("node-1", "node-2")
names = st.sampled_from(("node-1", "node-2", "node-3", "node-4"))
small = st.integers(0, 2)
severities = st.sampled_from((AlarmSeverity.CLEARED, AlarmSeverity.MAJOR, AlarmSeverity.CRITICAL))
TTL_MS = 100


@dataclass
class Token:
    """One invitation: which token, until when, and which request it gave its certificate to."""

    number: int
    end_ms: int
    used_by: int | None = None


class MembersInAnyOrder(LedgerMachine):
    """A member's addresses all carry its host, which is its own name or another's."""

    COMMANDS = frozenset(
        {
            *(c.FoundMembers, c.AddMember, c.PromoteMember, c.RemoveMember, c.TransferLeadership),
            *(c.SettleHandover, c.RedeemToken, c.RegisterNode, c.ReportLinkAlarm, c.AdvanceTime),
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self.members: dict[str, tuple[str, bool]] = {}
        self.joined: set[str] = set()
        self.tokens: dict[str, Token] = {}
        self.wish = 0
        self.alarms: dict[str, AlarmSeverity] = {}

    @initialize(founded=st.sampled_from((True, True, False)))
    def begin(self, founded: bool) -> None:
        if founded:
            self.found()

    @rule()
    def found(self) -> None:
        members = tuple(MemberRecord(n, f"{n}:1", f"{n}:2", n, MemberRole.VOTER) for n in FOUNDERS)
        changes = not self.members
        self.do(c.FoundMembers(members), changes=changes)
        if changes:
            self.members = {name: (name, True) for name in FOUNDERS}

    def missing(self, name: str) -> str:
        """The refusal due to who is not a member."""
        return "NOT_FOUNDED" if not self.members else "" if name in self.members else "MEMBER_NOT_FOUND"

    @property
    def voters(self) -> set[str]:
        return {name for name, (_, votes) in self.members.items() if votes}

    @rule(name=names, elsewhere=st.booleans(), token=small)
    def add(self, name: str, elsewhere: bool, token: int) -> None:
        """`token` 0: without one."""
        host, refusal = "node-1" if elsewhere else name, ""
        known = self.members.get(name)
        if not self.members:
            refusal = "NOT_FOUNDED"
        elif (known is not None and known[0] != host) or (
            known is None and host in {other for other, _ in self.members.values()}
        ):
            refusal = "MEMBER_EXISTS"
        hashed = bytes((token,)) * 32 if token else b""
        command = c.AddMember(request(), name, f"{host}:1", f"{host}:2", host, hashed, TTL_MS if token else 0)
        self.do(command, refusal, changes=known is None or bool(token))
        if not refusal:
            self.members.setdefault(name, (host, False))
            if token:
                self.tokens[name] = Token(token, self.world.time_ms + TTL_MS)

    @rule(name=names)
    def join(self, name: str) -> None:
        refusal = "NOT_A_MEMBER" if self.members and name not in self.members else ""
        self.do(c.RegisterNode(name, b"m", b"x"), refusal, changes=name not in self.joined)
        if not refusal:
            self.joined.add(name)

    @rule(name=names)
    def promote(self, name: str) -> None:
        refusal, changes = self.missing(name), name not in self.voters
        if not refusal and changes and name not in self.joined:
            refusal = "MEMBER_NOT_READY"
        self.do(c.PromoteMember(request(), name), refusal, changes=changes)
        if not refusal:
            self.members[name] = self.members[name][0], True

    @rule(name=names)
    def remove(self, name: str) -> None:
        refusal = self.missing(name)
        if not refusal and self.voters == {name}:
            refusal = "LAST_VOTER"
        self.do(c.RemoveMember(request(), name), refusal)
        if not refusal:
            del self.members[name]
            self.joined.discard(name)
            self.tokens.pop(name, None)
            self.alarms = {alarm: s for alarm, s in self.alarms.items() if not alarm.startswith(f"links/{name}/")}

    @rule(name=names, peer=names, severity=severities)
    def report(self, name: str, peer: str, severity: AlarmSeverity) -> None:
        alarm = alarm_name(name, peer, AlarmKind.QBER_RISE)
        refusal = "NOT_A_MEMBER" if self.members and name not in self.members else ""
        changes = self.alarms.get(alarm, AlarmSeverity.CLEARED) is not severity
        self.do(c.ReportLinkAlarm(name, peer, AlarmKind.QBER_RISE, severity), refusal, changes=changes)
        if not refusal:
            self.alarms[alarm] = severity

    @rule(name=names)
    def come_and_go(self, name: str) -> None:
        self.add(name, False, 1)
        self.join(name)
        self.promote(name)
        self.remove(name)

    @rule(whom=st.one_of(st.just(""), names), source=names)
    def transfer(self, whom: str, source: str) -> None:
        refusal, changes = "", True
        if whom and whom not in self.voters:
            refusal = self.missing(whom) or "MEMBER_NOT_READY"
        elif whom and whom == source:
            changes = False
        elif self.voters <= {source}:
            refusal = "LAST_VOTER"
        done = self.do(c.TransferLeadership(request(), whom, source), refusal, changes=changes)
        if not refusal and changes:
            self.wish = done.revision

    @rule(of=st.sampled_from(("this", "this", "another")))
    def settle(self, of: str) -> None:
        changes = bool(self.wish) and of == "this"
        self.do(c.SettleHandover(self.wish if of == "this" else self.wish + 1), changes=changes)
        if changes:
            self.wish = 0

    @rule(name=names, token=st.integers(1, 2), csr=small)
    def redeem(self, name: str, token: int, csr: int) -> None:
        known, refusal, changes = self.tokens.get(name), "", True
        if known is None or known.number != token:
            refusal = "JOIN_TOKEN_INVALID"
        elif known.used_by is not None:
            refusal = "" if known.used_by == csr else "JOIN_TOKEN_USED"
            changes = False
        elif known.end_ms <= self.world.time_ms:
            refusal = "JOIN_TOKEN_EXPIRED"
        command = c.RedeemToken(request(), name, bytes((token,)) * 32, bytes((csr,)) * 32, b"for %d" % csr)
        done = self.do(command, refusal, changes=changes)
        if known is not None and not refusal:
            known.used_by = csr
            assert done.certificate == b"for %d" % csr, "the same request always gets the same"

    @rule(later_ms=st.sampled_from((0, 1, 60, MEMORY_MS)))
    def wait(self, later_ms: int) -> None:
        now_ms = self.pass_time(later_ms)
        self.tokens = {n: token for n, token in self.tokens.items() if token.end_ms + MEMORY_MS > now_ms}

    @invariant()
    def the_members_are_what_the_model_says(self) -> None:
        state = self.world.state
        found = {n: (m.sae_id, m.role is MemberRole.VOTER) for n, m in state.members.items()}
        assert found == self.members
        assert set(state.nodes) == self.joined
        raised = {name: s for name, s in self.alarms.items() if s is not AlarmSeverity.CLEARED}
        assert {name: alarm.severity for name, alarm in state.link_alarms.items()} == raised
        assert set(state.join_tokens) == set(self.tokens)
        assert [wish.revision for wish in state.handovers.values()] == [self.wish] * bool(self.wish)
        assert not self.members or self.voters


def test_members_in_any_order() -> None:
    run(MembersInAnyOrder, only_ever=frozenset({c.FoundMembers, c.SettleHandover, c.AdvanceTime}))
