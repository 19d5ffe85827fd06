"""The cluster: status of nodes, quantum links, the root."""

from qkms.v1 import cluster_pb2 as pb
from qkms.v1 import qkd_pb2
from qkms_client import decode, methods
from qkms_client.call import Rules, call
from qkms_client.errors import OutcomeUnknown
from qkms_client.flow import Flow
from qkms_client.types import EpochState, Link, LinkAlarm, LinkSample, NodeStatus, RootRotation


def status(rules: Rules, node: str | None, timeout: float | None) -> Flow[NodeStatus]:
    """GetStatus of one node, or of any healthy one."""
    response = yield from call(rules, methods.GET_STATUS, pb.GetStatusRequest(), timeout=timeout, only=node)
    return decode.node_status(response.status, decode.header(response.header))


def list_links(rules: Rules, node: str | None, timeout: float | None) -> Flow[list[Link]]:
    """ListLinks as one node sees them, or any healthy one."""
    response = yield from call(rules, methods.LIST_LINKS, qkd_pb2.ListLinksRequest(), timeout=timeout, only=node)
    return [decode.link(link, response.header.node_id) for link in response.links]


def list_link_alarms(
    rules: Rules, node: str | None, *, history: bool, timeout: float | None
) -> Flow[list[LinkAlarm]]:
    """ListLinkAlarms of one node, or of any healthy one."""
    request = qkd_pb2.ListLinkAlarmsRequest(history=history)
    response = yield from call(rules, methods.LIST_LINK_ALARMS, request, timeout=timeout, only=node)
    return [decode.link_alarm(alarm, response.header.node_id) for alarm in response.alarms]


def list_link_samples(rules: Rules, node: str | None, peer: str, timeout: float | None) -> Flow[list[LinkSample]]:
    """ListLinkSamples of one node."""
    request = qkd_pb2.ListLinkSamplesRequest(peer_node_id=peer)
    response = yield from call(rules, methods.LIST_LINK_SAMPLES, request, timeout=timeout, only=node)
    return [decode.link_sample(sample) for sample in response.samples]


def rotate_root(
    rules: Rules, request_id: str, expected_epoch: int | None, timeout: float | None
) -> Flow[RootRotation]:
    """RotateRoot. Without an expected epoch the active one is read first."""
    if expected_epoch is None:
        known = yield from status(rules, None, timeout)
        root = known.root
        expected_epoch = root.epoch if root is not None and root.state is EpochState.ACTIVE else 0
    request = pb.RotateRootRequest(request_id=request_id, expected_epoch=expected_epoch)
    try:
        response = yield from call(rules, methods.ROTATE_ROOT, request, timeout=timeout)
    except OutcomeUnknown as error:
        error.metadata["expected_epoch"] = str(expected_epoch)
        error.message += f" and expected_epoch {expected_epoch}"
        raise
    return RootRotation(expected_epoch, response.replayed, request_id, decode.header(response.header))
