"""Clusters of real processes for the tests of this folder.

One healthy cluster serves every test that leaves it as it found it; a test that
injures it gets it whole again first, so that no test depends on another's end.
Other configurations start clusters of their own.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from pathlib import Path

import grpc
import pytest

from qkms_chaos.cluster.config import Overrides
from qkms_chaos.cluster.driver import Cluster
from qkms_chaos.cluster.layout import Layout, open_layout
from qkms_chaos.cluster.network import Network
from qkms_chaos.cluster.world import World, world_of
from qkms_node.pki import Identity


@contextmanager
def world(
    folder: Path,
    network: Callable[[Layout], Network] | None = None,
    overrides: Overrides | None = None,
    without: tuple[str, ...] = (),
    spares: int = 0,
    nodes: int | None = None,
    prepared: Callable[[Cluster], None] = lambda _: None,
) -> Iterator[World]:
    """A started cluster, but for the members `without`; `prepared` may change its files before the start."""
    layout = open_layout(folder, nodes, spares=spares)
    with Cluster(layout, network(layout) if network else None, overrides) as cluster:
        cluster.prepare()
        prepared(cluster)
        cluster.start_members([k for k in cluster.kmes if k not in without])
        cluster.start_members([n for n in cluster.nodes if n not in without])
        with world_of(cluster) as one:
            yield one


MakeWorld = Callable[..., AbstractContextManager[World]]


@pytest.fixture(scope="session")
def make_world(tmp_path_factory: pytest.TempPathFactory) -> MakeWorld:
    """Starts clusters with a configuration of the caller's own; a context manager each."""

    def make(**arguments: object) -> AbstractContextManager[World]:
        return world(tmp_path_factory.mktemp("cluster"), **arguments)  # type: ignore[arg-type]

    return make


@pytest.fixture(scope="session")
def lasting(make_world: MakeWorld) -> Iterator[World]:
    """The one cluster that most tests share; see `healthy`."""
    # An anchor is a write: made whenever a period ends, it would come between two looks at the revision.
    with make_world(overrides={"node": {"audit": {"anchor_every_ms": 3_600_000}}}) as one:
        one.observer.wait_root(1)
        yield one


@pytest.fixture
def healthy(lasting: World) -> World:
    """The shared cluster with every member running and of one mind."""
    cluster = lasting.cluster
    down = [name for name in (*cluster.kmes, *cluster.nodes) if not cluster.member(name).running]
    cluster.start_members(down)
    for member in (*cluster.kmes, *cluster.nodes):
        cluster.member(member).resume()
    lasting.observer.wait_leader()
    lasting.observer.wait_agreement()
    lasting.observer.wait_root(1)
    return lasting


@pytest.fixture(scope="session")
def new_key_id() -> Callable[[], str]:
    """Key ids that no other test has."""
    numbers = count(1)
    return lambda: f"key-{next(numbers)}"


@pytest.fixture
def channel_to(lasting: World) -> Iterator[Callable[[str], grpc.Channel]]:
    """Channels to single nodes of the shared cluster as the service payments: no retries, no fail-over."""
    files = lasting.cluster.authority.issue(Identity("service", "payments"))
    credentials = grpc.ssl_channel_credentials(
        files.ca.read_bytes(), files.private_key.read_bytes(), files.certificate.read_bytes()
    )
    opened: list[grpc.Channel] = []

    def open_channel(node: str) -> grpc.Channel:
        channel = grpc.secure_channel(lasting.cluster.network.rpc(node), credentials)
        opened.append(channel)
        return channel

    yield open_channel
    for channel in opened:
        channel.close()
