"""Who uses a cluster: two services, the operator, and an observer that asks in the operator's name."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from qkms_chaos.cluster.driver import Cluster
from qkms_chaos.cluster.observe import Observer
from qkms_client import Client


@dataclass(frozen=True)
class Users:
    """Clients of one cluster."""

    payments: Client
    ledger: Client
    operator: Client
    observer: Observer


@contextmanager
def users_of(cluster: Cluster, told: Callable[[str], None] = lambda _: None) -> Iterator[Users]:
    """Clients of a prepared cluster, closed at the end. `told` hears what the observer's waits see."""
    layout = cluster.layout
    with (
        Client.from_profile(layout.service_profile("payments")) as payments,
        Client.from_profile(layout.service_profile("ledger")) as ledger,
        Client.from_profile(layout.profile) as operator,
    ):
        yield Users(payments, ledger, operator, Observer(operator, layout.nodes, told))
