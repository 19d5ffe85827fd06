"""A ledger in memory, with commands made short; shared by the ledger's tests."""

import hashlib
import itertools
from dataclasses import dataclass, field

from qkms_node.keys.grade import Grade
from qkms_node.ledger import commands as c
from qkms_node.ledger.apply import apply
from qkms_node.ledger.records import ShareRecord
from qkms_node.ledger.state import State

HOUR_MS = 3600 * 1000
NODES = ("node-1", "node-2", "node-3")
_numbers = itertools.count(1)


def request(tag: str = "", principal: str = "alice") -> c.Request:
    """A request; the same tag gives the same identity, no tag a fresh one."""
    tag = tag or f"fresh-{next(_numbers)}"
    return c.Request(tag, hashlib.sha256(f"{principal}{tag}".encode()).digest(), principal)


def new(version: int, epoch: int = 1) -> c.NewVersion:
    return c.NewVersion(version, epoch, b"wrapped-%d" % version, b"check-%d" % version)


def share(
    node_id: str,
    sealed: bytes = b"sealed",
    qkd_key_id: str = "",
    relays: tuple[str, ...] = (),
    qber: float = 0.0,
) -> ShareRecord:
    return ShareRecord(node_id, "node-1", qkd_key_id, b"ct", b"x", sealed, relays, qber)


@dataclass
class World:
    """A state and a clock."""

    state: State = field(default_factory=State)
    time_ms: int = 1_000_000

    def do(self, command: c.AnyCommand, later_ms: int = 1) -> c.Outcome:
        self.time_ms += later_ms
        # Through the codec, as in the log.
        return apply(self.state, c.decode_command(c.encode_command(command)), self.time_ms)

    def stage(
        self,
        epoch: int,
        base: int | None = None,
        grade: Grade = Grade.QKD_PQC,
        ids: tuple[str, ...] = (),
        fallback: str = "",
        relays: tuple[str, ...] = (),
        qber: float = 0.0,
    ) -> c.Outcome:
        base = self.state.active_epoch if base is None else base
        ids = ids or ((f"q{epoch}",) if grade is not Grade.PQC else ())
        key_id = ids[0] if ids else ""
        shares = {n: share(n, qkd_key_id=key_id, relays=relays, qber=qber) for n in NODES[1:]}
        commitment = b"commitment-%d" % epoch
        return self.do(c.StageRoot(epoch, base, grade, "node-1", commitment, ids, NODES, shares, fallback))

    def confirm(self, epoch: int, *nodes: str) -> list[c.Outcome]:
        return [self.do(c.ConfirmRoot(epoch, n, b"commitment-%d" % epoch)) for n in nodes]

    def root(
        self,
        epoch: int,
        grade: Grade = Grade.QKD_PQC,
        fallback: str = "",
        relays: tuple[str, ...] = (),
        qber: float = 0.0,
    ) -> None:
        assert self.stage(epoch, grade=grade, fallback=fallback, relays=relays, qber=qber).changed
        self.confirm(epoch, *NODES[:2])
        assert self.do(c.ActivateRoot(epoch)).changed

    def create(self, key_id: str = "payments", tag: str = "", required: int = 0) -> c.Outcome:
        command = c.CreateKey(
            request(tag), key_id, "AES_256_GCM", required, 30_000, {}, new(1, self.state.active_epoch)
        )
        return self.do(command)

    def rotate(self, expected: int, tag: str = "", key_id: str = "payments") -> c.Outcome:
        version = self.state.keys[key_id].version_count + 1
        return self.do(c.RotateKey(request(tag), key_id, expected, new(version, self.state.active_epoch)))

    def stage_version(self, key_id: str = "payments", tag: str = "") -> c.Outcome:
        """Stages the next version of a key, with NODES as voters."""
        version = self.state.keys[key_id].version_count + 1
        return self.do(c.StageVersion(request(tag), key_id, new(version, self.state.active_epoch), NODES))

    def witness(self, number: int, *nodes: str, key_id: str = "payments") -> list[c.Outcome]:
        """The evidence of `nodes` that a version opens."""
        check = self.state.versions[key_id, number].check_value
        return [self.do(c.ConfirmVersion(key_id, number, n, check, self.state.revision)) for n in nodes]

    def validate(self, number: int, key_id: str = "payments") -> c.Outcome:
        return self.do(c.ValidateVersion(request(), key_id, number))

    def activate(self, number: int, expected: int, key_id: str = "payments", later_ms: int = 1) -> c.Outcome:
        return self.do(c.ActivateVersion(request(), key_id, number, expected), later_ms)


def seeded() -> World:
    """A world with root epoch 1 active."""
    world = World()
    world.root(1)
    return world
