"""Both clients against scripted nodes over real mutual TLS: repetition, fail-over, leaders, errors."""

import asyncio
import inspect
from uuid import uuid4

import grpc
import pytest
from google.protobuf.message import Message
from tests.unit.qkms_client.conftest import Drop, Refuse, ScriptedCluster, Sdk, header

from qkms.v1 import crypto_pb2, key_pb2
from qkms_client import STALE_OK, AsyncClient, Client, Grade
from qkms_client import errors as e

CREATE, GET, ROTATE = "KeyService/CreateKey", "KeyService/GetKey", "KeyService/RotateKey"
LIST, ENCRYPT = "KeyService/ListKeys", "CryptoService/Encrypt"


def created(request: Message, revision: int = 7, leader: str = "", replayed: bool = False) -> Message:
    assert isinstance(request, key_pb2.CreateKeyRequest)
    key = key_pb2.Key(name=f"keys/{request.key_id}", primary_version=1, revision=revision)
    return key_pb2.CreateKeyResponse(header=header(revision, leader=leader), key=key, replayed=replayed)


def got(revision: int = 7, primary: int = 1) -> key_pb2.GetKeyResponse:
    return key_pb2.GetKeyResponse(
        header=header(revision), key=key_pb2.Key(name="keys/payments", primary_version=primary, revision=revision)
    )


def rotated(request: Message) -> Message:
    assert isinstance(request, key_pb2.RotateKeyRequest)
    new = request.expected_primary_version + 1
    return key_pb2.RotateKeyResponse(
        header=header(9),
        key=key_pb2.Key(name=request.name, primary_version=new),
        version=key_pb2.KeyVersion(name=f"{request.name}/versions/{new}", version=new),
    )


class Ledger:
    """What the nodes share: the effects of requests, each once."""

    def __init__(self, lost_answers: int) -> None:
        self.effects: dict[str, bytes] = {}
        self._lost = lost_answers

    def create(self, request: Message, _number: int) -> Message:
        """Applies, and loses the first answers."""
        assert isinstance(request, key_pb2.CreateKeyRequest)
        replayed = request.request_id in self.effects
        self.effects.setdefault(request.request_id, request.SerializeToString(deterministic=True))
        if self._lost > 0:
            self._lost -= 1
            raise Drop
        return created(request, replayed=replayed)


async def test_a_lost_answer_is_asked_for_again_with_the_same_request(cluster: ScriptedCluster, sdk: Sdk) -> None:
    ledger = Ledger(lost_answers=2)
    cluster.on_all(CREATE, key_pb2.CreateKeyRequest, ledger.create)
    key = await sdk("create_key", "payments", labels={"team": "a"})
    assert key.replayed
    assert cluster.total(CREATE) == 3
    assert len(ledger.effects) == 1
    sent = {r.SerializeToString(deterministic=True) for n in cluster.nodes.values() for r in n.requests(CREATE)}
    assert sent == set(ledger.effects.values())


async def test_the_callers_request_id_is_used(cluster: ScriptedCluster, sdk: Sdk) -> None:
    ledger, request_id = Ledger(lost_answers=0), uuid4()
    cluster.on_all(CREATE, key_pb2.CreateKeyRequest, ledger.create)
    first = await sdk("create_key", "payments", request_id=request_id)
    again = await sdk("create_key", "payments", request_id=str(request_id).upper())
    assert (first.replayed, again.replayed) == (False, True)
    assert list(ledger.effects) == [str(request_id)]


async def test_nodes_that_cannot_be_reached_leave_no_doubt(cluster: ScriptedCluster, kind: str) -> None:
    """Nothing was sent, so nothing can have happened: not an unknown outcome."""
    for node in cluster.nodes:
        await cluster.stop(node)
    sdk = Sdk(cluster.profile(timeout_s=1.0), kind)
    with pytest.raises(e.Unavailable) as caught:
        await sdk("create_key", "payments")
    assert not isinstance(caught.value, e.OutcomeUnknown)
    await sdk.close()


