"""A valid certificate of the cluster's CA opens the listeners meant for its owner, and no others.

What a stranger is given is in test_strangers_get_nothing.py, with who is greeted at a
Raft listener; here everybody is known to the CA and knocks at somebody else's door.
"""

import ssl
import uuid
from collections.abc import Iterator
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from qkms.carrying import BY_PATH
from qkms.kem import HybridPrivateKey
from qkms.v1 import crypto_pb2 as crypto
from qkms.v1 import key_pb2 as keys
from qkms.v1 import session_pb2 as sessions
from qkms_chaos.cluster.world import World
from qkms_chaos.refusal import NotRefused, refusal_of
from qkms_client.errors import GrantNotFound, PermissionDenied, QkmsError
from qkms_client.status import error_of_status
from qkms_node.assembly.faces import SERVICES
from qkms_node.pki import Identity

pytestmark = pytest.mark.cluster

TIMEOUT_S = 5.0
FOR_MEMBERS = "EnrolService"  # whom it serves, its own tests say
NOT_OF_A_VERSION = ("StageVersion", "ImportVersion")  # of a key, of an import
COLLECTIONS = {"Policy": "policies", "Role": "roles", "Tenant": "tenants"}

# Members are no clients: not the others, not the node itself, and not the devices.
NO_CLIENTS = (Identity("node", "node-2"), Identity("node", "node-1"), Identity("kme", "kme-1"))


def methods() -> Iterator[Any]:
    """The descriptor of each method of the API that is for clients."""
    pool: Any = descriptor_pool.Default()
    for service in SERVICES:
        if service.endswith(".EnrolService"):  # made for members: what it gives whom, test_enrolment asks
            continue
        yield from pool.FindServiceByName(service).methods


def acceptable_request(method: Any) -> Message:
    """One whose fields have the right form, so that only who asks can be at fault."""
    name = "keys/payments"
    if method.containing_service.name == "SessionService":
        name = f"sessions/{uuid.uuid4()}"
    elif method.name == "ImportVersion":
        name = f"{name}/imports/{uuid.uuid4()}"
    elif method.name == "RevokeGrant":
        name = f"grants/{uuid.uuid4()}"
    elif method.name.endswith("Version") and method.name not in NOT_OF_A_VERSION:
        name = f"{name}/versions/1"
    for suffix, collection in COLLECTIONS.items():
        if method.name.endswith(suffix):
            name = f"{collection}/one"
    public = HybridPrivateKey.generate().public
    recovery = {"set_id": "00112233445566aa", "threshold": 2, "share_count": 3}
    filling: dict[str, Any] = {
        "name": name,
        "parent": "keys/payments",
        "key_id": "payments",
        "request_id": str(uuid.uuid4()),
        "algorithm": keys.AES_256_GCM,
        "suite": sessions.MLKEM768_X25519_SHA256,
        "session_id": str(uuid.uuid4()),
        "offer": sessions.SessionOffer(mlkem_public_key=bytes(1184), x25519_public_key=bytes(32), nonce=bytes(32)),
        "tag": bytes(32),
        "responder": "spiffe://qkms.dev/service/ledger",
        "expected_primary_version": 1,
        "message": b"attack at dawn",
        "node_id": "node-9",
        "peer_node_id": "node-2",
        "raft_address": "127.0.0.1:1",
        "rpc_address": "127.0.0.1:2",
        "key": keys.Key(name="keys/payments", labels={"a": "b"})
        if method.name == "UpdateKey"
        else "keys/payments",
        "update_mask": {"paths": ["labels"]},
        "method": keys.RSA_OAEP_SHA256,
        "wrapped_material": bytes(384),
        "policy_id": "one",
        "role_id": "one",
        "tenant_id": "one",
        "rules": [{"effect": 1, "actions": ["keys.get"]}],
        "principals": ["somebody"],
        "grant_id": str(uuid.uuid4()),
        "grantee": "spiffe://qkms.dev/service/ledger",
        "actions": ["keys.get"],
        "keys": ["keys/payments"],
        "policies": ["policies/one"],
        "ttl": {"seconds": 60},
        "principal": "spiffe://qkms.dev/service/ledger",
        "action": "keys.get",
        "chain": 1,
        "recovery": {**recovery, "public_key": {"mlkem": public.mlkem, "x25519": public.x25519}},
        "set_id": "00112233445566aa",
        "recovery_set_id": "00112233445566aa",
        "restore_id": str(uuid.uuid4()),
    }
    fields = method.input_type.fields_by_name
    if method.containing_service.name == "CryptoService" and {"call", "calls"} & set(fields):
        of_methods = {f"/{m.containing_service.full_name}/{m.name}": m for m in methods()}
        calls = [carried.call(acceptable_request(of_methods[path])) for path, carried in BY_PATH.items()]
        filling = {"call": calls[0], "calls": calls}
    request: Message = GetMessageClass(method.input_type)(**{f: v for f, v in filling.items() if f in fields})
    return request


