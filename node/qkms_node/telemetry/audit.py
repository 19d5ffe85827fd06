"""The audit as a scrape sees it: whether it can be written, how far both chains have come, what was lost."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from qkms_node.access.call_log import CallLog
from qkms_node.access.spool import Spool
from qkms_node.telemetry.state import View, gauge


class AuditState(Collector):
    """Read at the moment of a scrape."""

    def __init__(self, calls: CallLog, spool: Spool, view: View) -> None:
        self._calls = calls
        self._spool = spool
        self._view = view

    def collect(self) -> Iterator[Metric]:
        """The samples of one scrape."""
        with self._view() as state:
            mutations = state.audit_length
        writable = not (self._calls.failure or self._spool.failure)
        yield gauge("qkms_audit_writable", "1 when the node can write its audit.", writable)
        yield gauge("qkms_audit_call_records", "Length of this node's chain of calls.", self._calls.head.length)
        yield gauge("qkms_audit_mutation_records", "Length of the ledger's chain of mutations.", mutations)
        lost = "Calls whose record could not be written."
        yield CounterMetricFamily("qkms_audit_records_lost", lost, value=self._calls.lost)
