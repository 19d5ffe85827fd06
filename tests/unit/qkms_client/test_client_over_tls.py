"""Both clients against real servers with real mutual TLS that answer by script."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import pytest
from google.protobuf.message import Message
from tests.unit.qkms_client.conftest import Drop, Refuse, ScriptedCluster, header

from qkms.v1 import common_pb2, crypto_pb2, key_pb2
from qkms_client import AsyncClient, Client, errors
from qkms_node.pki import Authority, Identity

ROTATE = "KeyService/RotateKey"
GET = "KeyService/GetKey"


def rotated(replayed: bool = False, leader: str = "node-1") -> key_pb2.RotateKeyResponse:
    return key_pb2.RotateKeyResponse(
        header=header(7, leader=leader),
        key=key_pb2.Key(name="keys/payments", primary_version=2, revision=7),
        version=key_pb2.KeyVersion(name="keys/payments/versions/2", version=2),
        replayed=replayed,
    )


class Ledger:
    """Applies a rotation once per request_id, as the nodes do together."""

    def __init__(self) -> None:
        self.applied: list[str] = []

    def apply(self, request: Message) -> key_pb2.RotateKeyResponse:
        assert isinstance(request, key_pb2.RotateKeyRequest)
        replayed = request.request_id in self.applied
        if not replayed:
            self.applied.append(request.request_id)
        return rotated(replayed)


async def rotate(client: AsyncClient) -> bool:
    return (await client.rotate_key("payments", expected_primary_version=1)).replayed


async def test_an_answer_lost_after_the_effect_is_found_again_with_the_same_request(
    cluster: ScriptedCluster,
) -> None:
    ledger = Ledger()

    def lossy(request: Message, number: int) -> Message:
        ledger.apply(request)
        raise Drop

    cluster.on_all(ROTATE, key_pb2.RotateKeyRequest, lambda request, _: ledger.apply(request))
    cluster.nodes["node-1"].on(ROTATE, key_pb2.RotateKeyRequest, lossy)
    async with AsyncClient(cluster.profile()) as client:
        assert await rotate(client)
    assert len(ledger.applied) == 1
    sent = [r.SerializeToString() for node in cluster.nodes.values() for r in node.requests(ROTATE)]
    assert len(sent) == 2
    assert len(set(sent)) == 1


async def test_two_calls_are_two_requests(cluster: ScriptedCluster) -> None:
    ledger = Ledger()
    cluster.on_all(ROTATE, key_pb2.RotateKeyRequest, lambda request, _: ledger.apply(request))
    async with AsyncClient(cluster.profile()) as client:
        assert not await rotate(client)
        assert not await rotate(client)
    assert len(ledger.applied) == 2


async def test_a_definite_refusal_is_not_repeated(cluster: ScriptedCluster) -> None:
    def conflict(request: Message, number: int) -> Message:
        raise Refuse("VERSION_CONFLICT", grpc.StatusCode.ABORTED, {"expected": "1", "actual": "4"})

    cluster.on_all(ROTATE, key_pb2.RotateKeyRequest, conflict)
    async with AsyncClient(cluster.profile()) as client:
        with pytest.raises(errors.VersionConflict) as caught:
            await rotate(client)
    assert (caught.value.expected, caught.value.actual) == (1, 4)
    assert caught.value.request_id
    assert sum(len(node.calls) for node in cluster.nodes.values()) == 1


async def test_the_deadline_of_a_mutation_is_an_unknown_outcome(cluster: ScriptedCluster) -> None:
    def lost(request: Message, number: int) -> Message:
        raise Drop

    cluster.on_all(ROTATE, key_pb2.RotateKeyRequest, lost)
    async with AsyncClient(cluster.profile(timeout_s=0.6)) as client:
        with pytest.raises(errors.OutcomeUnknown) as caught:
            await rotate(client)
    sent = {
        r.request_id
        for node in cluster.nodes.values()
        for r in node.requests(ROTATE)
        if isinstance(r, key_pb2.RotateKeyRequest)
    }
    assert sent == {caught.value.request_id}


async def test_a_silent_node_costs_one_attempt_not_the_call(cluster: ScriptedCluster) -> None:
    """node-1 takes the request and never answers, as a paused process does."""
    cluster.on_all(ROTATE, key_pb2.RotateKeyRequest, lambda _r, _n: rotated())
    cluster.nodes["node-1"].silent = True
    async with AsyncClient(cluster.profile(attempt_timeout_s=0.3)) as client:
        assert not await rotate(client)
    assert cluster.nodes["node-1"].requests(ROTATE)


async def test_a_stopped_node_is_passed_over(cluster: ScriptedCluster) -> None:
    cluster.on_all(GET, key_pb2.GetKeyRequest, lambda _r, _n: key_pb2.GetKeyResponse(header=header(3)))
    await cluster.stop("node-1")
    async with AsyncClient(cluster.profile()) as client:
        await client.get_key("payments")
        await client.get_key("keys/payments")
    assert len(cluster.nodes["node-2"].requests(GET)) == 2


async def test_with_all_nodes_stopped_nothing_is_claimed(cluster: ScriptedCluster) -> None:
    for node_id in cluster.nodes:
        await cluster.stop(node_id)
    async with AsyncClient(cluster.profile(timeout_s=0.5)) as client:
        with pytest.raises(errors.Unavailable):
            await rotate(client)


async def test_mutations_follow_the_leader(cluster: ScriptedCluster) -> None:
    cluster.on_all(ROTATE, key_pb2.RotateKeyRequest, lambda _r, _n: rotated(leader="node-2"))
    async with AsyncClient(cluster.profile()) as client:
        await rotate(client)
        await rotate(client)
        assert len(cluster.nodes["node-2"].requests(ROTATE)) == 1

        def moved(request: Message, number: int) -> Message:
            raise Refuse("NOT_COMMITTED", metadata={"leader": "node-3"})

        cluster.nodes["node-2"].on(ROTATE, key_pb2.RotateKeyRequest, moved)
        await rotate(client)
    assert len(cluster.nodes["node-3"].requests(ROTATE)) == 1


async def test_what_was_written_is_asked_for_in_the_next_read(cluster: ScriptedCluster) -> None:
    cluster.on_all(ROTATE, key_pb2.RotateKeyRequest, lambda _r, _n: rotated())
    cluster.on_all(GET, key_pb2.GetKeyRequest, lambda _r, _n: key_pb2.GetKeyResponse(header=header(7)))
    async with AsyncClient(cluster.profile()) as client:
        await rotate(client)
        assert client.revision == 7
        await client.get_key("payments")
    (sent,) = (r for node in cluster.nodes.values() for r in node.requests(GET))
    assert isinstance(sent, key_pb2.GetKeyRequest)
    assert sent.consistency == common_pb2.Consistency(level=common_pb2.AT_LEAST, revision=7)


async def test_the_node_sees_the_callers_certificate(cluster: ScriptedCluster) -> None:
    cluster.on_all(GET, key_pb2.GetKeyRequest, lambda _r, _n: key_pb2.GetKeyResponse(header=header()))
    async with AsyncClient(cluster.profile()) as client:
        await client.get_key("payments")
        assert client.principal == "spiffe://qkms.dev/service/payments"
    assert client.principal in cluster.nodes["node-1"].peers


async def test_a_stranger_gets_nothing(cluster: ScriptedCluster) -> None:
    cluster.on_all(GET, key_pb2.GetKeyRequest, lambda _r, _n: key_pb2.GetKeyResponse(header=header()))
    profile = cluster.profile(timeout_s=1.0)
    stranger = Authority(profile.ca.parent / "other").issue(Identity("service", "payments"))
    foreign = replace(profile, certificate=stranger.certificate, private_key=stranger.private_key)
    async with AsyncClient(foreign) as client:
        with pytest.raises(errors.Unavailable):
            await client.get_key("payments")
    assert not any(node.calls for node in cluster.nodes.values())


async def test_a_server_of_another_ca_gets_nothing(cluster: ScriptedCluster) -> None:
    profile = cluster.profile(timeout_s=1.0)
    other = Authority(profile.ca.parent / "other").certificate_path
    async with AsyncClient(replace(profile, ca=other)) as client:
        with pytest.raises(errors.Unavailable):
            await client.encrypt("payments", b"canary")
    assert not any(node.calls for node in cluster.nodes.values())


def event(revision: int) -> key_pb2.KeyEvent:
    return key_pb2.KeyEvent(revision=revision, type=key_pb2.KEY_ROTATED, name="keys/payments", version=revision)


def batch(*revisions: int) -> key_pb2.WatchKeysResponse:
    last = max(revisions, default=0)
    message = key_pb2.WatchKeysResponse(
        header=header(last), events=[event(r) for r in revisions], resume_token=f"after-{last}"
    )
    message.header.staleness.FromMilliseconds(5)
    return message


async def test_a_watch_goes_on_at_another_node_without_gap_or_repetition(cluster: ScriptedCluster) -> None:
    async def breaks(request: Message, number: int) -> AsyncIterator[Message]:
        yield batch(1, 2)
        raise Drop

    async def resumes(request: Message, number: int) -> AsyncIterator[Message]:
        assert isinstance(request, key_pb2.WatchKeysRequest)
        assert request.resume_token == "after-2"
        yield batch(2, 3)
        await asyncio.Event().wait()

    cluster.nodes["node-1"].on_stream("KeyService/WatchKeys", key_pb2.WatchKeysRequest, breaks)
    cluster.nodes["node-2"].on_stream("KeyService/WatchKeys", key_pb2.WatchKeysRequest, resumes)
    cluster.nodes["node-3"].on_stream("KeyService/WatchKeys", key_pb2.WatchKeysRequest, resumes)
    seen: list[int] = []
    async with AsyncClient(cluster.profile()) as client, client.watch_keys("payments") as watch:
        async for happened in watch:
            seen.append(happened.revision)
            if happened.revision == 3:
                break
    assert seen == [1, 2, 3]


async def test_compacted_history_ends_a_watch(cluster: ScriptedCluster) -> None:
    async def compacted(request: Message, number: int) -> AsyncIterator[Message]:
        yield batch()
        raise Refuse("HISTORY_COMPACTED", grpc.StatusCode.OUT_OF_RANGE, {"oldest_revision": "90"})

    for node in cluster.nodes.values():
        node.on_stream("KeyService/WatchKeys", key_pb2.WatchKeysRequest, compacted)
    async with AsyncClient(cluster.profile()) as client:
        with pytest.raises(errors.HistoryCompacted) as caught:
            await anext(client.watch_keys(resume_token="after-1"))
    assert caught.value.oldest_revision == 90


async def test_the_blocking_client_keeps_the_same_rules(cluster: ScriptedCluster) -> None:
    ledger = Ledger()

    def lossy(request: Message, number: int) -> Message:
        ledger.apply(request)
        raise Drop

    cluster.on_all(ROTATE, key_pb2.RotateKeyRequest, lambda request, _: ledger.apply(request))
    cluster.nodes["node-1"].on(ROTATE, key_pb2.RotateKeyRequest, lossy)

    def blocking() -> bool:
        with Client(cluster.profile()) as client:
            return client.rotate_key("payments", expected_primary_version=1).replayed

    assert await asyncio.to_thread(blocking)
    assert len(ledger.applied) == 1


async def test_secrets_do_not_show_in_results_of_calls(cluster: ScriptedCluster) -> None:
    canary = b"canary-canary-canary-canary-0123"
    cluster.on_all(
        "CryptoService/GenerateDataKey",
        crypto_pb2.GenerateDataKeyRequest,
        lambda _r, _n: crypto_pb2.GenerateDataKeyResponse(header=header(), plaintext=canary, ciphertext=b"s"),
    )
    async with AsyncClient(cluster.profile()) as client:
        key = await client.generate_data_key("payments")
    assert key.plaintext == canary
    assert "canary" not in f"{key} {key!r}"


async def test_a_closed_client_says_so(cluster: ScriptedCluster) -> None:
    client = AsyncClient(cluster.profile())
    await client.close()
    with pytest.raises(errors.ClientClosed):
        await client.get_key("payments")
