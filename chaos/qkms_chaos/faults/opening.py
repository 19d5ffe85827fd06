"""From a name on the command line to a network with faults."""

from collections.abc import Callable

from qkms_chaos.cluster.layout import Layout
from qkms_chaos.faults.namespaces import NamespaceNetwork
from qkms_chaos.faults.network import FaultyNetwork
from qkms_chaos.faults.schedule import Fault
from qkms_chaos.faults.toxiproxy import ToxiproxyNetwork

NETWORKS: dict[str, Callable[[Layout], FaultyNetwork]] = {
    ToxiproxyNetwork.kind: ToxiproxyNetwork,
    NamespaceNetwork.kind: NamespaceNetwork,
}
REFUSED: dict[str, tuple[type[Fault], ...]] = {
    ToxiproxyNetwork.kind: ToxiproxyNetwork.refuses,
    NamespaceNetwork.kind: NamespaceNetwork.refuses,
}
"""Faults that it cannot make on any machine."""
