"""Every mutating method, found in the services' descriptors: repeated, it has one effect and gives one answer.

The same requests are sent again at every node, after the leader was killed, after all were killed and
restarted, and to a node that lost its disk and was rebuilt from a snapshot. A new mutating method without a
scenario here fails the test by its name.
"""

import hashlib
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from qkms.kem import HybridPrivateKey
from qkms.v1 import key_pb2 as keys
from qkms.v1 import policy_pb2 as policies
from qkms.v1 import session_pb2 as sessions
from qkms.wrapping import Method, wrap
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.cluster.world import World
from qkms_client import PendingSession
from qkms_client.relayed import answer_message, offer_message
from qkms_client.types import NodeStatus
from qkms_node.assembly.faces import SERVICES
from qkms_node.csr import make_csr
from qkms_node.pki import Identity

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

OPERATOR = Identity("operator", "operator")
PAYMENTS, LEDGER = Identity("service", "payments"), Identity("service", "ledger")
RETRIED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
# An anchor of the audit is a write: none but the one asked for may come between two looks at the revision.
SETTINGS = {
    "node": {
        "raft": {"snapshot_after_entries": 10, "keep_entries": 2},
        "audit": {"anchor_every_ms": 3_600_000},
        "qkd": {"alarms": {"raise_after": 100}},  # a link that is down while its KMEs start is no alarm here
    }
}


def methods() -> Iterator[tuple[str, Any]]:
    """Full name and descriptor of each method of the API."""
    pool: Any = descriptor_pool.Default()
    for service in SERVICES:
        for method in pool.FindServiceByName(service).methods:
            yield f"{service.rpartition('.')[2]}/{method.name}", method


MUTATIONS = {name: method for name, method in methods() if "request_id" in method.input_type.fields_by_name}


@dataclass
class Api:
    """Calls any method at any node as any principal, again while it is not answered."""

    world: World
    _channels: dict[tuple[str, Identity], grpc.Channel] = field(default_factory=dict)

    def call(self, method: str, request: Message, principal: Identity = OPERATOR, node: str | None = None) -> Any:
        node = node or self.world.observer.wait_leader()
        descriptor = dict(methods())[method]
        stub: Any = self._channel(node, principal).unary_unary(
            f"/{descriptor.containing_service.full_name}/{descriptor.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(descriptor.output_type).FromString,
        )

        def answered() -> Any:
            try:
                return stub(request, timeout=10)
            except grpc.RpcError as error:
                if error.code() not in RETRIED:
                    raise
                raise NotYet(str(error.details())) from None

        return wait_for(f"an answer to {method} at {node}", answered, 60, 0.2)

    def do(self, method: str, principal: Identity = OPERATOR, /, **fields: Any) -> Any:
        """A call of its own, not one that is repeated later."""
        return self.call(method, request_of(method, **fields), principal)

    def key(self, versions: int = 1, **settings: Any) -> str:
        """A new key's name."""
        key_id = f"key-{uuid.uuid4().hex[:12]}"
        self.do("KeyService/CreateKey", key_id=key_id, algorithm=keys.AES_256_GCM, **settings)
        for version in range(1, versions):
            self.do("KeyService/RotateKey", name=f"keys/{key_id}", expected_primary_version=version)
        return f"keys/{key_id}"

    def _channel(self, node: str, principal: Identity) -> grpc.Channel:
        if (node, principal) not in self._channels:
            files = self.world.cluster.authority.issue(principal)
            credentials = grpc.ssl_channel_credentials(
                files.ca.read_bytes(), files.private_key.read_bytes(), files.certificate.read_bytes()
            )
            options = [("grpc.max_reconnect_backoff_ms", 500)]
            address = self.world.cluster.network.rpc(node)
            self._channels[node, principal] = grpc.secure_channel(address, credentials, options)
        return self._channels[node, principal]

    def close(self) -> None:
        for channel in self._channels.values():
            channel.close()


def request_of(method: str, /, **fields: Any) -> Message:
    """A request with a fresh request id."""
    request: Message = GetMessageClass(MUTATIONS[method].input_type)(request_id=str(uuid.uuid4()), **fields)
    return request


# Scenarios: what must be there first, and the request that is repeated.

Made = tuple[Message, Identity]
SCENARIOS: dict[str, Callable[[Api], Made]] = {}


def scenario(method: str) -> Callable[[Callable[[Api], dict[str, Any]]], None]:
    """Registers the fields of `method`'s request, sent by the operator."""

    def register(fields: Callable[[Api], dict[str, Any]]) -> None:
        SCENARIOS[method] = lambda api: (request_of(method, **fields(api)), OPERATOR)

    return register