async def test_mutations_follow_the_leader(cluster: ScriptedCluster, sdk: Sdk) -> None:
    def elsewhere(_request: Message, _number: int) -> Message:
        raise Refuse("NOT_COMMITTED", metadata={"leader": "node-3", "leader_address": "127.0.0.1:1"})

    for node in ("node-1", "node-2"):
        cluster.nodes[node].on(CREATE, key_pb2.CreateKeyRequest, elsewhere)
    cluster.nodes["node-3"].on(
        CREATE, key_pb2.CreateKeyRequest, lambda r, n: created(r, leader="node-3" if n == 0 else "node-2")
    )
    await sdk("create_key", "one")
    await sdk("create_key", "two")
    assert [len(cluster.nodes[n].requests(CREATE)) for n in ("node-1", "node-2", "node-3")] == [1, 0, 2]
    cluster.nodes["node-2"].on(CREATE, key_pb2.CreateKeyRequest, lambda r, _n: created(r))
    await sdk("create_key", "three")
    assert len(cluster.nodes["node-2"].requests(CREATE)) == 1


async def test_a_deadline_on_a_silent_cluster_leaves_the_outcome_unknown(
    cluster: ScriptedCluster, kind: str
) -> None:
    cluster.on_all(ROTATE, key_pb2.RotateKeyRequest, lambda r, _n: rotated(r))
    for node in cluster.nodes.values():
        node.silent = True
    sdk = Sdk(cluster.profile(timeout_s=0.6, attempt_timeout_s=0.2), kind)
    with pytest.raises(e.OutcomeUnknown) as caught:
        await sdk("rotate_key", "payments", expected_primary_version=4)
    error = caught.value
    sent = {r.request_id for n in cluster.nodes.values() for r in n.requests(ROTATE)}  # type: ignore[attr-defined]
    assert sent == {error.request_id}
    assert error.metadata["request_id"] == error.request_id
    assert error.metadata["expected_primary_version"] == "4"
    assert str(error.request_id) in str(error)
    assert isinstance(error.__cause__, e.QkmsError)
    await sdk.close()


async def test_a_read_on_a_silent_cluster_ends_at_its_deadline(cluster: ScriptedCluster, kind: str) -> None:
    cluster.on_all(GET, key_pb2.GetKeyRequest, lambda _r, _n: got())
    for node in cluster.nodes.values():
        node.silent = True
    sdk = Sdk(cluster.profile(timeout_s=0.4, attempt_timeout_s=0.2), kind)
    with pytest.raises(e.DeadlineExceeded):
        await sdk("get_key", "payments")
    await sdk.close()


async def test_reads_carry_what_was_seen(cluster: ScriptedCluster, sdk: Sdk) -> None:
    cluster.on_all(CREATE, key_pb2.CreateKeyRequest, lambda r, _n: created(r, revision=41))
    cluster.on_all(GET, key_pb2.GetKeyRequest, lambda _r, _n: got(revision=43))
    await sdk("create_key", "payments")
    await sdk("get_key", "payments")
    await sdk("get_key", "payments", consistency=STALE_OK)
    default, asked = (
        r.consistency  # type: ignore[attr-defined]
        for r in cluster.nodes["node-1"].requests(GET)
    )
    assert default.revision == 41
    assert asked.level == STALE_OK.message().level
    assert sdk.client.revision == 43


async def test_an_encryption_by_a_node_behind_is_not_taken(cluster: ScriptedCluster, sdk: Sdk) -> None:
    """node-1 has not yet seen the caller's own write, so it may encrypt under the version before."""
    cluster.on_all(CREATE, key_pb2.CreateKeyRequest, lambda r, _n: created(r, revision=41))
    for node, revision in (("node-1", 40), ("node-2", 41), ("node-3", 41)):
        answer = crypto_pb2.EncryptResponse(header=header(revision), ciphertext=node.encode(), version=1)
        cluster.nodes[node].on(ENCRYPT, crypto_pb2.EncryptRequest, lambda _r, _n, answer=answer: answer)  # type: ignore[misc]
    await sdk("create_key", "payments")
    sealed = await sdk("encrypt", "keys/payments", b"data", context={"tenant": "a"}, aad=b"x")
    assert sealed.ciphertext == b"node-2"
    (request,) = cluster.nodes["node-2"].requests(ENCRYPT)
    assert request == crypto_pb2.EncryptRequest(
        name="keys/payments", plaintext=b"data", context={"tenant": "a"}, additional_authenticated_data=b"x"
    )


