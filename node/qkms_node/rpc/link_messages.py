"""QKD links, their alarms and samples as messages."""

from google.protobuf.timestamp_pb2 import Timestamp

from qkms.v1 import qkd_pb2
from qkms_node.service.links import Observation
from qkms_node.service.monitoring.alarms import Alarm
from qkms_node.service.monitoring.link_view import LinkView
from qkms_node.service.monitoring.look import Look

# A store that falls by a key in years is not going to be empty: what a Timestamp cannot say is left out.
LAST_S = 253_402_300_799


def seconds(time_s: float) -> Timestamp:
    """Unix seconds as a Timestamp of milliseconds."""
    stamp = Timestamp()
    stamp.FromMilliseconds(int(min(time_s, LAST_S) * 1000))
    return stamp


def alarm(record: Alarm) -> qkd_pb2.LinkAlarm:
    """An alarm, or a step of one."""
    return qkd_pb2.LinkAlarm(
        peer_node_id=record.peer,
        kind=int(record.kind),  # type: ignore[arg-type]
        severity=int(record.severity),  # type: ignore[arg-type]
        raise_time=seconds(record.raise_s),
        change_time=seconds(record.change_s),
        cause=record.cause,
    )


def sample(look: Look) -> qkd_pb2.LinkSample:
    """One look at a link."""
    return qkd_pb2.LinkSample(
        time=seconds(look.time_s),
        error_code=look.problem,
        qber=look.qber,
        skr=look.skr_bps,
        stored_key_count=look.stored,
        max_key_count=look.capacity,
    )


def link(
    node_id: str, local_sae: str, peer_sae: str, seen: Observation | None, problem: str, view: LinkView
) -> qkd_pb2.Link:
    """A QKD link as last seen; `problem` says why it would not be used."""
    measured = view.figures
    message = qkd_pb2.Link(
        peer_node_id=node_id,
        local_sae_id=local_sae,
        peer_sae_id=peer_sae,
        error=problem,
        eskr=measured.eskr_bps,
        expected_consumption=measured.consumption_bps,
        link_overloaded=view.is_overloaded,
        qber_baseline=view.baseline,
        discarded_key_count=view.discarded.total(),
        alarms=[alarm(raised) for raised in view.raised],
    )
    if measured.exhaustion_s is not None:
        message.expected_exhaustion_time.CopyFrom(seconds(measured.exhaustion_s))
    if seen is None:
        return message
    message.observe_time.CopyFrom(seconds(seen.time_s))
    status = seen.status
    if status is None:
        message.state = qkd_pb2.KME_UNREACHABLE
        return message
    message.state = qkd_pb2.LINK_DOWN if status.up is False or problem else qkd_pb2.LINK_UP
    message.source_kme_id = status.source_kme
    message.target_kme_id = status.target_kme
    if status.stored_key_count is not None:
        message.stored_key_count = status.stored_key_count
    if status.max_key_count is not None:
        message.max_key_count = status.max_key_count
    message.key_size = status.key_size
    if status.qber is not None:
        message.qber = status.qber
    if status.skr_bps is not None:
        message.skr = status.skr_bps
    return message
