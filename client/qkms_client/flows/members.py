"""Members of the cluster: list, add, promote, remove, and who leads."""

from contextlib import suppress
from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from qkms.v1 import cluster_pb2 as pb
from qkms_client import decode, invitation, methods
from qkms_client.call import Rules, call
from qkms_client.errors import QkmsError
from qkms_client.flow import Flow
from qkms_client.types import Member, MemberChange


def list_members(rules: Rules, node: str | None, timeout: float | None) -> Flow[list[Member]]:
    """ListMembers of one node; without a name, of the leader if it answers: it knows most."""
    found = yield from _ask(rules, node, timeout)
    leader = found.header.leader_id
    if node is None and leader != found.header.node_id and leader in rules.router.endpoints:
        with suppress(QkmsError):  # what the first one sees is an answer too
            found = yield from _ask(rules, leader, timeout)
    return [decode.member(m) for m in found.members]


def add_member(
    rules: Rules,
    request_id: str,
    node_id: str,
    raft_address: str,
    rpc_address: str,
    sae_id: str,
    token: bytes,
    ttl: timedelta,
    ca_fingerprint: str,
    timeout: float | None,
) -> Flow[invitation.Invitation]:
    """AddMember, with the hash of `token`."""
    lasting = Duration()
    lasting.FromTimedelta(ttl)
    request = pb.AddMemberRequest(
        request_id=request_id,
        node_id=node_id,
        raft_address=raft_address,
        rpc_address=rpc_address,
        sae_id=sae_id,
        token_hash=invitation.hashed(token),
        token_ttl=lasting,
    )
    response = yield from call(rules, methods.ADD_MEMBER, request, timeout=timeout)
    return invitation.Invitation(
        member=decode.member(response.member),
        token=invitation.text(node_id, token),
        ttl=ttl,
        ca_fingerprint=ca_fingerprint,
        replayed=response.replayed,
        request_id=request_id,
        header=decode.header(response.header),
    )


def promote_member(rules: Rules, request_id: str, node_id: str, timeout: float | None) -> Flow[MemberChange]:
    """PromoteMember."""
    request = pb.PromoteMemberRequest(request_id=request_id, node_id=node_id)
    response = yield from call(rules, methods.PROMOTE_MEMBER, request, timeout=timeout)
    return MemberChange(node_id, response.replayed, request_id, decode.header(response.header))


def remove_member(rules: Rules, request_id: str, node_id: str, timeout: float | None) -> Flow[MemberChange]:
    """RemoveMember."""
    request = pb.RemoveMemberRequest(request_id=request_id, node_id=node_id)
    response = yield from call(rules, methods.REMOVE_MEMBER, request, timeout=timeout)
    return MemberChange(node_id, response.replayed, request_id, decode.header(response.header))


def transfer_leadership(
    rules: Rules, request_id: str, target: str | None, timeout: float | None
) -> Flow[MemberChange]:
    """TransferLeadership."""
    request = pb.TransferLeadershipRequest(request_id=request_id, target=target or "")
    response = yield from call(rules, methods.TRANSFER_LEADERSHIP, request, timeout=timeout)
    return MemberChange(target or "", response.replayed, request_id, decode.header(response.header))


def _ask(rules: Rules, node: str | None, timeout: float | None) -> Flow[pb.ListMembersResponse]:
    response = yield from call(rules, methods.LIST_MEMBERS, pb.ListMembersRequest(), timeout=timeout, only=node)
    return response
