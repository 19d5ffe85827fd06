"""Which session carries which key of a tunnel, so that both ends know it without talking to each other. Pure.

Time is cut into rotations of one period, by each end's clock; the clocks must agree to a small part of it.
Within a rotation, attempts are numbered: an end that was restarted has lost its part of a session, and the
next attempt takes its place. Session ids are UUIDs of version 5 (RFC 9562) over names, rotation and attempt: no
secrets. The end whose principal sorts first offers, the other joins.

    key = HKDF-Expand(exporter key of the session, LP(label, tunnel, rotation, attempt), 32)
"""

from dataclasses import dataclass
from uuid import UUID, uuid5

from qkms import labels
from qkms.hkdf import expand
from qkms_client.secret import EstablishedSession

KEY_BYTES = 32
_NAMESPACE = UUID("6d1f3a4e-6a0e-5c1b-9a39-7a4f0f5d2c11")


@dataclass(frozen=True)
class Tunnel:
    """What the key protects: its name, the same at both ends, and the principals of the two agents."""

    name: str
    own: str
    peer: str

    @property
    def offers(self) -> bool:
        """Whether this end offers the sessions."""
        return self.own < self.peer


@dataclass(frozen=True, order=True)
class Turn:
    """One attempt of one rotation."""

    rotation: int
    attempt: int = 0

    def next_attempt(self) -> "Turn":
        """The one that takes its place."""
        return Turn(self.rotation, self.attempt + 1)

    def __str__(self) -> str:
        return f"{self.rotation}.{self.attempt}"


@dataclass(frozen=True, repr=False, eq=False)
class AgreedKey:
    """A key of 32 bytes that both ends hold; `key_id` names it in logs and is no secret."""

    key_id: str
    key: bytes
    grade: str

    def __repr__(self) -> str:
        return f"AgreedKey({self.key_id}, {self.grade}, redacted)"


def rotation_at(now_s: float, period_s: float) -> int:
    """The rotation that this moment (Unix seconds) belongs to."""
    return int(now_s // period_s)


def next_rotation_s(now_s: float, period_s: float) -> float:
    """Seconds until the next rotation begins."""
    return (rotation_at(now_s, period_s) + 1) * period_s - now_s


def session_id(tunnel: Tunnel, turn: Turn) -> UUID:
    """The session that carries this turn's key; the same at both ends."""
    first, second = sorted((tunnel.own, tunnel.peer))
    parts = labels.lp(labels.AGENT_SESSION, tunnel.name, first, second, turn.rotation, turn.attempt)
    return uuid5(_NAMESPACE, parts.hex())


def key_of(established: EstablishedSession, tunnel: Tunnel, turn: Turn) -> AgreedKey:
    """The tunnel's key under a session that both ends have confirmed."""
    info = labels.lp(labels.AGENT_KEY, tunnel.name, turn.rotation, turn.attempt)
    key = expand(established.exporter_key(), info, KEY_BYTES)
    return AgreedKey(f"{tunnel.name}/{turn}", key, established.grade.name)
