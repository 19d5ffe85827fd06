"""A node or KME whose address is taken ends at once, says which address, and shows no stack trace."""

import socket
from collections.abc import Iterator

import pytest

from qkms_chaos.cluster.driver import Cluster
from qkms_chaos.cluster.layout import open_layout
from qkms_chaos.cluster.process import ProcessDied

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of one that was never started."""
    with Cluster(open_layout(tmp_path_factory.mktemp("taken"), nodes=1)) as cluster:
        cluster.prepare()
        yield cluster


@pytest.mark.parametrize(
    ("member", "port"),
    [
        ("node-1", "raft_port"),
        ("node-1", "rpc_port"),
        ("node-1", "northbound_skip_port"),
        ("kme-1", "etsi014_port"),
        ("kme-1", "link_port"),
    ],
)
def test_a_taken_address_is_named(prepared: Cluster, member: str, port: str) -> None:
    number = getattr(prepared.layout.site(member), port)
    with socket.create_server(("127.0.0.1", number)), pytest.raises(ProcessDied) as died:
        prepared.start_members([member])
    assert "exited with code 1" in str(died.value)
    last_words = prepared.member(member).tail(100)
    assert str(number) in last_words
    assert "Traceback" not in last_words
