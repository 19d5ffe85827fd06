"""A cluster with its users: two services, the operator, and an observer that asks in the operator's name."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from qkms_chaos.cluster.driver import Cluster
from qkms_chaos.cluster.observe import Observer
from qkms_client import Client, load_profile


@dataclass(frozen=True)
class World:
    """A cluster and clients of it."""

    cluster: Cluster
    payments: Client
    ledger: Client
    operator: Client
    observer: Observer

    @property
    def nodes(self) -> tuple[str, ...]:
        """Node ids in order."""
        return self.cluster.layout.nodes

    def others(self, *nodes: str) -> list[str]:
        """The nodes besides these."""
        return [node for node in self.nodes if node not in nodes]

    def new_root_epoch(self) -> int:
        """Asks for a root epoch in place of the active one and waits until every node holds it; its number."""
        root = self.operator.status().root
        assert root is not None
        self.operator.rotate_root(expected_epoch=root.epoch)
        self.observer.wait_root(root.epoch + 1)
        return root.epoch + 1

    def logged(self) -> str:
        """Everything every process has logged so far."""
        return "".join(path.read_text() for path in sorted(self.cluster.layout.logs.iterdir()))


@contextmanager
def world_of(cluster: Cluster, told: Callable[[str], None] = lambda _: None) -> Iterator[World]:
    """The world of a prepared cluster; its clients know the present members, and are closed at the end.

    `told` hears what the observer's waits see.
    """
    layout = cluster.layout
    endpoints = {node: cluster.network.rpc(node) for node in cluster.nodes}

    def client(profile: Path) -> Client:
        return Client(replace(load_profile(profile), endpoints=endpoints))

    with (
        client(layout.service_profile("payments")) as payments,
        client(layout.service_profile("ledger")) as ledger,
        client(layout.profile) as operator,
    ):
        yield World(cluster, payments, ledger, operator, Observer(operator, endpoints, told))
