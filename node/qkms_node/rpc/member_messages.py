"""Members as protocol messages; nothing is decided here."""

from qkms.v1 import cluster_pb2 as pb
from qkms_node.ledger.member_records import MemberRecord
from qkms_node.rpc.messages import timestamp
from qkms_node.service.roster import MemberView


def member(view: MemberView) -> pb.Member:
    """A member as the answering node sees it."""
    message = recorded(view.record)
    message.id = view.node_id
    message.raft_address = view.raft_address
    message.connected = view.connected
    message.acting_role = int(view.acting_role or 0)  # type: ignore[assignment]
    message.joined = view.joined
    message.holds_root = view.holds_root
    message.trouble = view.trouble
    if view.qkd_sealed is not None:
        message.qkd_sealed = view.qkd_sealed
    if view.behind is not None:
        message.behind = view.behind
    return message


def recorded(record: MemberRecord | None) -> pb.Member:
    """A member record alone."""
    if record is None:
        return pb.Member()
    return pb.Member(
        id=record.node_id,
        rpc_address=record.rpc_address,
        raft_address=record.raft_address,
        sae_id=record.sae_id,
        role=int(record.role),  # type: ignore[arg-type]
        added_by=record.added_by,
        add_time=timestamp(record.add_ms),
    )
