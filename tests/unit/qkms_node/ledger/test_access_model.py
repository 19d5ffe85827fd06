"""Policies, roles, tenants, grants, sessions and audit keys in any order, against dicts that say what is there."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, rule

from ledger_machine import ANY_TIME, LedgerMachine, run
from ledger_world import request
from qkms_node.keys.grade import Grade
from qkms_node.ledger import commands as c
from qkms_node.ledger.access_records import AnchorRecord, RuleRecord
from qkms_node.ledger.records import AnswerRecord, OfferRecord
from qkms_node.ledger.state import SESSION_MEMORY_MS

PEOPLE = ("alice", "bob", "carol")
names = st.sampled_from(("x", "x", "y"))
people = st.sampled_from(PEOPLE)
etags = st.sampled_from(("any", "any", "right", "wrong"))
small = st.integers(0, 2)
RULE = RuleRecord(("keys.get",))


@dataclass
class Session:
    """One session as its ends know it."""

    initiator: str
    responder: str
    offer: int
    end_ms: int
    state: str = "OFFERED"
    answer: int | None = None
    tags: dict[str, int] = field(default_factory=dict)

    @property
    def open(self) -> bool:
        return self.state not in ("CLOSED", "EXPIRED")


class AccessInAnyOrder(LedgerMachine):
    """Everything by id: the revision of its last change, and what else decides an answer."""

    COMMANDS = frozenset(
        {
            *(c.CreatePolicy, c.UpdatePolicy, c.DeletePolicy, c.CreateRole, c.UpdateRole, c.DeleteRole),
            *(c.CreateTenant, c.UpdateTenant, c.DeleteTenant, c.CreateGrant, c.RevokeGrant),
            *(c.OpenSession, c.AnswerSession, c.ConfirmSession, c.CloseSession),
            *(c.RegisterAuditKey, c.AnchorAudit, c.AdvanceTime),
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self.policies: dict[str, int] = {}
        self.roles: dict[str, tuple[int, str]] = {}
        self.tenants: dict[str, tuple[int, str, int]] = {}
        self.grants: dict[str, int] = {}
        self.sessions: dict[str, Session] = {}
        self.audit_keys: dict[str, str] = {}
        self.anchors: dict[str, dict[int, bytes]] = {}

    @initialize()
    def begin(self) -> None:
        self.create_policy("x")
        self.create_role("x", "x")
        self.open_session("x", "alice", "bob", 1, False)

    def etag(self, kind: str, actual: int) -> tuple[int, str]:
        """What the caller expects, and the refusal due for it."""
        expected = {"any": 0, "right": actual, "wrong": actual + 1}[kind]
        return expected, "ETAG_MISMATCH" if kind == "wrong" else ""

    # Policies and roles.

    @rule(name=names)
    def create_policy(self, name: str) -> None:
        done = self.do(
            c.CreatePolicy(request(), name, "", (RULE,)), "POLICY_EXISTS" if name in self.policies else ""
        )
        self.policies.setdefault(name, done.revision)

    @rule(name=names, kind=etags)
    def update_policy(self, name: str, kind: str) -> None:
        expected, refusal = self.etag(kind, self.policies.get(name, 1))
        refusal = refusal if name in self.policies else "POLICY_NOT_FOUND"
        done = self.do(c.UpdatePolicy(request(), name, expected, "new", ()), refusal)
        if not refusal:
            self.policies[name] = done.revision

    @rule(name=names, kind=etags)
    def delete_policy(self, name: str, kind: str) -> None:
        expected, refusal = self.etag(kind, self.policies.get(name, 1))
        if name not in self.policies:
            refusal = "POLICY_NOT_FOUND"
        elif not refusal and any(policy == name for _, policy in self.roles.values()):
            refusal = "POLICY_IN_USE"
        self.do(c.DeletePolicy(request(), name, expected), refusal)
        if not refusal:
            del self.policies[name]

    @rule(name=names, policy=names)
    def create_role(self, name: str, policy: str) -> None:
        refusal = "" if policy in self.policies else "POLICY_NOT_FOUND"
        refusal = "ROLE_EXISTS" if name in self.roles else refusal
        done = self.do(c.CreateRole(request(), name, "", ("alice",), (policy,)), refusal)
        if not refusal:
            self.roles[name] = done.revision, policy

    @rule(name=names, policy=names, kind=etags)
    def update_role(self, name: str, policy: str, kind: str) -> None:
        expected, refusal = self.etag(kind, self.roles.get(name, (1, ""))[0])
        if name not in self.roles:
            refusal = "ROLE_NOT_FOUND"
        elif not refusal and policy not in self.policies:
            refusal = "POLICY_NOT_FOUND"
        done = self.do(c.UpdateRole(request(), name, expected, "", (), (policy,)), refusal)
        if not refusal:
            self.roles[name] = done.revision, policy

    @rule(name=names, kind=etags)
    def delete_role(self, name: str, kind: str) -> None:
        expected, refusal = self.etag(kind, self.roles.get(name, (1, ""))[0])
        refusal = refusal if name in self.roles else "ROLE_NOT_FOUND"
        self.do(c.DeleteRole(request(), name, expected), refusal)
        if not refusal:
            del self.roles[name]

    # Tenants, which bound sessions, and grants, which end.

    @rule(name=names, principal=people, most=small)
    def create_tenant(self, name: str, principal: str, most: int) -> None:
        refusal = "TENANT_EXISTS" if name in self.tenants else ""
        done = self.do(c.CreateTenant(request(), name, "", (principal,), 0, 0, most), refusal)
        if not refusal:
            self.tenants[name] = done.revision, principal, most

    @rule(name=names, principal=people, most=small, kind=etags)
    def update_tenant(self, name: str, principal: str, most: int, kind: str) -> None:
        expected, refusal = self.etag(kind, self.tenants.get(name, (1, "", 0))[0])
        refusal = refusal if name in self.tenants else "TENANT_NOT_FOUND"
        done = self.do(c.UpdateTenant(request(), name, expected, "", (principal,), 0, 0, most), refusal)
        if not refusal:
            self.tenants[name] = done.revision, principal, most

    @rule(name=names, kind=etags)
    def delete_tenant(self, name: str, kind: str) -> None:
        expected, refusal = self.etag(kind, self.tenants.get(name, (1, "", 0))[0])
        refusal = refusal if name in self.tenants else "TENANT_NOT_FOUND"
        self.do(c.DeleteTenant(request(), name, expected), refusal)
        if not refusal:
            del self.tenants[name]

    @rule(name=names, ttl_ms=st.sampled_from((40, 400)))
    def create_grant(self, name: str, ttl_ms: int) -> None:
        refusal = "GRANT_EXISTS" if name in self.grants else ""
        self.do(c.CreateGrant(request(), name, "bob", ("keys.get",), ("k",), (), ttl_ms), refusal)
        self.grants.setdefault(name, self.world.time_ms + ttl_ms)

    @rule(name=names)
    def revoke_grant(self, name: str) -> None:
        self.do(c.RevokeGrant(request(), name), "" if name in self.grants else "GRANT_NOT_FOUND")
        self.grants.pop(name, None)

    # Sessions.

    @rule(name=names, initiator=people, responder=people, offer=small, low=st.booleans())
    def open_session(self, name: str, initiator: str, responder: str, offer: int, low: bool) -> None:
        known = self.sessions.get(name)
        required = int(Grade.QKD_PQC) if low else 0
        refusal, changes = "", known is None
        if known is not None and (known.initiator, known.responder, known.offer) != (initiator, responder, offer):
            refusal = "SESSION_EXISTS"
        elif known is None and self.over_quota(initiator):
            refusal = "QUOTA_EXCEEDED"
        record = OfferRecord(b"m%d" % offer, b"x", b"n")
        mine = request(principal=initiator)
        self.do(c.OpenSession(mine, name, responder, 1, record, required, 300), refusal, changes=changes)
        if known is None and not refusal:
            self.sessions[name] = Session(initiator, responder, offer, self.world.time_ms + 300)

    def over_quota(self, initiator: str) -> bool:
        for _, principal, most in self.tenants.values():
            used = sum(s.open and s.initiator == principal for s in self.sessions.values())
            if principal == initiator and most and used >= most:
                return True
        return False

    def seen(self, name: str, who: str) -> Session | None:
        session = self.sessions.get(name)
        return session if session is not None and who in (session.initiator, session.responder) else None

    @rule(name=names, who=people, answer=small)
    def answer_session(self, name: str, who: str, answer: int) -> None:
        session, refusal, changes = self.seen(name, who), "", True
        if session is None:
            refusal = "SESSION_NOT_FOUND"
        elif session.responder != who:
            refusal = "SESSION_STATE"
        elif session.answer == answer:
            changes = False
        elif session.state != "OFFERED":
            refusal = "SESSION_STATE"
        record = AnswerRecord(b"c%d" % answer, b"x", b"n")
        self.do(c.AnswerSession(request(principal=who), name, record), refusal, changes=changes)
        if session is not None and not refusal and changes:
            session.state, session.answer = "ANSWERED", answer

    @rule(name=names, who=people, tag=small)
    def confirm_session(self, name: str, who: str, tag: int) -> None:
        session, refusal, changes = self.seen(name, who), "", True
        role = "initiator" if session is not None and session.initiator == who else "responder"
        if session is None:
            refusal = "SESSION_NOT_FOUND"
        elif session.tags.get(role) == tag:
            changes = False
        elif session.state != "ANSWERED" or role in session.tags:
            refusal = "SESSION_STATE"
        self.do(c.ConfirmSession(request(principal=who), name, b"t%d" % tag), refusal, changes=changes)
        if session is not None and not refusal and changes:
            session.tags[role] = tag
            if len(session.tags) == 2:
                session.state = "CONFIRMED"

    @rule(name=names, both=st.booleans())
    def take_a_session_on(self, name: str, both: bool) -> None:
        """Few sessions come so far by chance."""
        session = self.sessions.get(name)
        if session is None or session.initiator == session.responder:
            return
        self.answer_session(name, session.responder, 1)
        self.confirm_session(name, session.initiator, 1)
        if both:
            self.confirm_session(name, session.responder, 2)

    @rule(name=names, who=people)
    def close_session(self, name: str, who: str) -> None:
        session = self.seen(name, who)
        refusal = "" if session is not None else "SESSION_NOT_FOUND"
        changes = session is not None and session.open
        self.do(c.CloseSession(request(principal=who), name), refusal, changes=changes)
        if session is not None and session.open:
            session.state = "CLOSED"

    # Audit keys and anchors.

    @rule(key=names, node=st.sampled_from(("node-1", "node-2")))
    def register_audit_key(self, key: str, node: str) -> None:
        self.do(c.RegisterAuditKey(node, key, b"e", b"m"), changes=key not in self.audit_keys)
        self.audit_keys.setdefault(key, node)

    @rule(key=names, node=st.sampled_from(("node-1", "node-2")), length=st.integers(1, 4), head=small)
    def anchor_audit(self, key: str, node: str, length: int, head: int) -> None:
        mine, refusal = self.anchors.setdefault(key, {}), ""
        digest_ = b"%d" % head * 32
        if self.audit_keys.get(key) != node:
            refusal = "AUDIT_KEY_UNKNOWN"
        elif length < max(mine, default=0) or mine.get(length, digest_) != digest_:
            refusal = "AUDIT_BROKEN"
        anchor = AnchorRecord(node, key, length, digest_, b"e", b"m")
        self.do(c.AnchorAudit(request(), anchor), refusal, changes=length not in mine)
        if not refusal:
            mine[length] = digest_

    @rule(later_ms=ANY_TIME)
    def wait(self, later_ms: int) -> None:
        now_ms = self.pass_time(later_ms)
        self.grants = {name: end_ms for name, end_ms in self.grants.items() if end_ms > now_ms}
        for session in self.sessions.values():
            if session.open and session.end_ms <= now_ms:
                session.state = "EXPIRED"
        self.sessions = {n: s for n, s in self.sessions.items() if s.end_ms + SESSION_MEMORY_MS > now_ms}

    @invariant()
    def the_tables_are_what_the_model_says(self) -> None:
        state = self.world.state
        found: dict[str, Any] = {
            "policies": {name: record.revision for name, record in state.policies.items()},
            "roles": {name: (record.revision, record.policies[0]) for name, record in state.roles.items()},
            "tenants": {n: (r.revision, r.principals[0], r.max_sessions) for n, r in state.tenants.items()},
            "grants": {name: record.expire_ms for name, record in state.grants.items()},
            "sessions": {name: record.state.name for name, record in state.sessions.items()},
            "anchors": {place: record.head for place, record in state.anchors.items()},
        }
        assert found == {
            "policies": self.policies,
            "roles": self.roles,
            "tenants": self.tenants,
            "grants": self.grants,
            "sessions": {name: session.state for name, session in self.sessions.items()},
            "anchors": {(key, n): head for key, mine in self.anchors.items() for n, head in mine.items()},
        }


def test_access_in_any_order() -> None:
    run(AccessInAnyOrder, only_ever=frozenset({c.RegisterAuditKey, c.AdvanceTime}))
