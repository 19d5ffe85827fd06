"""Records of PolicyService and AuditService as the SDK gives them: frozen, without secrets."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from qkms_client.enums import Grade
from qkms_client.types import Header


@dataclass(frozen=True)
class RateLimit:
    """A token bucket for each principal and rule, at each node: `burst` at once, `per_minute` on average."""

    per_minute: int
    burst: int


@dataclass(frozen=True)
class Rule:
    """One rule of a policy. Patterns know `*`. Conditions (the last three) are for allows only."""

    actions: tuple[str, ...]
    keys: tuple[str, ...] = ("*",)
    allow: bool = True
    context_keys: tuple[str, ...] = ()
    grades: tuple[Grade, ...] = ()
    rate_limit: RateLimit | None = None


@dataclass(frozen=True)
class Policy:
    """A named list of rules; a role gives it to principals."""

    name: str
    description: str
    rules: tuple[Rule, ...]
    create_time: datetime | None
    update_time: datetime | None
    etag: str
    revision: int
    replayed: bool = field(default=False, compare=False)
    header: Header | None = field(default=None, compare=False, repr=False)

    @property
    def policy_id(self) -> str:
        """The name without its collection."""
        return self.name.removeprefix("policies/")


@dataclass(frozen=True)
class AccessRole:
    """Which policies the principals that match `principals` (patterns) have."""

    name: str
    description: str
    principals: tuple[str, ...]
    policies: tuple[str, ...]
    create_time: datetime | None
    update_time: datetime | None
    etag: str
    revision: int
    replayed: bool = field(default=False, compare=False)
    header: Header | None = field(default=None, compare=False, repr=False)

    @property
    def role_id(self) -> str:
        """The name without its collection."""
        return self.name.removeprefix("roles/")


@dataclass(frozen=True)
class Tenant:
    """Quotas (0: none) on the keys whose id begins with `{tenant_id}.`.

    `keys`, `versions` and `sessions` are what there is: of a tenant that was read, not of one just written.
    """

    name: str
    description: str
    principals: tuple[str, ...]
    max_keys: int
    max_versions: int
    max_sessions: int
    keys: int
    versions: int
    sessions: int
    create_time: datetime | None
    update_time: datetime | None
    etag: str
    revision: int
    replayed: bool = field(default=False, compare=False)
    header: Header | None = field(default=None, compare=False, repr=False)

    @property
    def tenant_id(self) -> str:
        """The name without its collection."""
        return self.name.removeprefix("tenants/")


@dataclass(frozen=True)
class Grant:
    """A right that `grantor` lends to `grantee` until `expire_time`."""

    name: str
    grantor: str
    grantee: str
    actions: tuple[str, ...]
    keys: tuple[str, ...]
    context_keys: tuple[str, ...]
    create_time: datetime | None
    expire_time: datetime | None
    revision: int
    replayed: bool = field(default=False, compare=False)
    header: Header | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class ConsideredRule:
    """A rule or grant that names the principal; `mismatch` says why it does not match."""

    rule: str
    allow: bool
    matches: bool
    mismatch: str


@dataclass(frozen=True)
class Explanation:
    """Which rule decides a call and why; `rule` empty: none, which is a no."""

    allowed: bool
    rule: str
    reason: str
    rate_limited_by: tuple[str, ...]
    considered: tuple[ConsideredRule, ...]
    header: Header | None = field(default=None, compare=False, repr=False)


class AuditChain(Enum):
    """MUTATIONS is the ledger's, the same at every node; CALLS is the answering node's own."""

    MUTATIONS = 1
    CALLS = 2


@dataclass(frozen=True)
class AuditDecision:
    """What was decided on one action of a call."""

    action: str
    key: str
    allowed: bool
    rule: str


@dataclass(frozen=True)
class AuditRecord:
    """One record. `line` is what stands in the chain; `damage` what is wrong with it and where, empty: nothing."""

    number: int
    time: datetime | None
    principal: str
    method: str
    resource: str
    code: str
    request_id: str
    revision: int
    decisions: tuple[AuditDecision, ...]
    context_keys: tuple[str, ...]
    line: bytes = field(repr=False)
    damage: str = ""


@dataclass(frozen=True)
class AuditVerdict:
    """What a check of one chain found. `broken_record`: the first that is wrong, and `problem` how."""

    chain: str
    intact: bool
    records: int
    anchors: int
    broken_record: int
    problem: str


@dataclass(frozen=True)
class AuditKey:
    """The public halves of a node's audit key, in the protocol's encoding."""

    key_id: str
    node_id: str
    ed25519_public_key: bytes
    mldsa65_public_key: bytes
    register_time: datetime | None


@dataclass(frozen=True)
class AuditAnchor:
    """A signed head of a node's calls; with `time` where it is in the ledger."""

    node_id: str
    key_id: str
    length: int
    head: bytes
    ed25519_signature: bytes
    mldsa65_signature: bytes
    time: datetime | None
    revision: int


@dataclass(frozen=True)
class AuditHeads:
    """The ends of both chains at one node; `failure` says why it cannot write its audit."""

    node_id: str
    mutations_length: int
    mutations_head: bytes
    calls: AuditAnchor
    failure: str
