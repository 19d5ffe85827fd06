"""The network between members: who gets in, what arrives, what a loss does. Real TLS on loopback."""

import pickle
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from qkms_node.consensus.frames import frame
from qkms_node.consensus.identity import PeerRefused, node_id
from qkms_node.consensus.mesh import Mesh
from qkms_node.consensus.messages import Forward, Hello, Message, Probe
from qkms_node.consensus.settings import Limits, Timing, Tls
from qkms_node.consensus.sockets import Sockets

TIMING = Timing(handshake_s=1.0, reconnect_max_s=0.2)


class Recorder:
    """What a mesh told its owner."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.up: set[str] = set()
        self.losses = 0
        self.messages: list[tuple[str, Message]] = []
        mesh.attach(self)

    def on_connected(self, peer: str) -> None:
        self.up.add(peer)

    def on_disconnected(self, peer: str) -> None:
        self.up.discard(peer)
        self.losses += 1

    def on_message(self, peer: str, message: Message) -> None:
        self.messages.append((peer, message))


Reports = list[tuple[str, dict[str, Any]]]


def start(
    members: dict[str, str], me: str, tls: Tls, cluster: str = "dev", limits: Limits | None = None
) -> tuple[Recorder, Reports]:
    reports: Reports = []
    mesh = Mesh(me, cluster, tls, TIMING, limits or Limits(), lambda event, **f: reports.append((event, f)))
    mesh.admit(members)
    mesh.bind(members[me])
    return Recorder(mesh), reports


def run(nodes: list[Recorder], until: Callable[[], object], seconds: float = 10) -> None:
    """Polls all nodes in turn until the condition holds; fails when it never does."""
    deadline = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < deadline, "the condition never held"
        for node in nodes:
            node.mesh.poll(0.005)


@contextmanager
def closing(*nodes: Recorder) -> Iterator[None]:
    try:
        yield
    finally:
        for node in nodes:
            node.mesh.close()


def test_members_connect_and_deliver_in_order(authority: Any, three_members: dict[str, str]) -> None:
    nodes = [start(three_members, me, authority.node(me))[0] for me in three_members]
    with closing(*nodes):
        run(nodes, lambda: all(len(n.up) == 2 for n in nodes))
        sent: list[Message] = [Probe(7, seq) for seq in range(500)]
        nodes[0].mesh.send("node-2", sent)
        nodes[2].mesh.send("node-2", [Forward(1, [b"x" * 200_000])])
        run(nodes, lambda: len(nodes[1].messages) == 501)
        assert [m for peer, m in nodes[1].messages if peer == "node-1"] == sent
        assert [m for peer, m in nodes[1].messages if peer == "node-3"] == [Forward(1, [b"x" * 200_000])]


def test_a_member_that_restarts_is_connected_again(authority: Any, three_members: dict[str, str]) -> None:
    one, two = (start(three_members, me, authority.node(me))[0] for me in ("node-1", "node-2"))
    with closing(one):
        run([one, two], lambda: "node-2" in one.up)
        two.mesh.close()
        run([one], lambda: not one.up)
        two = start(three_members, "node-2", authority.node("node-2"))[0]
        with closing(two):
            run([one, two], lambda: "node-2" in one.up and "node-1" in two.up)
            two.mesh.send("node-1", [Probe(1, 1)])
            run([one, two], lambda: one.messages == [("node-2", Probe(1, 1))])


def test_a_peer_that_does_not_read_is_given_up_within_the_bound(
    authority: Any, three_members: dict[str, str]
) -> None:
    limits = Limits(peer_buffer_bytes=1_000_000)
    one, reports = start(three_members, "node-1", authority.node("node-1"), limits=limits)
    two = start(three_members, "node-2", authority.node("node-2"))[0]
    with closing(one, two):
        run([one, two], lambda: "node-2" in one.up)
        for _ in range(1000):
            if one.losses:
                break
            one.mesh.send("node-2", [Forward(1, [b"x" * 100_000])])
            one.mesh.flush()
        assert one.losses == 1
        assert any("too slow" in f.get("problem", "") for event, f in reports if event == "consensus.disconnected")


@pytest.mark.parametrize(
    "bytes_sent",
    [b"GET / HTTP/1.1\r\n\r\n", pickle.dumps({"type": "append_entries"}), b"\0" * 4096, b""],
    ids=["http", "pickle", "zeros", "silence"],
)
def test_garbage_before_tls_is_refused(authority: Any, three_members: dict[str, str], bytes_sent: bytes) -> None:
    one, reports = start(three_members, "node-1", authority.node("node-1"))
    with closing(one), socket.create_connection(address(three_members, "node-1")) as stranger:
        stranger.sendall(bytes_sent)
        run([one], lambda: refusals(reports))
        assert not one.messages


def test_a_certificate_of_another_authority_is_refused(
    authority: Any, other_authority: Any, three_members: dict[str, str]
) -> None:
    one, reports = start(three_members, "node-1", authority.node("node-1"))
    stranger = start(three_members, "node-2", other_authority.node("node-2"))[0]
    with closing(one, stranger):
        run([one, stranger], lambda: refusals(reports))
        assert not one.up
        assert not stranger.up


@pytest.mark.parametrize(
    ("names", "greeting"),
    [
        (["spiffe://qkms.dev/node/node-3"], Hello("dev", "node-2", "node-1")),
        (["spiffe://qkms.dev/node/node-2"], Hello("dev", "node-2", "node-3")),
        (["spiffe://qkms.dev/node/node-2"], Hello("other", "node-2", "node-1")),
        (["spiffe://qkms.dev/node/node-9"], Hello("dev", "node-9", "node-1")),
        (["spiffe://qkms.dev/node/node-1"], Hello("dev", "node-1", "node-1")),
        (["spiffe://qkms.dev/service/node-2"], Hello("dev", "node-2", "node-1")),
        (["spiffe://qkms.dev/node/node-2", "spiffe://qkms.dev/node/node-3"], Hello("dev", "node-2", "node-1")),
        ([], Hello("dev", "node-2", "node-1")),
    ],
    ids=[
        "claims-another",
        "meant-another",
        "other-cluster",
        "no-member",
        "itself",
        "service",
        "two-names",
        "none",
    ],
)
def test_who_is_not_the_member_that_it_claims_is_refused(
    authority: Any, three_members: dict[str, str], names: list[str], greeting: Hello
) -> None:
    one, reports = start(three_members, "node-1", authority.node("node-1"))
    tls = authority.issue("someone", names)
    with closing(one), dial(three_members, "node-1", tls) as stranger:
        handshake(one, stranger)
        send(stranger, frame(greeting) + frame(Probe(99, 1)))
        run([one], lambda: refusals(reports))
        assert not one.messages


@pytest.mark.parametrize(
    "after_greeting",
    [
        pickle.dumps({"type": "append_entries"}),
        (2**31).to_bytes(4, "big") + b"\x01",
        b"\0\0\0\x02\x09\xc0",
        frame(Hello("dev", "node-2", "node-1")),
        b"\0\0\0\x04\x01\x91\xcc\xff",
    ],
    ids=["pickle", "huge", "version", "hello-again", "unknown-message"],
)
def test_a_member_that_speaks_nonsense_is_cut_off(
    authority: Any, three_members: dict[str, str], after_greeting: bytes
) -> None:
    one, _ = start(three_members, "node-1", authority.node("node-1"))
    with closing(one), dial(three_members, "node-1", authority.node("node-2")) as bad:
        handshake(one, bad)
        send(bad, frame(Hello("dev", "node-2", "node-1")) + after_greeting)
        run([one], lambda: closed(bad))
        assert not one.messages
        assert not one.up


def test_the_member_reached_must_be_the_one_dialled(authority: Any, three_members: dict[str, str]) -> None:
    crossed = {**three_members, "node-2": three_members["node-3"]}
    one, _ = start(crossed, "node-1", authority.node("node-1"))
    three = start(three_members, "node-3", authority.node("node-3"))[0]
    with closing(one, three):
        run([one, three], lambda: "node-3" in one.up)
        assert "node-2" not in one.up


def test_an_unresolvable_name_does_not_block(authority: Any, three_members: dict[str, str]) -> None:
    members = {**three_members, "node-3": "no-such-host.invalid:9"}
    one, reports = start(members, "node-1", authority.node("node-1"))
    two = start(three_members, "node-2", authority.node("node-2"))[0]
    with closing(one, two):
        run([one, two], lambda: "node-2" in one.up)
        run([one, two], lambda: any(e == "consensus.dial_failed" and f["peer"] == "node-3" for e, f in reports))


@pytest.mark.parametrize("delay_s", [0.0, 0.2])
def test_a_wake_ends_the_wait_whether_it_has_begun_or_not(delay_s: float) -> None:
    sockets = Sockets(Recorder.__new__(Recorder), 1, 1, 1.0)  # type: ignore[arg-type]  # nothing connects
    for _ in range(2):
        waker = threading.Timer(delay_s, sockets.wake)
        waker.start()
        if not delay_s:
            waker.join()
        begun = time.monotonic()
        sockets.poll(20)
        waker.join()
        assert time.monotonic() - begun < 10
    sockets.close()


def test_a_foreign_trust_domain_is_no_member() -> None:
    with pytest.raises(PeerRefused, match=r"not spiffe://qkms\.dev/node/"):
        node_id(["spiffe://qkms.dev.evil/node/node-1"], "qkms.dev")


def address(members: dict[str, str], node: str) -> tuple[str, int]:
    host, port = members[node].rsplit(":", 1)
    return host, int(port)


def refusals(reports: Reports) -> Reports:
    return [(event, fields) for event, fields in reports if event == "consensus.stranger_refused"]


@contextmanager
def dial(members: dict[str, str], node: str, tls: Tls) -> Iterator[ssl.SSLSocket]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.load_verify_locations(cafile=str(tls.ca))
    context.load_cert_chain(str(tls.certificate), str(tls.private_key))
    sock = socket.create_connection(address(members, node))
    sock.setblocking(False)
    with context.wrap_socket(sock, do_handshake_on_connect=False) as wrapped:
        yield wrapped


def handshake(node: Recorder, stranger: ssl.SSLSocket) -> None:
    def done() -> bool:
        try:
            stranger.do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        return True

    run([node], done)


def send(stranger: ssl.SSLSocket, data: bytes) -> None:
    assert stranger.send(data) == len(data)


def closed(stranger: ssl.SSLSocket) -> bool:
    try:
        while stranger.recv(4096):
            continue
    except (ssl.SSLWantReadError, BlockingIOError):
        return False
    except OSError:
        return True
    return True


def test_a_member_is_dialled_where_this_node_was_told_to(authority: Any, three_members: dict[str, str]) -> None:
    """The address that the cluster knows leads nowhere from here."""
    dial = {"node-2": three_members["node-2"]}
    mesh = Mesh("node-1", "dev", authority.node("node-1"), TIMING, Limits(), lambda *_, **__: None, dial)
    mesh.admit({**three_members, "node-2": "127.0.0.1:1"})
    mesh.bind(three_members["node-1"])
    one, two = Recorder(mesh), start(three_members, "node-2", authority.node("node-2"))[0]
    with closing(one, two):
        run([one, two], lambda: one.up == {"node-2"})
