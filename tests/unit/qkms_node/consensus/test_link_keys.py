"""Traffic between members under QKD keys: agreed on, kept over a flap, replaced, demanded. Real TLS sockets."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.qkms_node.consensus.test_consensus_mesh import Recorder, run

from qkms_node.consensus.frames import SEALED, FrameReader, FrameRejected, frame, framed
from qkms_node.consensus.mesh import Mesh
from qkms_node.consensus.messages import Forward, Hello, KeyAnswer, KeyOffer, Message, Probe
from qkms_node.consensus.peer_keys import Drawn
from qkms_node.consensus.sealed_frames import Opening, Sealing
from qkms_node.consensus.settings import Limits, LinkSealing, Timing
from qkms_node.keys.node_link import LinkCipher
from qkms_node.keys.secret import QkdSecret

TIMING = Timing(handshake_s=2.0, reconnect_max_s=0.2)
SEALING = LinkSealing(retry_min_s=0.05, retry_max_s=0.1)


class Quantum:
    """The QKD links between all members: what one draws, the named peer collects once."""

    def __init__(self) -> None:
        self.problem = ""
        self.lies = False
        self.drawn: list[str] = []
        self.stored: dict[tuple[str, str, str], bytes] = {}

    def at(self, me: str) -> "Ends":
        return Ends(self, me)


class Ends:
    """PeerKeys of one member; answers at once, on the engine's thread."""

    def __init__(self, quantum: Quantum, me: str) -> None:
        self._quantum, self._me = quantum, me

    def draw(self, peer: str, done: Callable[[Drawn | str], None]) -> None:
        if self._quantum.problem:
            done(self._quantum.problem)
            return
        key_id = f"key-{len(self._quantum.drawn)}"
        self._quantum.drawn.append(f"{self._me}>{peer}")
        secret = key_id.encode().ljust(32)
        self._quantum.stored[self._me, peer, key_id] = secret
        done(Drawn(key_id, QkdSecret(secret)))

    def collect(self, peer: str, key_id: str, done: Callable[[QkdSecret | str], None]) -> None:
        found = self._quantum.stored.pop((peer, self._me, key_id), None)
        if found and self._quantum.lies:
            found = bytes([found[0] ^ 1]) + found[1:]
        done(QkdSecret(found) if found else "no such key")


class Node(Recorder):
    """A mesh with its reports."""

    def __init__(
        self, me: str, world: "World", keys: Ends | None, sealing: LinkSealing, limits: Limits | None
    ) -> None:
        self.reports: list[tuple[str, dict[str, Any]]] = []
        tls = world.authority.node(me)
        super().__init__(
            Mesh(
                me,
                "dev",
                tls,
                TIMING,
                limits or Limits(),
                lambda event, **f: self.reports.append((event, f)),
                keys=keys,
                sealing=sealing,
            )
        )
        self.mesh.admit(world.members)
        self.mesh.bind(world.members[me])

    def told(self, event: str) -> list[dict[str, Any]]:
        return [fields for name, fields in self.reports if name == event]


class World:
    """Two members and what is between them."""

    def __init__(self, authority: Any, members: dict[str, str]) -> None:
        self.authority, self.members, self.quantum = authority, dict(list(members.items())[:2]), Quantum()
        self.nodes: dict[str, Node] = {}

    def start(
        self, me: str, *, keys: bool = True, sealing: LinkSealing = SEALING, limits: Limits | None = None
    ) -> Node:
        if me in self.nodes:
            self.nodes[me].mesh.close()
        self.nodes[me] = Node(me, self, self.quantum.at(me) if keys else None, sealing, limits)
        return self.nodes[me]

    def run(self, until: Callable[[], object]) -> None:
        run(list(self.nodes.values()), until)

    def up(self) -> bool:
        return all(node.up for node in self.nodes.values())

    def sealed(self) -> bool:
        return self.up() and all(node.mesh.sealed_peers for node in self.nodes.values())

    def cut(self) -> None:
        """Every connection is lost; the members live on."""
        one = self.nodes["node-1"]
        one.mesh.admit({})
        self.run(lambda: not self.nodes["node-2"].up)
        one.mesh.admit(self.members)


@pytest.fixture
def world(authority: Any, three_members: dict[str, str]) -> Iterator[World]:
    made = World(authority, three_members)
    yield made
    for node in made.nodes.values():
        node.mesh.close()


def deliver(world: World, sender: str, receiver: str, number: int) -> None:
    """A burst arrives whole and in order."""
    sent: list[Message] = [Probe(number, seq) for seq in range(200)]
    world.nodes[receiver].messages.clear()
    world.nodes[sender].mesh.send(receiver, sent)
    world.run(lambda: len(world.nodes[receiver].messages) == len(sent))
    assert [m for _, m in world.nodes[receiver].messages] == sent


