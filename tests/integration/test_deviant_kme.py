"""A KME that answers wrongly: a clear error that names it, no root epoch out of it, the others unharmed.

Before each real KME stands a proxy process that deviates as told.
"""

import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from functools import partial

import httpx
import pytest
import tomli_w

from qkms_chaos.cluster.layout import Layout
from qkms_chaos.cluster.network import HOST, Loopback
from qkms_chaos.cluster.observe import describe_root
from qkms_chaos.cluster.ports import free_ports
from qkms_chaos.cluster.process import Process
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.cluster.world import World
from qkms_client import Client, Profile
from qkms_client.types import Grade, LinkState, NodeStatus
from qkms_node.pki import Identity

pytestmark = pytest.mark.cluster

WAITS_S = 20.0
KEY = "orders"
SETTINGS: dict[str, dict[str, object]] = {
    "node": {"qkd": {"poll_ms": 300, "timeout_ms": 1_000}, "root": {"retry_ms": 200}}
}


class Detour(Loopback):
    """Nodes reach their KMEs through a proxy each."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self._ports = dict(zip((s.kme for s in layout.sites), free_ports(len(layout.sites)), strict=True))

    def etsi014(self, caller: str, kme: str) -> str:
        return f"{HOST}:{self._ports[kme]}"


class Deviants:
    """A cluster whose KMEs lie when told to."""

    def __init__(self, world: World) -> None:
        self.world = world
        operator = world.cluster.operator
        tls = ssl.create_default_context(cafile=str(operator.ca))
        tls.load_cert_chain(operator.certificate, operator.private_key)
        self._http = httpx.Client(verify=tls, timeout=5, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def proxy(self, kme: str) -> Process:
        """The proxy before a KME, not started: it serves as that KME and asks as its node."""
        layout, authority = self.world.cluster.layout, self.world.cluster.authority
        site = layout.site(kme)
        node = authority.issue(Identity("node", site.node))
        settings = {
            "listen": self.world.cluster.network.etsi014(site.node, kme),
            "upstream": f"https://{HOST}:{site.etsi014_port}",
            **authority.issue(Identity("kme", kme)).table(),
            "node_certificate": str(node.certificate),
            "node_private_key": str(node.private_key),
        }
        config = layout.home(kme) / "deviant.toml"
        config.write_text(tomli_w.dumps(settings))
        command = [sys.executable, "-m", "qkms_chaos.deviant_kme", "--config", str(config)]
        return Process(f"deviant-{kme}", command, layout.log(f"deviant-{kme}"))

    def tell(self, kme: str, deviation: str) -> None:
        url = f"https://{self.world.cluster.network.etsi014('', kme)}/deviation"
        try:
            self._http.put(url, json={"deviation": deviation}).raise_for_status()
        except httpx.TransportError as error:
            raise NotYet(str(error)) from None


@pytest.fixture(scope="module")
def deviants(make_world: Callable[..., AbstractContextManager[World]]) -> Iterator[Deviants]:
    with make_world(network=Detour, overrides=SETTINGS) as world, ExitStack() as ends:
        deviants = Deviants(world)
        ends.callback(deviants.close)
        for kme in world.cluster.kmes:
            proxy = deviants.proxy(kme)
            proxy.start()
            ends.callback(proxy.terminate)
            proxy.wait_ready(partial(deviants.tell, kme, "none"))
        world.observer.wait_root(1, Grade.QKD_PQC)
        world.payments.create_key(KEY)
        yield deviants


@pytest.fixture
def honest(deviants: Deviants) -> Deviants:
    """Every KME tells the truth again, and the root has got over what went before."""
    for kme in deviants.world.cluster.kmes:
        deviants.tell(kme, "none")

    def settled() -> None:
        seen = deviants.world.observer.statuses()
        if any(s.seeding for s in seen.values()):
            raise NotYet("; ".join(f"{n}: {describe_root(s)}" for n, s in seen.items()))

    wait_for("seeding to be over", settled, 60)
    deviants.world.observer.wait_agreement()
    return deviants


def active_epoch(world: World) -> int:
    """The one epoch that is active on all nodes."""
    epochs = {s.root.epoch for s in world.observer.wait_root(1).values() if s.root}
    assert len(epochs) == 1
    return epochs.pop()


def encrypts_on(world: World, node: str) -> bool:
    """Whether this very node encrypts and decrypts."""
    files = world.cluster.authority.issue(Identity("service", "payments"))
    endpoints = {node: world.cluster.network.rpc(node)}
    with Client(Profile(endpoints, files.ca, files.certificate, files.private_key)) as client:
        return client.decrypt(KEY, client.encrypt(KEY, b"attack at dawn")).plaintext == b"attack at dawn"


def wait_complaint(world: World, kme: str, node: str) -> str:
    """What a node says of its seeding, once that names the KME."""

    def probe() -> str:
        status: NodeStatus | None = world.observer.status(node)
        said = "no answer" if status is None else status.seeding
        if kme not in said:
            raise NotYet(said)
        return said

    return wait_for(f"{node} to complain of {kme}", probe, WAITS_S)


@pytest.mark.parametrize(
    ("deviation", "complaint"),
    [
        ("wrong_length", "248 bits"),
        ("wrong_key", "KME"),
        ("redeliver", "KME"),
        ("html", "html"),
        ("error_500", "500"),
        ("silence", "no answer"),
        ("hang_up", "broke off"),
    ],
)
def test_a_deviant_kme_of_the_leader_seeds_nothing(honest: Deviants, deviation: str, complaint: str) -> None:
    world = honest.world
    leader = world.observer.wait_leader()
    kme, epoch = world.cluster.layout.site(leader).kme, active_epoch(world)
    if deviation == "redeliver":
        # What is delivered again must have been delivered once.
        world.operator.rotate_root(expected_epoch=epoch)
        epoch = next(iter(world.observer.wait_root(epoch + 1).values())).root.epoch  # type: ignore[union-attr]
    honest.tell(kme, deviation)
    world.operator.rotate_root(expected_epoch=epoch)

    said = wait_complaint(world, kme, leader)
    assert complaint.lower() in said.lower()
    assert active_epoch(world) == epoch
    assert all(encrypts_on(world, node) for node in world.nodes)
    for node in world.others(leader):
        assert {link.state for link in world.observer.links(node)} == {LinkState.UP}

    honest.tell(kme, "none")
    world.observer.wait_root(epoch + 1, Grade.QKD_PQC)


@pytest.mark.parametrize("deviation", ["wrong_length", "wrong_key", "redeliver"])
def test_a_deviant_kme_of_a_follower_stops_the_epoch(honest: Deviants, deviation: str) -> None:
    world = honest.world
    follower = world.others(world.observer.wait_leader())[0]
    kme, epoch = world.cluster.layout.site(follower).kme, active_epoch(world)
    if deviation == "redeliver":
        world.operator.rotate_root(expected_epoch=epoch)
        epoch = next(iter(world.observer.wait_root(epoch + 1).values())).root.epoch  # type: ignore[union-attr]
    honest.tell(kme, deviation)
    world.operator.rotate_root(expected_epoch=epoch)

    wait_complaint(world, kme, world.observer.wait_leader())
    assert active_epoch(world) == epoch
    assert all(encrypts_on(world, node) for node in world.nodes)

    honest.tell(kme, "none")
    world.observer.wait_root(epoch + 1, Grade.QKD_PQC)


@pytest.mark.soak
def test_a_silent_kme_of_a_follower_costs_that_follower_alone(honest: Deviants) -> None:
    """Two of three are a quorum: they go on, the third says what it lacks and catches up later."""
    world = honest.world
    follower = world.others(world.observer.wait_leader())[0]
    kme, epoch = world.cluster.layout.site(follower).kme, active_epoch(world)
    honest.tell(kme, "silence")
    world.operator.rotate_root(expected_epoch=epoch)

    world.observer.wait_root(epoch + 1, Grade.QKD_PQC, nodes=world.others(follower))
    wait_complaint(world, kme, follower)
    rotated = world.payments.rotate_key(KEY)
    assert rotated.version.root_epoch == epoch + 1
    assert all(encrypts_on(world, node) for node in world.others(follower))

    honest.tell(kme, "none")
    world.observer.wait_root(epoch + 1, Grade.QKD_PQC, nodes=[follower])
    assert encrypts_on(world, follower)