@scenario("KeyService/CreateKey")
def _(api: Api) -> dict[str, Any]:
    return {"key_id": f"new-{uuid.uuid4().hex[:12]}", "algorithm": keys.AES_256_GCM, "labels": {"team": "a"}}


@scenario("KeyService/RotateKey")
def _(api: Api) -> dict[str, Any]:
    return {"name": api.key(), "expected_primary_version": 1}


@scenario("KeyService/DisableVersion")
def _(api: Api) -> dict[str, Any]:
    return {"name": f"{api.key(2)}/versions/1"}


@scenario("KeyService/EnableVersion")
def _(api: Api) -> dict[str, Any]:
    name = f"{api.key(2)}/versions/1"
    api.do("KeyService/DisableVersion", name=name)
    return {"name": name}


@scenario("KeyService/DestroyVersion")
def _(api: Api) -> dict[str, Any]:
    return {"name": f"{api.key(2)}/versions/1"}


@scenario("KeyService/RestoreVersion")
def _(api: Api) -> dict[str, Any]:
    name = f"{api.key(2)}/versions/1"
    api.do("KeyService/DestroyVersion", name=name)
    return {"name": name}


@scenario("KeyService/CompromiseVersion")
def _(api: Api) -> dict[str, Any]:
    return {"name": f"{api.key(2)}/versions/1", "reason": "lost"}


@scenario("KeyService/UpdateKey")
def _(api: Api) -> dict[str, Any]:
    key = keys.Key(name=api.key(), labels={"team": "b"})
    return {"key": key, "update_mask": FieldMask(paths=["labels"])}


@scenario("KeyService/DisableKey")
def _(api: Api) -> dict[str, Any]:
    return {"name": api.key()}


@scenario("KeyService/EnableKey")
def _(api: Api) -> dict[str, Any]:
    name = api.key()
    api.do("KeyService/DisableKey", name=name)
    return {"name": name}


@scenario("KeyService/DeleteKey")
def _(api: Api) -> dict[str, Any]:
    return {"name": api.key(skip_initial_version=True)}


@scenario("KeyService/StageVersion")
def _(api: Api) -> dict[str, Any]:
    return {"name": api.key()}


def _staged(api: Api) -> str:
    """The name of a staged version of a key that does not wait for caches."""
    return str(api.do("KeyService/StageVersion", name=api.key(max_staleness=Duration())).version.name)


@scenario("KeyService/ValidateVersion")
def _(api: Api) -> dict[str, Any]:
    return {"name": _staged(api)}


@scenario("KeyService/ActivateVersion")
def _(api: Api) -> dict[str, Any]:
    name = _staged(api)
    api.do("KeyService/ValidateVersion", name=name)
    return {"name": name, "expected_primary_version": 1}


@scenario("KeyService/AbortVersion")
def _(api: Api) -> dict[str, Any]:
    return {"name": _staged(api), "reason": "a drill"}


@scenario("KeyService/GetImportParameters")
def _(api: Api) -> dict[str, Any]:
    return {"name": api.key(), "method": keys.MLKEM768_AES_KWP}


@scenario("KeyService/ImportVersion")
def _(api: Api) -> dict[str, Any]:
    method = Method.MLKEM768_AES_KWP
    parameters = api.do("KeyService/GetImportParameters", name=api.key(), method=int(method)).parameters
    return {
        "name": parameters.name,
        "wrapped_material": wrap(method, parameters.public_key, bytes(range(32)), parameters.name),
    }


@scenario("ClusterService/RotateRoot")
def _(api: Api) -> dict[str, Any]:
    (status, *_) = api.world.observer.wait_root(1).values()
    assert status.root is not None
    return {"expected_epoch": status.root.epoch}


def _add_member(api: Api, number: int, token: bytes = b"") -> dict[str, Any]:
    """A member that never comes; its addresses are nobody's."""
    return {
        "node_id": f"node-{number}",
        "raft_address": f"127.0.0.1:{number}",
        "rpc_address": f"127.0.0.1:{number + 100}",
        "token_hash": hashlib.sha256(token).digest() if token else b"",
    }


@scenario("ClusterService/AddMember")
def _(api: Api) -> dict[str, Any]:
    return _add_member(api, 11)


@scenario("ClusterService/RemoveMember")
def _(api: Api) -> dict[str, Any]:
    api.do("ClusterService/AddMember", **_add_member(api, 12))
    return {"node_id": "node-12"}


@scenario("ClusterService/PromoteMember")
def _(api: Api) -> dict[str, Any]:
    return {"node_id": "node-2"}


