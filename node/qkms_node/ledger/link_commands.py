"""Commands about QKD links."""

from qkms_node.ledger.command import Command
from qkms_node.ledger.link_records import AlarmKind, AlarmSeverity


class ReportLinkAlarm(Command, frozen=True, tag="report_link_alarm"):
    """How severe an alarm of the link from `node_id` to `peer_node_id` is there by now; CLEARED: not any more."""

    node_id: str
    peer_node_id: str
    alarm: AlarmKind
    severity: AlarmSeverity
