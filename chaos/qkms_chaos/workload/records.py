"""What the nodes have written down, read at the end of a run into its history: the audit, and the members."""

import time
from collections.abc import Sequence

from qkms_chaos.checking.history import Op, Outcome, Recorder
from qkms_chaos.cluster.waits import NotYet, WaitExpired, wait_for
from qkms_client import AuditChain, Client
from qkms_client.errors import QkmsError

PAGE = 1000
SETTLED_S = 10.0


def read_records(operator: Client, nodes: Sequence[str], recorder: Recorder) -> None:
    """All of them, at each of these nodes. Raises QkmsError."""
    for node in nodes:
        _read_audit(operator, node, recorder)
    _read_members(operator, nodes, recorder)


def _read_audit(operator: Client, node: str, recorder: Recorder) -> None:
    """The audit of mutations as one node has it, each record an operation."""
    for record in operator.query_audit(AuditChain.MUTATIONS, node=node, page_size=PAGE):
        now = time.monotonic()
        answer = {"line": record.line.decode(errors="replace")}
        recorder.add(Op(f"audit@{node}", "audited", "", now, now, Outcome.OK, {}, dict(answer), "", node))


def _read_members(operator: Client, nodes: Sequence[str], recorder: Recorder) -> None:
    """Who takes part by each node's word, once they agree or time is up."""

    def look() -> dict[str, dict[str, str]]:
        return {node: _members(operator, node) for node in nodes}

    def agree() -> dict[str, dict[str, str]]:
        found = look()
        if len({str(sorted(members.items())) for members in found.values()}) > 1:
            raise NotYet(str(found))
        return found

    start = time.monotonic()
    try:
        found = wait_for("the nodes to agree on who takes part", agree, SETTLED_S)
    except WaitExpired:
        found = look()
    for node, members in found.items():
        recorder.add(
            Op(f"end@{node}", "members", "", start, time.monotonic(), Outcome.OK, {}, dict(members), "", node)
        )


def _members(operator: Client, node: str) -> dict[str, str]:
    try:
        return {m.id: f"{m.role.name} acts {m.acting_role.name}" for m in operator.list_members(node)}
    except QkmsError as error:
        return {node: f"UNKNOWN acts {error.reason}"}