@scenario("ClusterService/TransferLeadership")
def _(api: Api) -> dict[str, Any]:
    return {"target": api.world.others(api.world.observer.wait_leader())[0]}


@scenario("EnrolService/Enrol")
def _(api: Api) -> dict[str, Any]:
    token = bytes(range(32))
    api.do("ClusterService/AddMember", **_add_member(api, 13, token))
    return {"node_id": "node-13", "token": token, "csr": make_csr("qkms.dev", "node-13")[1]}


@scenario("ClusterService/SetRecovery")
def _(api: Api) -> dict[str, Any]:
    public = HybridPrivateKey.generate().public
    keys_of = {"mlkem": public.mlkem, "x25519": public.x25519}
    return {"recovery": {"set_id": "00112233445566aa", "threshold": 2, "share_count": 3, "public_key": keys_of}}


RULES = [policies.Rule(effect=policies.ALLOW, actions=["crypto.*"])]


def _fresh() -> str:
    return f"n-{uuid.uuid4().hex[:12]}"


def _policy(api: Api) -> str:
    """A new policy's id."""
    policy_id = _fresh()
    api.do("PolicyService/CreatePolicy", policy_id=policy_id, rules=RULES)
    return policy_id


def _role(api: Api) -> tuple[str, str]:
    """The ids of a new role and of its policy."""
    role_id, policy_id = _fresh(), _policy(api)
    named = [f"policies/{policy_id}"]
    api.do("PolicyService/CreateRole", role_id=role_id, principals=["nobody"], policies=named)
    return role_id, policy_id


def _tenant(api: Api) -> str:
    """A new tenant's id."""
    tenant_id = _fresh()
    api.do("PolicyService/CreateTenant", tenant_id=tenant_id, max_keys=1)
    return tenant_id


def _grant(api: Api) -> dict[str, Any]:
    """What a new grant is made of."""
    made = {"grantee": PAYMENTS.uri, "actions": ["keys.get"], "keys": [api.key()], "ttl": {"seconds": 3600}}
    return {"grant_id": str(uuid.uuid4()), **made}


@scenario("PolicyService/CreatePolicy")
def _(api: Api) -> dict[str, Any]:
    return {"policy_id": _fresh(), "rules": RULES}


@scenario("PolicyService/UpdatePolicy")
def _(api: Api) -> dict[str, Any]:
    return {"name": f"policies/{_policy(api)}", "rules": RULES, "description": "changed"}


@scenario("PolicyService/DeletePolicy")
def _(api: Api) -> dict[str, Any]:
    return {"name": f"policies/{_policy(api)}"}


@scenario("PolicyService/CreateRole")
def _(api: Api) -> dict[str, Any]:
    return {"role_id": _fresh(), "principals": ["nobody"], "policies": [f"policies/{_policy(api)}"]}


@scenario("PolicyService/UpdateRole")
def _(api: Api) -> dict[str, Any]:
    role_id, policy_id = _role(api)
    return {"name": f"roles/{role_id}", "principals": ["none"], "policies": [f"policies/{policy_id}"]}


@scenario("PolicyService/DeleteRole")
def _(api: Api) -> dict[str, Any]:
    return {"name": f"roles/{_role(api)[0]}"}


@scenario("PolicyService/CreateTenant")
def _(api: Api) -> dict[str, Any]:
    return {"tenant_id": _fresh(), "max_keys": 1}


@scenario("PolicyService/UpdateTenant")
def _(api: Api) -> dict[str, Any]:
    return {"name": f"tenants/{_tenant(api)}", "max_versions": 5}


@scenario("PolicyService/DeleteTenant")
def _(api: Api) -> dict[str, Any]:
    return {"name": f"tenants/{_tenant(api)}"}


@scenario("PolicyService/CreateGrant")
def _(api: Api) -> dict[str, Any]:
    return _grant(api)


@scenario("PolicyService/RevokeGrant")
def _(api: Api) -> dict[str, Any]:
    made = _grant(api)
    api.do("PolicyService/CreateGrant", **made)
    return {"name": f"grants/{made['grant_id']}"}


@scenario("AuditService/AnchorAudit")
def _(api: Api) -> dict[str, Any]:
    return {"node_id": api.world.observer.wait_leader()}


def _offer(pending: PendingSession) -> dict[str, Any]:
    return {
        "session_id": pending.session_id,
        "responder": LEDGER.uri,
        "suite": sessions.MLKEM768_X25519_SHA256,
        "offer": offer_message(pending.initiator().offer),
    }


