"""Records of access and audit: who may do what, and which audit keys and anchors there are.

As all records: frozen, times and durations in milliseconds, no secret.
"""

from qkms_node.ledger.records import Record


class RuleRecord(Record, frozen=True):
    """One rule of a policy. Patterns know `*`. `grades` are numbers of Grade; empty: any.

    `per_minute` 0: no rate limit; else a bucket of `burst` calls refills at that rate.
    """

    actions: tuple[str, ...]
    keys: tuple[str, ...] = ("*",)
    effect: str = "allow"
    context_keys: tuple[str, ...] = ()
    grades: tuple[int, ...] = ()
    per_minute: int = 0
    burst: int = 0


class PolicyRecord(Record, frozen=True):
    """A named list of rules; roles give it to principals. `revision` is that of the last change."""

    policy_id: str
    description: str
    rules: tuple[RuleRecord, ...]
    create_ms: int
    update_ms: int
    revision: int


class RoleRecord(Record, frozen=True):
    """Which policies the principals that match have."""

    role_id: str
    description: str
    principals: tuple[str, ...]
    policies: tuple[str, ...]
    create_ms: int
    update_ms: int
    revision: int


class TenantRecord(Record, frozen=True):
    """Quotas on the key_ids that begin with `{tenant_id}.` and on sessions; 0: no limit."""

    tenant_id: str
    description: str
    principals: tuple[str, ...]
    max_keys: int
    max_versions: int
    max_sessions: int
    create_ms: int
    update_ms: int
    revision: int


class GrantRecord(Record, frozen=True):
    """A right that `grantor` lends to `grantee` until `expire_ms`; no wildcards."""

    grant_id: str
    grantor: str
    grantee: str
    actions: tuple[str, ...]
    keys: tuple[str, ...]
    context_keys: tuple[str, ...]
    create_ms: int
    expire_ms: int
    revision: int


class AuditKeyRecord(Record, frozen=True):
    """The public halves (32 and 1952 bytes) of a node's audit key, by its fingerprint."""

    key_id: str
    node_id: str
    ed25519_public: bytes
    mldsa65_public: bytes
    register_ms: int


class AnchorRecord(Record, frozen=True):
    """A node's chain of calls as it was at `length` records, signed by its audit key."""

    node_id: str
    key_id: str
    length: int
    head: bytes
    ed25519_signature: bytes
    mldsa65_signature: bytes
    time_ms: int = 0
    revision: int = 0