def test_each_direction_gets_a_key_of_its_own_and_carries_on_under_it(world: World) -> None:
    one, two = world.start("node-1"), world.start("node-2")
    world.run(world.up)
    deliver(world, "node-1", "node-2", 1)
    world.run(world.sealed)
    deliver(world, "node-1", "node-2", 2)
    deliver(world, "node-2", "node-1", 3)
    assert sorted(world.quantum.drawn) == ["node-1>node-2", "node-2>node-1"]
    assert not world.quantum.stored, "both keys were collected"
    assert [len(node.told("consensus.link_sealed")) for node in (one, two)] == [1, 1]


def test_a_reconnection_spends_no_key_and_a_restart_spends_what_was_lost(world: World) -> None:
    world.start("node-1")
    world.start("node-2")
    world.run(world.sealed)
    # Losing the route, as in a partition, but staying members.
    for node, peer in (("node-1", "node-2"), ("node-2", "node-1")):
        mesh = world.nodes[node].mesh
        mesh._take_down(peer, mesh._routes[peer], "the test cuts it")
    world.run(world.sealed)
    deliver(world, "node-1", "node-2", 1)
    assert len(world.quantum.drawn) == 2, "the same keys, under fresh nonces"
    world.start("node-2")
    world.run(world.sealed)
    deliver(world, "node-1", "node-2", 2)
    deliver(world, "node-2", "node-1", 3)
    assert sorted(world.quantum.drawn) == ["node-1>node-2"] * 2 + ["node-2>node-1"] * 2


def test_a_removed_member_that_returns_gets_another_key(world: World) -> None:
    world.start("node-1")
    world.start("node-2")
    world.run(world.sealed)
    world.cut()
    world.run(world.sealed)
    assert world.quantum.drawn.count("node-1>node-2") == 2


@pytest.mark.parametrize("bound", [{"rekey_bytes": 5_000}, {"rekey_s": 0.2}], ids=str)
def test_a_key_is_replaced_in_use(world: World, bound: dict[str, Any]) -> None:
    sealing = LinkSealing(retry_min_s=0.05, retry_max_s=0.1, **bound)
    one = world.start("node-1", sealing=sealing)
    world.start("node-2")
    world.run(world.sealed)
    for number in range(20):
        deliver(world, "node-1", "node-2", number)
    world.run(lambda: len(one.told("consensus.link_sealed")) >= 3)
    deliver(world, "node-1", "node-2", 21)
    assert one.losses == 0


def test_while_no_key_can_be_had_the_old_one_serves_on(world: World) -> None:
    one = world.start("node-1", sealing=LinkSealing(rekey_s=0.1, retry_min_s=0.05, retry_max_s=0.1))
    world.start("node-2")
    world.run(world.sealed)
    world.quantum.problem = "the fibre is cut"
    world.run(lambda: one.told("consensus.link_key_missing"))
    deliver(world, "node-1", "node-2", 1)
    assert one.mesh.sealed_peers == {"node-2"}
    assert one.losses == 0


def test_preferring_keys_a_link_without_any_stands_on_tls_until_there_are_some(world: World) -> None:
    world.quantum.problem = "the fibre is cut"
    one = world.start("node-1")
    world.start("node-2")
    world.run(world.up)
    deliver(world, "node-1", "node-2", 1)
    world.run(lambda: one.told("consensus.link_key_missing"))
    assert not one.mesh.sealed_peers
    world.quantum.problem = ""
    world.run(world.sealed)
    assert len(one.told("consensus.link_key_missing")) == 1, "said once, not with each attempt"


def test_a_key_that_differs_at_the_two_ends_is_not_taken_up(world: World) -> None:
    world.quantum.lies = True
    one = world.start("node-1")
    two = world.start("node-2")
    world.run(world.up)
    world.run(lambda: one.told("consensus.link_key_missing") and two.told("consensus.link_key_missing"))
    deliver(world, "node-1", "node-2", 1)
    deliver(world, "node-2", "node-1", 2)
    assert not one.mesh.sealed_peers
    assert not two.mesh.sealed_peers
    assert "node-2 holds another key" in one.told("consensus.link_key_missing")[0]["problem"]
    world.quantum.lies = False
    world.run(world.sealed)
    deliver(world, "node-1", "node-2", 3)
    assert one.losses == two.losses == 0


def test_a_replacement_that_differs_leaves_the_key_in_use(world: World) -> None:
    one = world.start("node-1", sealing=LinkSealing(rekey_s=0.1, retry_min_s=0.05, retry_max_s=0.1))
    world.start("node-2")
    world.run(world.sealed)
    world.quantum.lies = True
    world.run(lambda: one.told("consensus.link_key_missing"))
    deliver(world, "node-1", "node-2", 1)
    assert one.mesh.sealed_peers == {"node-2"}
    assert one.losses == 0


