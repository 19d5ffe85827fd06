"""Certificates that end in seconds: renewed by the nodes themselves, taken up everywhere, no call dropped."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from tests.integration.conftest import MakeWorld

from qkms_chaos.cluster.driver import Cluster
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_client import Client
from qkms_client import errors as e
from qkms_node.pki import Identity

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(120)]

# Half of it is over when it is issued, so it is renewed after 7 s: when the traffic has begun, and with as long
# to go again until it ends.
PAST_S, LEFT_S = 7, 14
NODES = ("node-1", "node-2")


def short_lived(cluster: Cluster) -> None:
    """Gives every node, and the service payments, a certificate that ends in a moment."""
    now = datetime.now(UTC)
    for identity in (*(Identity("node", node) for node in NODES), Identity("service", "payments")):
        cluster.authority.issue(
            identity, not_before=now - timedelta(seconds=PAST_S), not_after=now + timedelta(seconds=LEFT_S)
        )


class Traffic:
    """Encrypts and decrypts without a pause; `fresh` makes a new client, and so a new handshake, each time."""

    def __init__(self, profile: str, *, fresh: bool) -> None:
        self.served = 0
        self.failed: list[str] = []
        self._profile = profile
        self._fresh = fresh
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        client = Client.from_profile(self._profile)
        while not self._stopped.wait(0.05):
            try:
                sealed = client.encrypt("payments", b"attack at dawn").ciphertext
                assert client.decrypt("payments", sealed).plaintext == b"attack at dawn"
                self.served += 1
            except e.QkmsError as error:
                self.failed.append(str(error))
            if self._fresh:
                client.close()
                client = Client.from_profile(self._profile)
        client.close()

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            self._thread.join()


def test_traffic_goes_on_while_every_certificate_is_replaced(make_world: MakeWorld) -> None:
    overrides = {
        "node": {"root": {"policy": "pqc_only"}, "qkd": None},
        "node-2": {"ca": None},  # it asks node-1
    }
    issued: dict[str, bytes] = {}

    def prepared(cluster: Cluster) -> None:
        short_lived(cluster)
        issued.update({node: path_of(cluster, node).read_bytes() for node in NODES})

    without = ("kme-1", "kme-2")
    with make_world(nodes=2, overrides=overrides, without=without, prepared=prepared) as world:
        cluster, layout = world.cluster, world.cluster.layout
        world.observer.wait_root(1)
        world.operator.create_key("payments")
        first = {node: x509.load_pem_x509_certificate(pem) for node, pem in issued.items()}
        own = str(layout.service_profile("payments"))
        # The owner of a service's certificate renews it: the running client takes up the new files.
        cluster.authority.issue(Identity("service", "payments"), not_before=datetime.now(UTC) - timedelta(hours=1))
        lasting, fresh = Traffic(own, fresh=False), Traffic(own, fresh=True)
        with lasting.running(), fresh.running():

            def outlived() -> None:
                """Both first certificates have ended, and others have taken their place."""
                if datetime.now(UTC) < max(leaf.not_valid_after_utc for leaf in first.values()):
                    raise NotYet("the first certificates have not ended")
                for node in NODES:
                    if certificate(cluster, node).serial_number == first[node].serial_number:
                        raise NotYet(f"{node} has its first certificate")

            wait_for("every certificate to be replaced", outlived, 40)
            served = lasting.served, fresh.served
            # Raft meets again under the new certificates only: the first ones have ended.
            cluster.nodes["node-2"].kill()
            cluster.start_members(["node-2"])
            world.observer.wait_leader()
            assert world.payments.rotate_key("payments").version.version == 2

            def more() -> None:
                if not (lasting.served > served[0] + 3 and fresh.served > served[1] + 3):
                    raise NotYet(f"{lasting.served}, {fresh.served}")

            wait_for("traffic under the new certificates", more, 20)
        assert (lasting.failed, fresh.failed) == ([], [])
        for node in NODES:
            status = world.observer.status(node)
            assert status is not None
            assert status.warnings == ()


def path_of(cluster: Cluster, node: str) -> Path:
    return cluster.layout.pki / "node" / f"{node}.pem"


def certificate(cluster: Cluster, node: str) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path_of(cluster, node).read_bytes())
