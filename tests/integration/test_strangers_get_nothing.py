"""Who has no valid certificate of the cluster's CA is given not one byte, at any of its listeners."""

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest

from qkms.v1 import cluster_pb2
from qkms.v1.cluster_pb2_grpc import ClusterServiceStub
from qkms_chaos.cluster.layout import CLUSTER_ID
from qkms_chaos.cluster.world import World
from qkms_chaos.refusal import refusal_of
from qkms_client import Client, Profile
from qkms_client.errors import QkmsError, Unavailable
from qkms_node.consensus.frames import frame
from qkms_node.consensus.messages import Hello
from qkms_node.pki import Authority, Identity, Material

pytestmark = pytest.mark.cluster

TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Caller:
    """The CA a caller trusts, and the certificate it shows, if any."""

    ca: Path
    shown: Material | None


@pytest.fixture(scope="module")
def callers(lasting: World, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Caller]:
    ours, folder = lasting.cluster.authority, tmp_path_factory.mktemp("strangers")
    who = Identity("node", "node-1")
    # A second CA object on a copy of the cluster's CA, so that no file of the cluster is touched.
    twin_folder = folder / "twin"
    twin_folder.mkdir()
    for name in ("ca.pem", "ca.key"):
        (twin_folder / name).write_bytes((lasting.cluster.layout.pki / name).read_bytes())
    twin = Authority(twin_folder)
    now = datetime.now(UTC)
    expired = twin.issue(who, not_before=now - timedelta(days=2), not_after=now - timedelta(days=1))
    early = twin.issue(
        Identity("node", "node-2"),
        not_before=now + timedelta(days=1),
        not_after=now + timedelta(days=2),
    )
    ca = ours.certificate_path
    return {
        "without a certificate": Caller(ca, None),
        "with one of another CA": Caller(ca, Authority(folder / "other").issue(who)),
        "with one of a CA of the same name": Caller(
            ca, Authority(folder / "namesake", name="qkms development CA").issue(who)
        ),
        "with an expired one": Caller(ca, expired),
        "with one not yet valid": Caller(ca, early),
    }


STRANGERS = (
    "without a certificate",
    "with one of another CA",
    "with one of a CA of the same name",
    "with an expired one",
    "with one not yet valid",
)
LISTENERS = ("rpc", "raft", "northbound", "northbound_skip", "etsi014", "link")


def port_of(world: World, listener: str) -> int:
    site = world.cluster.layout.site("node-1")
    return int(getattr(site, f"{listener}_port"))


def bytes_given(port: int, caller: Caller) -> bytes:
    """What a listener gives after a TLS handshake and a request: HTTP/2 settings, or an answer of HTTP/1.1."""
    context = ssl.create_default_context(cafile=str(caller.ca))
    if caller.shown is not None:
        context.load_cert_chain(caller.shown.certificate, caller.shown.private_key)
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            connection.sendall(b"GET /api/v1/keys/node-2/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return connection.recv(65536)
    except (ssl.SSLError, ConnectionError):
        return b""


@pytest.mark.parametrize("listener", LISTENERS)
@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_stranger_is_given_no_byte(
    healthy: World, callers: dict[str, Caller], listener: str, stranger: str
) -> None:
    assert bytes_given(port_of(healthy, listener), callers[stranger]) == b""


@pytest.mark.parametrize("listener", ["rpc", "northbound", "northbound_skip", "etsi014"])
def test_a_member_is_given_an_answer(healthy: World, listener: str) -> None:
    member = healthy.cluster.authority.issue(Identity("node", "node-1"))
    assert bytes_given(port_of(healthy, listener), Caller(member.ca, member)) != b""


@pytest.mark.parametrize("stranger", STRANGERS)
def test_a_strangers_call_fails_without_an_answer(
    healthy: World, callers: dict[str, Caller], stranger: str
) -> None:
    caller = callers[stranger]
    credentials = grpc.ssl_channel_credentials(
        caller.ca.read_bytes(),
        *((caller.shown.private_key.read_bytes(), caller.shown.certificate.read_bytes()) if caller.shown else ()),
    )
    with grpc.secure_channel(healthy.cluster.network.rpc("node-1"), credentials) as channel:
        stub = ClusterServiceStub(channel)
        error = refusal_of(lambda: stub.GetStatus(cluster_pb2.GetStatusRequest(), timeout=TIMEOUT_S))
    assert isinstance(error, Unavailable)


OTHERS_OF_THE_CA = (
    Identity("service", "payments"),
    Identity("operator", "admin"),
    Identity("kme", "kme-1"),
    # Its id is a member's, but it is not the one whose certificate this is.
    Identity("node", "node-3"),
    Identity("node", "node-9"),
)


@pytest.mark.parametrize("who", OTHERS_OF_THE_CA, ids=lambda who: f"{who.kind} {who.name}")
def test_only_the_member_itself_is_greeted_at_a_raft_listener(healthy: World, who: Identity) -> None:
    """A certificate of the right CA is not enough: the greeting says node-2, the certificate must too."""
    assert raft_answer(healthy, healthy.cluster.authority.issue(who)) == b""


def test_the_member_itself_is_greeted(healthy: World) -> None:
    assert raft_answer(healthy, healthy.cluster.authority.issue(Identity("node", "node-2"))) != b""


def raft_answer(world: World, member: Material) -> bytes:
    """What node-1 answers to the greeting of node-2 under a member's certificate."""
    context = ssl.create_default_context(cafile=str(member.ca))
    context.load_cert_chain(member.certificate, member.private_key)
    with (
        socket.create_connection(("127.0.0.1", port_of(world, "raft")), timeout=TIMEOUT_S) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(frame(Hello(CLUSTER_ID, "node-2", "node-1")))
        try:
            return connection.recv(65536)
        except (ssl.SSLError, ConnectionError):
            return b""


def test_the_sdk_says_what_to_check(healthy: World, callers: dict[str, Caller]) -> None:
    shown = callers["with an expired one"].shown
    assert shown is not None
    profile = Profile(
        endpoints={"node-1": healthy.cluster.network.rpc("node-1")},
        ca=shown.ca,
        certificate=shown.certificate,
        private_key=shown.private_key,
        timeout_s=2.0,
    )
    with Client(profile) as client, pytest.raises(QkmsError) as caught:
        client.status()
    assert "certificate" in caught.value.advice


def test_the_cluster_is_unharmed_afterwards(healthy: World, new_key_id: Callable[[], str]) -> None:
    key = new_key_id()
    healthy.payments.create_key(key)
    assert healthy.payments.decrypt(key, healthy.payments.encrypt(key, b"x")).plaintext == b"x"