def test_requiring_keys_nothing_passes_without(world: World) -> None:
    world.quantum.problem = "the fibre is cut"
    one = world.start("node-1", sealing=LinkSealing(required=True, retry_min_s=0.05, retry_max_s=0.1))
    two = world.start("node-2")
    world.run(lambda: one.told("consensus.link_key_missing") and two.told("consensus.link_key_missing"))
    assert not one.up
    assert not two.up, "it waits for the key because the other end requires one"
    assert not one.losses
    world.quantum.problem = ""
    world.run(world.sealed)
    deliver(world, "node-1", "node-2", 1)
    deliver(world, "node-2", "node-1", 2)


def test_a_member_without_qkd_is_told_what_to_change(world: World) -> None:
    world.start("node-1", sealing=LinkSealing(required=True, retry_min_s=0.05, retry_max_s=0.1))
    two = world.start("node-2", keys=False)
    world.run(lambda: any("prefer_qkd" in f["problem"] for f in two.told("consensus.stranger_refused")))
    assert not two.up


def test_a_member_that_only_prefers_keys_works_with_one_that_has_none(world: World) -> None:
    one = world.start("node-1")
    world.start("node-2", keys=False)
    world.run(lambda: world.up() and one.told("consensus.link_key_missing"))
    assert "it has no QKD link" in one.told("consensus.link_key_missing")[0]["problem"]
    deliver(world, "node-1", "node-2", 1)
    deliver(world, "node-2", "node-1", 2)


def test_frames_as_large_as_allowed_pass_sealed(world: World) -> None:
    limits = Limits(frame_bytes=300_000)
    world.start("node-1", limits=limits)
    two = world.start("node-2", limits=limits)
    world.run(world.sealed)
    sent: list[Message] = [Forward(seq, [b"x" * 299_000]) for seq in range(8)]
    world.nodes["node-1"].mesh.send("node-2", sent)
    world.run(lambda: len(two.messages) == 8)
    assert [m for _, m in two.messages] == sent


# The reader, byte by byte.


def ends() -> tuple[Sealing, Opening]:
    def cipher() -> LinkCipher:
        return LinkCipher(
            QkdSecret(bytes(32)),
            cluster_id="dev",
            sender="node-1",
            receiver="node-2",
            key_id="k",
            sender_nonce=bytes(32),
            receiver_nonce=bytes(32),
        )

    sealing, opening = Sealing(), Opening()
    sealing.change(cipher())
    opening.expect(cipher())
    return sealing, opening


@contextmanager
def reading(*, sealed_only: bool = False) -> Iterator[tuple[FrameReader, Sealing]]:
    sealing, opening = ends()
    reader = FrameReader(4096, opening.opened, sealed_only=sealed_only)
    reader.feed(frame(Hello("dev", "node-1", "node-2")))
    yield reader, sealing


PROBE = frame(Probe(1, 1))


def test_after_a_sealed_frame_no_plain_one_is_taken() -> None:
    with reading() as (reader, sealing):
        assert reader.feed(PROBE) == [Probe(1, 1)]
        assert reader.feed(sealing.sealed(PROBE * 2)) == [Probe(1, 1)] * 2
        with pytest.raises(FrameRejected, match="plain frame"):
            reader.feed(PROBE)


def test_where_keys_are_required_only_their_agreement_passes_plain() -> None:
    with reading(sealed_only=True) as (reader, _):
        offer, answer = KeyOffer("k", bytes(32), bytes(32)), KeyAnswer("k", bytes(32), "")
        assert reader.feed(frame(offer) + frame(answer)) == [offer, answer]
        with pytest.raises(FrameRejected, match="plain frame"):
            reader.feed(PROBE)


@pytest.mark.parametrize("content", [PROBE[:-1], PROBE + b"\0", framed(SEALED, b"x" * 40), b"\0" * 5, b"garbage!"])
def test_a_sealed_frame_holds_whole_plain_frames(content: bytes) -> None:
    with reading() as (reader, sealing), pytest.raises(FrameRejected):
        reader.feed(sealing.sealed(content))


@given(st.binary(max_size=200))
def test_no_bytes_in_place_of_a_record_are_taken(body: bytes) -> None:
    with reading() as (reader, _), pytest.raises(FrameRejected):
        reader.feed(framed(SEALED, body))


def test_a_sealed_frame_comes_neither_first_nor_uninvited() -> None:
    sealing, opening = ends()
    with pytest.raises(FrameRejected, match="before the first"):
        FrameReader(4096, opening.opened).feed(sealing.sealed(PROBE))
    reader = FrameReader(4096)
    reader.feed(frame(Hello("dev", "node-1", "node-2")))
    with pytest.raises(FrameRejected, match="no key was agreed on"):
        reader.feed(sealing.sealed(PROBE))
