"""Batch and Stream at one node: every method is carried, fails alone, and takes the path of its unary twin."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
import structlog
from google.rpc import error_details_pb2, status_pb2

from local_node import ALICE, BOB, LocalNode, local_node
from qkms.carrying import BY_FIELD, MAX_BATCH_CALLS
from qkms.v1 import common_pb2, crypto_pb2_grpc, key_pb2, key_pb2_grpc
from qkms.v1 import crypto_pb2 as pb
from qkms_node.config_sections import Rule
from qkms_node.rpc.carrying_servicer import MAX_STREAM_CALLS

pytestmark = pytest.mark.asyncio(loop_scope="module")

RULES = (
    Rule(principals=("*/alice",), actions=("*",)),
    Rule(principals=("*/bob",), actions=("crypto.random",)),
)
ALGORITHMS = {"sealing": key_pb2.AES_256_GCM, "hmac": key_pb2.HMAC_SHA256, "kem": key_pb2.ML_KEM_768}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalNode]:
    async with local_node(tmp_path_factory.mktemp("node"), RULES) as started, started.channel() as channel:
        for key_id, algorithm in {**ALGORITHMS, "signing": key_pb2.ED25519}.items():
            await created(channel, key_id, algorithm)
        yield started


async def created(channel: grpc.aio.Channel, key_id: str, algorithm: "key_pb2.KeyAlgorithm.ValueType") -> None:
    request = key_pb2.CreateKeyRequest(request_id=str(uuid.uuid4()), key_id=key_id, algorithm=algorithm)
    async with asyncio.timeout(20):
        while True:
            try:
                await key_pb2_grpc.KeyServiceStub(channel).CreateKey(request)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                await asyncio.sleep(0.05)
            else:
                return


def random(length: int) -> pb.CryptoCall:
    return pb.CryptoCall(random_bytes=pb.RandomBytesRequest(length=length))


def info_of(status: status_pb2.Status) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info


def reason(answer: pb.CryptoAnswer) -> str:
    return info_of(answer.status).reason if answer.HasField("status") else "OK"


async def one_request_of_each(crypto: Any) -> dict[str, Any]:
    """A request that succeeds for every method, by its field."""
    sealed = await crypto.Encrypt(pb.EncryptRequest(name="keys/sealing", plaintext=b"x"))
    mac = await crypto.Mac(pb.MacRequest(name="keys/hmac", data=b"x"))
    signed = await crypto.Sign(pb.SignRequest(name="keys/signing", message=b"x"))
    shared = await crypto.Encapsulate(pb.EncapsulateRequest(name="keys/kem"))
    return {
        "encrypt": pb.EncryptRequest(name="keys/sealing", plaintext=b"x"),
        "decrypt": pb.DecryptRequest(name="keys/sealing", ciphertext=sealed.ciphertext),
        "rewrap": pb.RewrapRequest(name="keys/sealing", ciphertext=sealed.ciphertext),
        "generate_data_key": pb.GenerateDataKeyRequest(name="keys/sealing"),
        "derive_key": pb.DeriveKeyRequest(name="keys/sealing", context={"a": "b"}),
        "mac": pb.MacRequest(name="keys/hmac", data=b"x"),
        "verify_mac": pb.VerifyMacRequest(name="keys/hmac", data=b"x", mac=mac.mac, version=1),
        "sign": pb.SignRequest(name="keys/signing", message=b"x"),
        "verify": pb.VerifyRequest(name="keys/signing", message=b"x", signature=signed.signature, version=1),
        "get_public_key": pb.GetPublicKeyRequest(name="keys/signing"),
        "encapsulate": pb.EncapsulateRequest(name="keys/kem"),
        "decapsulate": pb.DecapsulateRequest(name="keys/kem", ciphertext=shared.ciphertext, version=1),
        "random_bytes": pb.RandomBytesRequest(length=8),
    }


async def test_every_unary_method_of_the_descriptor_is_carried(node: LocalNode) -> None:
    service: Any = pb.DESCRIPTOR.services_by_name["CryptoService"]
    unary = {m.name for m in service.methods if not m.client_streaming and not m.server_streaming} - {"Batch"}
    assert {carried.method for carried in BY_FIELD.values()} == unary
    numbers: Any = pb.CryptoCall.DESCRIPTOR.fields_by_name
    answer_numbers: Any = pb.CryptoAnswer.DESCRIPTOR.fields_by_name
    for field, carried in BY_FIELD.items():
        assert field == carried.answer_field
        assert numbers[field].number == answer_numbers[field].number
    async with node.channel() as channel:
        crypto = crypto_pb2_grpc.CryptoServiceStub(channel)
        requests = await one_request_of_each(crypto)
        assert requests.keys() == BY_FIELD.keys(), "give the new method a request here"
        calls = [BY_FIELD[field].call(request) for field, request in requests.items()]
        batch = await crypto.Batch(pb.BatchRequest(calls=calls))
        assert [a.WhichOneof("answer") for a in batch.answers] == list(requests)
        stream = crypto.Stream()
        for number, call in enumerate(calls):
            await stream.write(pb.StreamRequest(id=number, call=call))
        await stream.done_writing()
        answers = {answer.id: answer.answer async for answer in stream}
    assert [answers[n].WhichOneof("answer") for n in range(len(calls))] == list(requests)
    for answer in (*batch.answers, *answers.values()):
        assert getattr(answer, str(answer.WhichOneof("answer"))).header.node_id == "node-1"


async def failing_calls_and_their_unary_errors(crypto: Any) -> list[tuple[pb.CryptoCall, Any]]:
    bad = [
        pb.EncryptRequest(name="keys/nothing"),
        pb.EncryptRequest(name="nonsense"),
        pb.MacRequest(name="keys/sealing"),
        pb.DecryptRequest(name="keys/sealing", ciphertext=bytes(200)),
        pb.RandomBytesRequest(length=0),
    ]
    methods = [crypto.Encrypt, crypto.Encrypt, crypto.Mac, crypto.Decrypt, crypto.RandomBytes]
    fields = ["encrypt", "encrypt", "mac", "decrypt", "random_bytes"]
    found = []
    for request, method, field in zip(bad, methods, fields, strict=True):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await method(request)
        trailing = dict(caught.value.trailing_metadata() or ())
        status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
        found.append((BY_FIELD[field].call(request), status))
    return found


async def test_a_bad_call_fails_alone_with_the_status_of_its_unary_twin(node: LocalNode) -> None:
    async with node.channel() as channel:
        crypto = crypto_pb2_grpc.CryptoServiceStub(channel)
        bad = await failing_calls_and_their_unary_errors(crypto)
        calls = [call for pair in bad for call in (random(8), pair[0])]
        batch = await crypto.Batch(pb.BatchRequest(calls=[*calls, pb.CryptoCall()]))
        stream = crypto.Stream()
        for number, call in enumerate([*calls, pb.CryptoCall()]):
            await stream.write(pb.StreamRequest(id=number, call=call))
        await stream.done_writing()
        streamed = {answer.id: answer.answer async for answer in stream}
    for answers in (list(batch.answers), [streamed[n] for n in range(len(calls) + 1)]):
        assert all(len(answers[n].random_bytes.data) == 8 for n in range(0, len(calls), 2))
        assert [answers[n].status for n in range(1, len(calls), 2)] == [status for _, status in bad]
        assert reason(answers[-1]) == "INVALID_FIELD"


async def test_each_call_is_authorised_as_the_caller_of_the_stream(node: LocalNode) -> None:
    sealing = pb.CryptoCall(encrypt=pb.EncryptRequest(name="keys/sealing"))
    async with node.channel(BOB) as channel, node.channel(ALICE) as other:
        bob, alice = crypto_pb2_grpc.CryptoServiceStub(channel), crypto_pb2_grpc.CryptoServiceStub(other)
        batches = [await crypto.Batch(pb.BatchRequest(calls=[sealing, random(4)])) for crypto in (bob, alice)]
        assert [[reason(a) for a in batch.answers] for batch in batches] == [
            ["PERMISSION_DENIED", "OK"],
            ["OK", "OK"],
        ]
        assert info_of(batches[0].answers[0].status).metadata["principal"] == BOB.uri
        streams = {BOB.uri: bob.Stream(), ALICE.uri: alice.Stream()}
        for _ in range(3):
            for stream in streams.values():
                await stream.write(pb.StreamRequest(call=sealing))
        for stream in streams.values():
            await stream.done_writing()
        answers = {who: [reason(a.answer) async for a in stream] for who, stream in streams.items()}
    assert answers == {BOB.uri: ["PERMISSION_DENIED"] * 3, ALICE.uri: ["OK"] * 3}


async def test_answers_come_as_they_are_ready_and_a_slow_call_has_a_deadline_of_its_own(node: LocalNode) -> None:
    # Nothing will ever reach this revision: the call waits until its deadline.
    waiting = pb.EncryptRequest(name="keys/sealing")
    waiting.consistency.level = common_pb2.AT_LEAST
    waiting.consistency.revision = 10_000_000
    async with node.channel() as channel:
        stream: Any = crypto_pb2_grpc.CryptoServiceStub(channel).Stream()
        slow = pb.CryptoCall(encrypt=waiting)
        await stream.write(pb.StreamRequest(id=1, call=slow, timeout_ms=300))
        await stream.write(pb.StreamRequest(id=2, call=random(4)))
        first = await stream.read()
        assert (first.id, reason(first.answer)) == (2, "OK")
        await stream.done_writing()
        last = await stream.read()
        assert (last.id, reason(last.answer)) == (1, "DEADLINE_EXCEEDED")
        assert await stream.read() is grpc.aio.EOF
        batch = await crypto_pb2_grpc.CryptoServiceStub(channel).Batch(
            pb.BatchRequest(calls=[slow, random(4)], timeout_ms=100)
        )
    assert [reason(a) for a in batch.answers] == ["DEADLINE_EXCEEDED", "OK"]


async def test_who_does_not_read_answers_is_served_no_more_calls_and_loses_none(node: LocalNode) -> None:
    # 64 KiB each: far more than gRPC buffers between the node and a caller who does not read.
    count = 10 * MAX_STREAM_CALLS
    async with node.channel() as channel:
        stream: Any = crypto_pb2_grpc.CryptoServiceStub(channel).Stream()
        with structlog.testing.capture_logs() as events:
            for number in range(count):
                await stream.write(pb.StreamRequest(id=number, call=random(65_536)))
            await stream.done_writing()
            before, served = -1, 0
            while before < served:
                before = served
                await asyncio.sleep(0.3)
                served = sum(event.get("method") == "CryptoService/RandomBytes" for event in events)
        assert MAX_STREAM_CALLS <= served < count
        ids = [answer.id async for answer in stream]
    assert sorted(ids) == list(range(count))


async def test_a_caller_who_leaves_ends_its_calls_and_no_others(node: LocalNode) -> None:
    async with node.channel() as channel:
        crypto = crypto_pb2_grpc.CryptoServiceStub(channel)
        leaving: Any = crypto.Stream()
        staying: Any = crypto.Stream()
        for _ in range(MAX_STREAM_CALLS):
            await leaving.write(pb.StreamRequest(call=random(65_536)))
        leaving.cancel()
        await staying.write(pb.StreamRequest(id=7, call=random(4)))
        assert (await staying.read()).id == 7
        await staying.done_writing()
        assert await staying.read() is grpc.aio.EOF


async def test_a_batch_is_bounded_in_calls_and_in_the_bytes_of_its_answer(node: LocalNode) -> None:
    async with node.channel() as channel:
        crypto = crypto_pb2_grpc.CryptoServiceStub(channel)
        for count in (0, MAX_BATCH_CALLS + 1):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await crypto.Batch(pb.BatchRequest(calls=[random(1)] * count))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        full = await crypto.Batch(pb.BatchRequest(calls=[random(65_536)] * 100))
    reasons = [reason(a) for a in full.answers]
    assert reasons == ["OK"] * 47 + ["BATCH_FULL"] * 53


async def test_a_stopping_node_answers_what_it_has_read_and_ends_its_streams(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    async with local_node(tmp_path_factory.mktemp("stopping")) as stopping, stopping.channel() as channel:
        stream: Any = crypto_pb2_grpc.CryptoServiceStub(channel).Stream()
        await stream.write(pb.StreamRequest(id=1, call=random(4)))
        assert (await stream.read()).id == 1
        ending = asyncio.create_task(stopping.stop())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stream.read()
        trailing = dict(caught.value.trailing_metadata() or ())
        assert info_of(status_pb2.Status.FromString(trailing["grpc-status-details-bin"])).reason == "SHUTTING_DOWN"
        await ending


async def test_each_carried_call_has_an_audit_record_of_its_own(node: LocalNode) -> None:
    def records(method: str) -> int:
        folder = node.config.node.data_dir / "audit"
        lines = [line for path in folder.glob("calls*") for line in path.read_bytes().splitlines()]
        return sum(f"CryptoService/{method}".encode() in line and b"/bob" in line for line in lines)

    before, streams, batches = (records(method) for method in ("RandomBytes", "Stream", "Batch"))
    async with node.channel(BOB) as channel:
        crypto = crypto_pb2_grpc.CryptoServiceStub(channel)
        await crypto.Batch(pb.BatchRequest(calls=[random(4)] * 5))
        stream: Any = crypto.Stream()
        for _ in range(7):
            await stream.write(pb.StreamRequest(call=random(4)))
        await stream.done_writing()
        assert len([answer async for answer in stream]) == 7
    assert records("RandomBytes") == before + 5 + 7
    assert records("Batch") == batches + 1
    assert records("Stream") == streams + 2, "when it begins and when it ends"
