"""QKD links, their alarms and samples as messages."""

from collections.abc import Sequence

from google.protobuf.timestamp_pb2 import Timestamp

from qkms.v1 import qkd_pb2
from qkms_node.service.links import Observation
from qkms_node.service.monitoring.alarms import Alarm
from qkms_node.service.monitoring.link_view import LinkView
from qkms_node.service.monitoring.look import Look
from qkms_qkd.link import KmeCondition, LinkStatus

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
        kme_id=record.kme,
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


def kme(condition: KmeCondition) -> qkd_pb2.LinkKme:
    """One of the KMEs of a link."""
    message = qkd_pb2.LinkKme(
        kme_id=condition.kme_id,
        priority=condition.priority,
        state=_state(condition.status, condition.problem),
        serves=condition.serves,
        error=condition.problem,
    )
    status = condition.status
    if status is not None:
        message.prefetched_key_count = status.prefetched
        if status.qber is not None:
            message.qber = status.qber
        if status.stored_key_count is not None:
            message.stored_key_count = status.stored_key_count
    return message


def _state(status: LinkStatus | None, problem: str) -> qkd_pb2.LinkState.ValueType:
    if status is None or status.failure is not None:
        return qkd_pb2.KME_UNREACHABLE
    return qkd_pb2.LINK_DOWN if status.up is False or problem else qkd_pb2.LINK_UP


def link(
    node_id: str,
    local_sae: str,
    peer_sae: str,
    seen: Observation | None,
    problem: str,
    view: LinkView,
    alarms: Sequence[Alarm],
) -> qkd_pb2.Link:
    """A QKD link as last seen; `problem` says why it would not be used, `alarms` are of all its KMEs."""
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
        alarms=[alarm(raised) for raised in alarms],
    )
    if measured.exhaustion_s is not None:
        message.expected_exhaustion_time.CopyFrom(seconds(measured.exhaustion_s))
    if seen is None:
        return message
    message.observe_time.CopyFrom(seconds(seen.time_s))
    status = seen.status
    message.state = _state(status, problem)
    if status is None:
        return message
    if status.failure is not None:
        message.error = f"{status.failure}; {status.prefetched} keys that were drawn ahead are left"
    message.kmes.extend(kme(condition) for condition in status.kmes)
    message.prefetched_key_count = status.prefetched
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
