"""Alarms of QKD links as the ledger keeps them: those that change what keys get, reported by their nodes."""

from enum import IntEnum

from qkms_node.ledger.records import Record


class AlarmSeverity(IntEnum):
    """Perceived severity of ITU-T X.733 with the numbers of RFC 8632, which has cleared among them."""

    CLEARED = 1
    INDETERMINATE = 2
    WARNING = 3
    MINOR = 4
    MAJOR = 5
    CRITICAL = 6


class AlarmKind(IntEnum):
    """What an alarm is about; numbers are those of the protocol. The names LINK_DOWN and LINK_OVERLOADED
    are those of ETSI GS QKD 015."""

    KME_UNREACHABLE = 1
    LINK_DOWN = 2
    QBER_HIGH = 3
    QBER_RISE = 4
    STORE_LOW = 5
    LINK_OVERLOADED = 6


class LinkAlarmRecord(Record, frozen=True):
    """One alarm that is raised, as node `node_id` sees its link to `peer_node_id`."""

    node_id: str
    peer_node_id: str
    kind: AlarmKind
    severity: AlarmSeverity
    raise_ms: int
    change_ms: int


def alarm_name(node_id: str, peer_node_id: str, kind: AlarmKind) -> str:
    """The resource name of an alarm: links/{node}/{peer}/alarms/{kind}."""
    return f"links/{node_id}/{peer_node_id}/alarms/{kind.name.lower()}"
