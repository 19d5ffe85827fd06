"""SDK and command line of qkms.

    with Client.from_profile() as client:
        client.create_key("payments")
        sealed = client.encrypt("payments", b"42 EUR", context={"tenant": "a"})
        client.decrypt("payments", sealed, context={"tenant": "a"}).plaintext

        client.batch([batch.encrypt("payments", row) for row in rows])

`Client` blocks, `AsyncClient` is for asyncio; both have the same calls. Errors are
in `qkms_client.errors`, records in `qkms_client.types`.
"""

from qkms_client.access_types import (
    AccessRole,
    AuditAnchor,
    AuditChain,
    AuditRecord,
    AuditVerdict,
    Explanation,
    Grant,
    Policy,
    RateLimit,
    Rule,
    Tenant,
)
from qkms_client.aio.client import AsyncClient
from qkms_client.aio.watch import AsyncKeyWatch
from qkms_client.consistency import STALE_OK, Consistency, at_least, bounded, linearizable
from qkms_client.errors import OutcomeUnknown, QkmsError
from qkms_client.invitation import Invitation
from qkms_client.pending import PendingSession
from qkms_client.profile import Profile, load_profile
from qkms_client.secret import (
    DataKey,
    Decapsulated,
    Decrypted,
    DerivedKey,
    Encapsulated,
    EstablishedSession,
    ExportedMaterial,
)
from qkms_client.sync.client import Client
from qkms_client.sync.watch import KeyWatch
from qkms_client.types import (
    Activation,
    AlarmSeverity,
    Algorithm,
    Encrypted,
    EventType,
    Grade,
    Header,
    ImportParameters,
    Key,
    KeyEvent,
    KeyState,
    KeyVersion,
    Link,
    LinkAlarm,
    LinkAlarmKind,
    LinkKme,
    LinkSample,
    Mac,
    Member,
    MemberChange,
    MemberRole,
    NodeStatus,
    PublicKey,
    PublicKeyFormat,
    Rewrapped,
    RootRotation,
    Rotation,
    Session,
    Signature,
    Staging,
    Verification,
    VersionState,
)

__all__ = [
    "STALE_OK",
    "AccessRole",
    "Activation",
    "AlarmSeverity",
    "Algorithm",
    "AsyncClient",
    "AsyncKeyWatch",
    "AuditAnchor",
    "AuditChain",
    "AuditRecord",
    "AuditVerdict",
    "Client",
    "Consistency",
    "DataKey",
    "Decapsulated",
    "Decrypted",
    "DerivedKey",
    "Encapsulated",
    "Encrypted",
    "EstablishedSession",
    "EventType",
    "Explanation",
    "ExportedMaterial",
    "Grade",
    "Grant",
    "Header",
    "ImportParameters",
    "Invitation",
    "Key",
    "KeyEvent",
    "KeyState",
    "KeyVersion",
    "KeyWatch",
    "Link",
    "LinkAlarm",
    "LinkAlarmKind",
    "LinkKme",
    "LinkSample",
    "Mac",
    "Member",
    "MemberChange",
    "MemberRole",
    "NodeStatus",
    "OutcomeUnknown",
    "PendingSession",
    "Policy",
    "Profile",
    "PublicKey",
    "PublicKeyFormat",
    "QkmsError",
    "RateLimit",
    "Rewrapped",
    "RootRotation",
    "Rotation",
    "Rule",
    "Session",
    "Signature",
    "Staging",
    "Tenant",
    "Verification",
    "VersionState",
    "at_least",
    "bounded",
    "linearizable",
    "load_profile",
]