def _open(api: Api) -> Made:
    return request_of("SessionService/OpenSession", **_offer(PendingSession())), PAYMENTS


def _offered(api: Api) -> tuple[PendingSession, str, Any]:
    pending = PendingSession()
    made = _offer(pending)
    api.do("SessionService/OpenSession", PAYMENTS, **made)
    responder = PendingSession(pending.session_id).responder(pending.initiator().offer)
    return pending, f"sessions/{pending.session_id}", responder


def _join(api: Api) -> Made:
    _, name, responder = _offered(api)
    return request_of("SessionService/JoinSession", name=name, answer=answer_message(responder.answer)), LEDGER


def _confirm(api: Api) -> Made:
    _, name, responder = _offered(api)
    api.do("SessionService/JoinSession", LEDGER, name=name, answer=answer_message(responder.answer))
    return request_of("SessionService/ConfirmSession", name=name, tag=bytes(32)), LEDGER


def _close(api: Api) -> Made:
    _, name, _ = _offered(api)
    return request_of("SessionService/CloseSession", name=name), PAYMENTS


SCENARIOS |= {
    "SessionService/OpenSession": _open,
    "SessionService/JoinSession": _join,
    "SessionService/ConfirmSession": _confirm,
    "SessionService/CloseSession": _close,
}


def test_every_mutation_has_a_scenario() -> None:
    assert set(MUTATIONS) == set(SCENARIOS)


def content(response: Message) -> Message:
    """The answer without what tells an original from its repetition."""
    copy = type(response)()
    copy.CopyFrom(response)
    for name in ("header", "replayed"):
        if name in response.DESCRIPTOR.fields_by_name:
            copy.ClearField(name)
    return copy


def at_rest(world: World) -> NodeStatus:
    """The nodes' common state once the leader has carried out what was recorded: a second without a change."""

    def unchanged() -> NodeStatus:
        first = world.observer.wait_agreement()
        time.sleep(1.0)
        last = world.observer.wait_agreement()
        if last.revision != first.revision:
            raise NotYet(f"revision {first.revision}, then {last.revision}")
        return last

    return wait_for("the cluster to come to rest", unchanged, 30)


@dataclass
class Sent:
    """A request and what it was answered."""

    method: str
    request: Message
    principal: Identity
    answer: Message


def repeat(api: Api, sent: list[Sent], node: str, when: str) -> list[str]:
    """What is wrong with the answers to the same requests."""
    wrong = []
    for one in sent:
        answer = api.call(one.method, one.request, one.principal, node)
        if not answer.replayed:
            wrong.append(f"{one.method} {when}: not marked as replayed")
        if content(answer) != one.answer:
            wrong.append(f"{one.method} {when}: answered {content(answer)}, before {one.answer}")
    return wrong


def test_a_repeated_request_has_one_effect_and_one_answer(make_world: Callable[..., Any]) -> None:
    with make_world(overrides=SETTINGS) as world:
        world.observer.wait_root(1)
        api = Api(world)
        sent: list[Sent] = []
        for method, make in SCENARIOS.items():
            request, principal = make(api)
            sent.append(Sent(method, request, principal, content(api.call(method, request, principal))))
        world.observer.wait_root(2)  # asked for by RotateRoot: nothing else changes by itself from here on
        before = at_rest(world)

        wrong = [problem for node in world.nodes for problem in repeat(api, sent, node, f"at {node}")]
        assert wrong == []

        leader = world.observer.wait_leader()
        world.cluster.nodes[leader].kill()
        heir = world.observer.wait_leader(world.others(leader))
        wrong = repeat(api, sent, heir, "after the leader was killed")
        world.cluster.start_members([leader])
        assert wrong == []

        world.cluster.kill()
        world.cluster.start_members(world.cluster.kmes)
        world.cluster.start_members(world.cluster.nodes)
        wrong = repeat(api, sent, world.observer.wait_leader(), "after all were killed and restarted")
        assert wrong == []

        rebuilt = world.others(world.observer.wait_leader())[0]
        world.cluster.nodes[rebuilt].kill()
        raft = world.cluster.layout.home(rebuilt) / "data" / "raft"
        raft.rename(raft.with_name("raft-lost"))
        world.cluster.start_members([rebuilt])
        after = world.observer.wait_agreement()
        assert "consensus.snapshot_installed" in world.cluster.layout.log(rebuilt).read_text()
        wrong = repeat(api, sent, rebuilt, "at a node rebuilt from a snapshot")
        api.close()
        assert wrong == []
        assert (after.revision, after.state_digest) == (before.revision, before.state_digest)
