"""Client: the blocking SDK."""

from pathlib import Path
from types import TracebackType
from typing import Self

from qkms_client.profile import load_profile
from qkms_client.sync.access import AccessCalls
from qkms_client.sync.audit import AuditCalls
from qkms_client.sync.batch import BatchCalls
from qkms_client.sync.cluster import ClusterCalls
from qkms_client.sync.crypto import CryptoCalls
from qkms_client.sync.keys import KeyCalls
from qkms_client.sync.lifecycle import LifecycleCalls
from qkms_client.sync.members import MemberCalls
from qkms_client.sync.roots import RootCalls
from qkms_client.sync.sessions import SessionCalls
from qkms_client.sync.signing import SigningCalls
from qkms_client.sync.tenants import TenantCalls


class Client(
    KeyCalls,
    LifecycleCalls,
    CryptoCalls,
    SigningCalls,
    BatchCalls,
    SessionCalls,
    ClusterCalls,
    MemberCalls,
    AccessCalls,
    TenantCalls,
    AuditCalls,
    RootCalls,
):
    """A connection to the cluster as one principal. Safe for use by several threads.

    Retries at other nodes by itself until the call's deadline; a mutation is only ever
    repeated with its own request_id. Reads see at least what this client has seen before.
    """

    @classmethod
    def from_profile(cls, path: str | Path | None = None) -> Self:
        """A client from a profile file: `path`, else $QKMS_PROFILE, else ~/.config/qkms/profile.toml.

        Raises ProfileInvalid.
        """
        return cls(load_profile(path))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