def stub_of(channel: grpc.Channel, method: Any) -> Any:
    if method.client_streaming:
        streaming: Any = channel.stream_stream(
            f"/{method.containing_service.full_name}/{method.name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        return lambda request, timeout: streaming(iter([request]), timeout=timeout)
    kind: Any = channel.unary_stream if method.server_streaming else channel.unary_unary
    return kind(
        f"/{method.containing_service.full_name}/{method.name}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )


def answer_to(stub: Any, request: Message) -> Any:
    """The answer, or the first of a stream."""
    answer = stub(request, timeout=TIMEOUT_S)
    return next(answer) if isinstance(answer, Iterator) else answer


def how_refused(stub: Any, request: Message) -> QkmsError:
    """The error of a call, or that of every call it carries. Raises NotRefused."""
    answers: list[crypto.CryptoAnswer] = []

    def answer() -> Message:
        given: Any = answer_to(stub, request)
        if isinstance(given, crypto.StreamResponse):
            answers.append(given.answer)
        elif isinstance(given, crypto.BatchResponse):
            answers.extend(given.answers)
        return given  # type: ignore[no-any-return]

    try:
        return refusal_of(answer)
    except NotRefused:
        errors = [error_of_status(one.status) for one in answers if one.HasField("status")]
        if not answers or len(errors) < len(answers) or len({error.reason for error in errors}) > 1:
            raise
        return errors[0]


@pytest.mark.parametrize("who", NO_CLIENTS, ids=lambda who: f"{who.kind} {who.name}")
def test_no_method_serves_a_member(healthy: World, who: Identity) -> None:
    files = healthy.cluster.authority.issue(who)
    credentials = grpc.ssl_channel_credentials(
        files.ca.read_bytes(), files.private_key.read_bytes(), files.certificate.read_bytes()
    )
    refused, served = {}, {}
    with grpc.secure_channel(healthy.cluster.network.rpc("node-1"), credentials) as channel:
        for method in methods():
            stub, request = stub_of(channel, method), acceptable_request(method)
            try:
                refused[method.full_name] = how_refused(stub, request)
            except NotRefused:
                served[method.full_name] = answer_to(stub, request)
    # That there is no such grant is all that a stranger to it learns.
    assert isinstance(refused.pop("qkms.v1.PolicyService.RevokeGrant"), GrantNotFound)
    otherwise = [f"{name}: {error}" for name, error in refused.items() if not isinstance(error, PermissionDenied)]
    assert not otherwise, "\n".join(otherwise)
    assert len(refused) > 20
    # Whoever asks is told of the grants lent to itself: to a member, none.
    assert served.pop("qkms.v1.PolicyService.ListGrants").grants == []
    # What `qkms-node unseal` brings to its own node.
    may_unseal = who == Identity("node", "node-1")
    assert set(served) == ({"qkms.v1.ClusterService.Unseal"} if may_unseal else set())


def knock(world: World, who: Identity, url: str, body: dict[str, str] | None = None) -> httpx.Response:
    """The answer of a KME's face to `who`: a GET, or a POST of `body`."""
    files = world.cluster.authority.issue(who)
    tls = ssl.create_default_context(cafile=str(files.ca))
    tls.load_cert_chain(files.certificate, files.private_key)
    with httpx.Client(verify=tls, timeout=TIMEOUT_S, trust_env=False) as http:
        return http.get(url) if body is None else http.post(url, json=body)


@pytest.mark.parametrize("path", ["status", "enc_keys", "dec_keys?key_ID=" + str(uuid.UUID(int=7))])
@pytest.mark.parametrize(
    "who",
    [
        Identity("node", "node-2"),
        Identity("node", "node-9"),
        Identity("kme", "kme-1"),
        Identity("kme", "kme-2"),
        Identity("operator", "admin"),
        Identity("service", "payments"),
        # The name of the SAE, but not its owner.
        Identity("service", "node-1"),
        Identity("kme", "node-1"),
    ],
    ids=lambda who: f"{who.kind} {who.name}",
)
def test_a_kme_gives_keys_to_its_own_node_only(healthy: World, who: Identity, path: str) -> None:
    port = healthy.cluster.layout.site("node-1").etsi014_port
    answer = knock(healthy, who, f"https://127.0.0.1:{port}/api/v1/keys/node-2/{path}")
    assert (answer.status_code, answer.content) == (401, b"")


def test_its_own_node_is_answered(healthy: World) -> None:
    port = healthy.cluster.layout.site("node-1").etsi014_port
    answer = knock(healthy, Identity("node", "node-1"), f"https://127.0.0.1:{port}/api/v1/keys/node-2/status")
    assert (answer.status_code, answer.json()["master_SAE_ID"]) == (200, "node-1")


@pytest.mark.parametrize("operation", ["hello", "offer", "assign", "discard", "faults"])
@pytest.mark.parametrize(
    "who",
    [
        Identity("node", "node-1"),
        Identity("node", "node-2"),
        Identity("operator", "admin"),
        Identity("service", "payments"),
        Identity("kme", "kme-1"),
        Identity("service", "kme-2"),
        Identity("node", "kme-2"),
    ],
    ids=lambda who: f"{who.kind} {who.name}",
)
def test_a_kmes_link_is_for_the_kmes_at_its_other_ends(healthy: World, who: Identity, operation: str) -> None:
    port = healthy.cluster.layout.site("node-1").link_port
    answer = knock(healthy, who, f"https://127.0.0.1:{port}/link/v1/{operation}", {})
    assert (answer.status_code, answer.content) == (403, b"")


def test_a_kme_at_the_other_end_is_answered(healthy: World) -> None:
    """With a refusal of the empty request, not of the caller."""
    port = healthy.cluster.layout.site("node-1").link_port
    answer = knock(healthy, Identity("kme", "kme-2"), f"https://127.0.0.1:{port}/link/v1/discard", {})
    assert answer.status_code == 400
