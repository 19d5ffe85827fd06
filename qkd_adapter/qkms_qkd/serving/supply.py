"""What a face for SAEs hands out keys from, and the refusals that it answers with.

A KME and a node of the cluster each bring a `Supply` of their own; the faces know HTTP and the two protocols, a
supply knows neither. Every method may raise the three errors below and nothing else.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from qkms_qkd.etsi014.messages import EXTENSION_NOT_MET, KEYS_NOT_FOUND, SIZE_NOT_MULTIPLE_OF_8
from qkms_qkd.identity import PeerCertificate
from qkms_qkd.link import QkdKey


class RefusedError(Exception):
    """The request is wrong: status 400 with this message, and our stable code for the audit."""

    code = "REQUEST_REFUSED"


class KeysNotFoundError(RefusedError):
    """A key that was asked for is not held, or not any more."""

    code = "SAE_KEY_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__(KEYS_NOT_FOUND)


class ExtensionNotMetError(RefusedError):
    """A mandatory extension that is known cannot be had now."""

    code = "EXTENSION_NOT_MET"

    def __init__(self) -> None:
        super().__init__(EXTENSION_NOT_MET)


class StrangerError(Exception):
    """The caller is no party of what it asks for: status 401 without a body."""

    code = "PERMISSION_DENIED"


class UnavailableError(Exception):
    """The request is right but cannot be served now: status 503 with this message and our stable code."""

    def __init__(self, code: str, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_s = retry_after_s


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the SAE that the certificate speaks for, and the certificate's principal."""

    sae: str
    principal: str


@dataclass(frozen=True, slots=True)
class Terms:
    """What a supply gives at most and at least; sizes in bits.

    `additional`: slave SAEs beside the one of the path. `extensions`: names of mandatory extensions it knows.
    `algorithm`: what SKIP says that keys come from.
    """

    size_bits: int
    min_size_bits: int
    max_size_bits: int
    max_stored: int
    max_per_request: int
    additional: int = 0
    extensions: frozenset[str] = frozenset()
    algorithm: str = "QKD"

    def check(self, number: int, size_bits: int) -> None:
        """Raises RefusedError unless this many keys of this size may be asked for at once."""
        if size_bits % 8:
            raise RefusedError(SIZE_NOT_MULTIPLE_OF_8)
        if not self.min_size_bits <= size_bits <= self.max_size_bits:
            raise RefusedError(f"size shall be from {self.min_size_bits} to {self.max_size_bits}")
        if not 1 <= number <= self.max_per_request:
            raise RefusedError(f"number shall be from 1 to {self.max_per_request}")

    def check_ids(self, key_ids: Sequence[str]) -> None:
        """Raises RefusedError unless these keys may be asked for at once."""
        if not 1 <= len(key_ids) <= self.max_per_request:
            raise RefusedError(f"key_IDs shall name 1 to {self.max_per_request} keys")
        if len(set(key_ids)) != len(key_ids):
            raise RefusedError("key_IDs shall not name a key twice")


@dataclass(frozen=True, slots=True)
class Standing:
    """How a pair of SAEs stands now. `stored`: keys of the default size that may be drawn."""

    source_kme: str
    target_kme: str
    stored: int
    extension: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Demand:
    """Keys that a master wants. `slaves`: that of the path first. `mandatory`: extensions, by name.

    `names_relays`: whether the answer can say who relayed a key; where it cannot, none may have.
    """

    slaves: tuple[str, ...]
    number: int
    size_bits: int
    mandatory: Mapping[str, Any] = field(default_factory=dict)
    names_relays: bool = True


@dataclass(frozen=True, slots=True)
class Supplied:
    """One key, and what `key_extension` says of it."""

    key: QkdKey
    extension: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """Keys on their way to a party, and what `key_container_extension` says of them."""

    keys: list[Supplied]
    extension: dict[str, Any] | None = None


class Supply(Protocol):
    """Keys for pairs of SAEs, each delivered once to each party."""

    @property
    def terms(self) -> Terms:
        """The same for every pair."""
        ...

    def caller(self, certificate: PeerCertificate) -> Caller | None:
        """The SAE, served here, that a certificate speaks for; None for anybody else."""
        ...

    def remotes(self, caller: Caller) -> list[str]:
        """The SAEs that the caller may share keys with."""
        ...

    async def standing(self, caller: Caller, slave: str) -> Standing:
        """How the pair of the caller, as master, with this slave stands."""
        ...

    async def draw(self, caller: Caller, demand: Demand) -> Delivered:
        """Fresh keys for the caller as master, held for every slave."""
        ...

    async def collect(self, caller: Caller, master: str, key_ids: Sequence[str]) -> Delivered:
        """The keys of these ids (UUIDs, lower case) that `master` drew for the caller; all of them or none."""
        ...

    def entropy(self, caller: Caller, size_bytes: int) -> bytes:
        """So many random bytes."""
        ...
