"""Results that hold a secret: shown redacted, never pickled, not compared by ==.

The bytes are there for who asks for them by name. Python cannot wipe them:
let go of the object when done.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NoReturn

from qkms.session import Party, SessionKeys, fingerprint
from qkms_client.types import Grade, Header


class _Redacted:
    """Keeps a secret out of logs, tracebacks, pickles and caches by accident."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(redacted)"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} holds a secret and is not pickled")


@dataclass(frozen=True, repr=False, eq=False)
class DataKey(_Redacted):
    """A data key of 32 bytes (`plaintext`; empty when it was not asked for) and its encrypted form."""

    plaintext: bytes
    ciphertext: bytes
    version: int
    grade: Grade
    header: Header | None = field(default=None)


@dataclass(frozen=True, repr=False, eq=False)
class DerivedKey(_Redacted):
    """A derived key. The same key, version, context and length give the same one."""

    key: bytes
    version: int
    grade: Grade
    header: Header | None = field(default=None)


@dataclass(frozen=True, repr=False, eq=False)
class Encapsulated(_Redacted):
    """A fresh shared secret of 32 bytes, and the ciphertext for the holder of the key version."""

    shared_secret: bytes
    ciphertext: bytes
    version: int
    grade: Grade
    header: Header | None = field(default=None)


@dataclass(frozen=True, repr=False, eq=False)
class Decapsulated(_Redacted):
    """The shared secret (32 bytes) of a ciphertext. Of one that was altered it is another secret."""

    shared_secret: bytes
    version: int
    header: Header | None = field(default=None)


@dataclass(frozen=True, repr=False, eq=False)
class Decrypted(_Redacted):
    """A plaintext, and the version that opened it."""

    plaintext: bytes
    version: int
    header: Header | None = field(default=None)


@dataclass(frozen=True, repr=False, eq=False)
class ExportedMaterial(_Redacted):
    """The material of an exported version, as import takes it: a private key as PKCS #8 in DER."""

    material: bytes
    version: int
    grade: Grade
    header: Header | None = field(default=None)


class EstablishedSession(_Redacted):
    """A session both ends have confirmed: each has shown that it holds the same keys.

    `party` is this end's part. The keys serve until `expire_time`, and for this pair only.
    """

    def __init__(
        self,
        keys: SessionKeys,
        *,
        session_id: str,
        party: Party,
        initiator: str,
        responder: str,
        grade: Grade,
        root_epoch: int,
        expire_time: datetime | None,
    ) -> None:
        self._keys = keys
        self.session_id = session_id
        self.party = party
        self.initiator = initiator
        self.responder = responder
        self.grade = grade
        self.root_epoch = root_epoch
        self.expire_time = expire_time

    @property
    def peer(self) -> str:
        """The principal at the other end."""
        return self.responder if self.party is Party.INITIATOR else self.initiator

    def fingerprint(self) -> str:
        """32 hexadecimal digits, equal on both ends; may be shown and compared by voice."""
        return fingerprint(self._keys)

    def send_key(self) -> bytes:
        """The key (32 bytes) for what this end sends; the peer's receive_key. Secret."""
        keys = self._keys
        return keys.initiator_to_responder if self.party is Party.INITIATOR else keys.responder_to_initiator

    def receive_key(self) -> bytes:
        """The key (32 bytes) for what this end receives; the peer's send_key. Secret."""
        keys = self._keys
        return keys.responder_to_initiator if self.party is Party.INITIATOR else keys.initiator_to_responder

    def exporter_key(self) -> bytes:
        """The key (32 bytes) from which to derive further ones, equal on both ends. Secret."""
        return self._keys.exporter

    def expired(self, now: datetime | None = None) -> bool:
        """Whether the session's time is over, by `now` or else this machine's clock."""
        return self.expire_time is not None and (now or datetime.now(UTC)) >= self.expire_time

    def __repr__(self) -> str:
        return (
            f"EstablishedSession({self.session_id}, peer={self.peer}, grade={self.grade}, "
            f"fingerprint={self.fingerprint()}, keys redacted)"
        )
