"""What reports of link alarms do: they are kept, and everybody who watches is told.

Only alarms that change what keys get come here, and only their steps: looks and
figures stay at the node that made them. A report of what is known already
changes nothing.
"""

from msgspec.structs import replace

from qkms_node.ledger.commands import Outcome, ReportLinkAlarm
from qkms_node.ledger.link_records import AlarmSeverity, LinkAlarmRecord, alarm_name
from qkms_node.ledger.records import EventType
from qkms_node.ledger.state import Refusal, State


def report_link_alarm(state: State, command: ReportLinkAlarm) -> Outcome:
    """Raises an alarm, changes its severity, or clears it."""
    if state.members and command.node_id not in state.members:
        raise Refusal("NOT_A_MEMBER", f"{command.node_id} is no member of this cluster", node_id=command.node_id)
    name = alarm_name(command.node_id, command.peer_node_id, command.alarm)
    known = state.link_alarms.get(name)
    if (known.severity if known is not None else AlarmSeverity.CLEARED) == command.severity:
        return Outcome(state.revision, note="already reported")
    if command.severity is AlarmSeverity.CLEARED:
        del state.link_alarms[name]
        state.emit(EventType.LINK_ALARM_CLEARED, name, 0, command.severity)
        return Outcome(state.revision + 1, changed=True)
    record = known or LinkAlarmRecord(
        command.node_id, command.peer_node_id, command.alarm, command.severity, state.time_ms, state.time_ms
    )
    state.link_alarms[name] = replace(record, severity=command.severity, change_ms=state.time_ms)
    state.emit(EventType.LINK_ALARM_RAISED, name, 0, command.severity)
    return Outcome(state.revision + 1, changed=True)


def forget_alarms_of(state: State, node_id: str) -> None:
    """A node that is no member any more reports nothing: what it reported is cleared."""
    for name in [name for name, alarm in state.link_alarms.items() if alarm.node_id == node_id]:
        del state.link_alarms[name]
        state.emit(EventType.LINK_ALARM_CLEARED, name, 0, AlarmSeverity.CLEARED)