async def test_a_rotation_reads_the_version_and_survives_a_conflict(cluster: ScriptedCluster, sdk: Sdk) -> None:
    def conflict_once(request: Message, number: int) -> Message:
        if number == 0:
            raise Refuse("VERSION_CONFLICT", grpc.StatusCode.ABORTED, {"expected": "4", "actual": "5"})
        return rotated(request)

    cluster.nodes["node-1"].on(GET, key_pb2.GetKeyRequest, lambda _r, n: got(primary=4 + n))
    cluster.nodes["node-1"].on(ROTATE, key_pb2.RotateKeyRequest, conflict_once)
    rotation = await sdk("rotate_key", "payments")
    assert rotation.version.version == 6
    first, second = cluster.nodes["node-1"].requests(ROTATE)
    assert isinstance(first, key_pb2.RotateKeyRequest)
    assert isinstance(second, key_pb2.RotateKeyRequest)
    assert (first.expected_primary_version, second.expected_primary_version) == (4, 5)
    assert first.request_id == second.request_id == rotation.request_id


async def test_a_conflict_with_a_version_the_caller_named_is_the_result(
    cluster: ScriptedCluster, sdk: Sdk
) -> None:
    def conflict(_request: Message, _number: int) -> Message:
        raise Refuse("VERSION_CONFLICT", grpc.StatusCode.ABORTED, {"expected": "4", "actual": "5"})

    cluster.on_all(ROTATE, key_pb2.RotateKeyRequest, conflict)
    with pytest.raises(e.VersionConflict) as caught:
        await sdk("rotate_key", "payments", expected_primary_version=4)
    assert (caught.value.expected, caught.value.actual) == (4, 5)
    assert cluster.total(ROTATE) == 1


async def test_a_list_goes_over_all_pages_and_nodes(cluster: ScriptedCluster, sdk: Sdk) -> None:
    def page(request: Message, number: int) -> Message:
        assert isinstance(request, key_pb2.ListKeysRequest)
        start = int(request.page_token or 0)
        if start == 2 and number < 2:
            raise Drop
        names = [f"keys/k{i}" for i in range(start, min(start + 2, 5))]
        following = str(start + 2) if start + 2 < 5 else ""
        return key_pb2.ListKeysResponse(
            header=header(3), keys=[key_pb2.Key(name=n) for n in names], next_page_token=following
        )

    cluster.on_all(LIST, key_pb2.ListKeysRequest, page)
    if isinstance(sdk.client, AsyncClient):
        names = [key.key_id async for key in sdk.client.list_keys(page_size=2)]
    else:
        listing = sdk.client
        names = await asyncio.to_thread(lambda: [key.key_id for key in listing.list_keys(page_size=2)])
    assert names == [f"k{i}" for i in range(5)]


async def test_a_closed_client_says_so(cluster: ScriptedCluster, sdk: Sdk) -> None:
    await sdk.close()
    with pytest.raises(e.ClientClosed):
        await sdk("get_key", "payments")


async def test_grades_are_sent_by_number(cluster: ScriptedCluster, sdk: Sdk) -> None:
    cluster.on_all(CREATE, key_pb2.CreateKeyRequest, lambda r, _n: created(r))
    await sdk("create_key", "payments", required_grade=Grade.QKD_PQC)
    (request,) = cluster.nodes["node-1"].requests(CREATE)
    assert isinstance(request, key_pb2.CreateKeyRequest)
    assert int(request.required_grade) == Grade.QKD_PQC


def public(client: type) -> dict[str, list[tuple[str, object, object]]]:
    """Methods and their parameters, without the types of results."""
    return {
        name: [(p.name, p.kind, p.default) for p in inspect.signature(method).parameters.values()]
        for name, method in inspect.getmembers(client, inspect.isfunction)
        if not name.startswith("_")
    }


def test_both_clients_have_the_same_surface() -> None:
    assert public(Client) == public(AsyncClient)
    assert len(public(Client)) >= 22
