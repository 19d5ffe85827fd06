"""Both clients against a real node: batches with a result each, and streams that nobody notices."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import structlog
from tests.unit.qkms_client.conftest import Drop, ScriptedCluster, StreamScript, header

from qkms.carrying import MAX_BATCH_CALLS
from qkms.v1 import crypto_pb2 as pb
from qkms_client import AsyncClient, at_least, batch, linearizable
from qkms_client.aio import carrier
from qkms_client.errors import (
    CiphertextRejected,
    ClientClosed,
    DeadlineExceeded,
    InvalidField,
    KeyNotFound,
    PermissionDenied,
    QkmsError,
    RevisionNotReached,
)
from qkms_client.testing import MemoryServer
from qkms_client.types import Algorithm, Encrypted
from qkms_node.config_sections import Rule

RULES = (Rule(principals=("*",), actions=("*",)), Rule(("*/mallory",), ("crypto.*",), effect="deny"))
MANY = 10 * carrier.MANY


@pytest.fixture(scope="module")
def server() -> Iterator[MemoryServer]:
    with MemoryServer(RULES) as started:
        with started.client("payments") as client:
            client.create_key("payments")
            client.create_key("signing", algorithm=Algorithm.ED25519)
        yield started


@pytest.fixture
async def client(server: MemoryServer) -> AsyncIterator[AsyncClient]:
    async with server.async_client("payments") as one:
        yield one


@contextmanager
def calls_at_the_node() -> Iterator[list[str]]:
    """The methods that the node logs as calls meanwhile; a stream is logged at its end."""
    methods: list[str] = []
    with structlog.testing.capture_logs() as events:
        yield methods
    methods += [str(event["method"]) for event in events if event["event"] == "rpc.call"]


async def both(server: MemoryServer, items: list[batch.Item[Any]], who: str = "payments") -> list[list[Any]]:
    """What a batch comes to with each client."""
    with server.client(who) as blocking:
        given = await asyncio.to_thread(blocking.batch, items)
    async with server.async_client(who) as client:
        return [given, await client.batch(items)]


async def test_every_item_has_its_own_result_or_error_in_order(server: MemoryServer) -> None:
    with server.client("payments") as client:
        sealed = client.encrypt("payments", b"one", context={"a": "b"})
        signed = client.sign("signing", b"m")
    items = [
        batch.decrypt("payments", sealed, context={"a": "b"}),
        batch.decrypt("payments", sealed, context={"a": "c"}),
        batch.encrypt("nothing", b"x"),
        batch.verify("signing", b"m", signed),
        batch.random_bytes(0),
        batch.random_bytes(16),
        batch.encrypt("payments", b"two"),
    ]
    for found in await both(server, items):
        assert found[0].plaintext == b"one"
        assert isinstance(found[1], CiphertextRejected)
        assert isinstance(found[2], KeyNotFound)
        assert found[2].endpoint is not None
        assert found[3].valid
        assert isinstance(found[4], InvalidField)
        assert found[4].fields[0].field == "length"
        assert len(found[5]) == 16
        assert isinstance(found[6], Encrypted)


async def test_a_batch_of_any_size_goes_in_as_few_messages_as_hold_it(server: MemoryServer) -> None:
    with calls_at_the_node() as methods:
        small = await both(server, [batch.random_bytes(4) for _ in range(MAX_BATCH_CALLS + 2)])
    assert [len(found) for found in small] == [MAX_BATCH_CALLS + 2] * 2
    assert methods.count("CryptoService/Batch") == 2 * 2
    big = [batch.encrypt("payments", bytes(60_000)) for _ in range(20)]
    for found in await both(server, big):
        assert all(isinstance(one, Encrypted) for one in found)
    # 100 answers of 64 KiB are more than one message: the rest comes with another.
    for found in await both(server, [batch.random_bytes(65_536) for _ in range(100)]):
        assert [len(one) for one in found] == [65_536] * 100
    assert await both(server, []) == [[], []]


async def test_arguments_that_fit_no_request_are_refused_before_anything_is_sent(server: MemoryServer) -> None:
    with (
        calls_at_the_node() as methods,
        server.client("payments") as client,
        pytest.raises(ValueError, match="which version"),
    ):
        client.batch([batch.encrypt("payments", b"x"), batch.verify("signing", b"m", b"s")])
    assert methods == []


async def test_a_cut_off_node_refuses_each_item_until_the_batch_is_out_of_time(server: MemoryServer) -> None:
    items: list[batch.Item[Any]] = [
        batch.encrypt("payments", b"x", consistency=linearizable()),
        batch.random_bytes(4),
    ]
    server.cut()
    try:
        with server.client("payments") as client:
            refused, random = client.batch(items, timeout=1)
    finally:
        server.heal()
    assert isinstance(refused, QkmsError)
    assert refused.reason == "NO_QUORUM"
    assert isinstance(random, bytes)


async def test_many_calls_under_way_share_a_stream_with_the_results_of_single_ones(
    server: MemoryServer, client: AsyncClient
) -> None:
    with calls_at_the_node() as methods:
        sealed = await asyncio.gather(*(client.encrypt("payments", b"%d" % n) for n in range(MANY)))
        opened = await asyncio.gather(*(client.decrypt("payments", one) for one in sealed))
        streams = streams_of(client)
    assert [one.plaintext for one in opened] == [b"%d" % n for n in range(MANY)]
    assert methods.count("CryptoService/Encrypt") == methods.count("CryptoService/Decrypt") == MANY
    assert streams == 2
    assert all(one.header is not None and one.header.node_id == "memory-1" for one in sealed)


async def test_few_calls_go_as_they_are(client: AsyncClient) -> None:
    await asyncio.gather(*(client.random_bytes(4) for _ in range(carrier.MANY)))
    assert streams_of(client) == 0


def streams_of(client: AsyncClient) -> int:
    return sum(len(one._streams) for one in client._carriers.values())


async def test_errors_over_a_stream_are_those_of_single_calls(server: MemoryServer, client: AsyncClient) -> None:
    def calls() -> list[Any]:
        return [client.encrypt("nothing", b"x") if n % 2 else client.random_bytes(0) for n in range(MANY)]

    with pytest.raises(KeyNotFound) as alone:
        await client.encrypt("nothing", b"x")
    found = await asyncio.gather(*calls(), return_exceptions=True)
    assert streams_of(client) == 2
    for number, error in enumerate(found):
        assert isinstance(error, KeyNotFound if number % 2 else InvalidField)
    last = found[-1]
    assert isinstance(last, KeyNotFound)
    assert (last.message, last.metadata, last.endpoint) == (
        alone.value.message,
        alone.value.metadata,
        alone.value.endpoint,
    )
    async with server.async_client("mallory") as mallory:
        refused = await asyncio.gather(*(mallory.random_bytes(4) for _ in range(MANY)), return_exceptions=True)
    assert {type(error) for error in refused} == {PermissionDenied}


async def test_a_call_given_up_leaves_the_stream_to_the_others(server: MemoryServer, client: AsyncClient) -> None:
    never = at_least(10_000_000)
    waiting = [
        asyncio.create_task(client.encrypt("payments", b"x", consistency=never, timeout=0.4)) for _ in range(MANY)
    ]
    await asyncio.sleep(0.1)
    waiting[-1].cancel()
    assert len(await client.random_bytes(4)) == 4
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(ends[-1], asyncio.CancelledError)
    assert {type(end) for end in ends[:-1]} <= {DeadlineExceeded, RevisionNotReached}


async def test_closing_the_client_ends_calls_on_streams(client: AsyncClient) -> None:
    waiting = [
        asyncio.create_task(client.encrypt("payments", b"x", consistency=at_least(10_000_000)))
        for _ in range(MANY)
    ]
    await asyncio.sleep(0.1)
    await client.close()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(end) for end in ends} == {ClientClosed}


async def test_calls_on_a_broken_stream_are_made_at_another_node(cluster: ScriptedCluster) -> None:
    def served(node: str) -> StreamScript:
        async def answers(request: Any, number: int) -> AsyncIterator[Any]:
            if node == "node-1" and request.id % 3 == 0:
                raise Drop
            response = pb.RandomBytesResponse(header=header(node=node), data=b"node")
            yield pb.StreamResponse(id=request.id, answer=pb.CryptoAnswer(random_bytes=response))

        return answers

    for node in cluster.nodes.values():
        node.on("CryptoService/RandomBytes", pb.RandomBytesRequest, drawn)
        node.on_duplex("CryptoService/Stream", pb.StreamRequest, served(node.node_id))
    async with AsyncClient(cluster.profile()) as client:
        found = await asyncio.gather(*(client.random_bytes(4) for _ in range(MANY)))
    assert found == [b"node"] * MANY
    assert cluster.nodes["node-1"].requests("CryptoService/Stream")
    assert cluster.total("CryptoService/RandomBytes") < MANY, "the others went over streams"
    assert cluster.nodes["node-2"].calls


async def test_a_node_without_streams_is_called_as_before(cluster: ScriptedCluster) -> None:
    cluster.on_all("CryptoService/RandomBytes", pb.RandomBytesRequest, drawn)
    async with AsyncClient(cluster.profile()) as client:
        found = await asyncio.gather(*(client.random_bytes(4) for _ in range(MANY)))
    assert found == [b"node"] * MANY
    assert cluster.total("CryptoService/RandomBytes") == MANY


def drawn(request: Any, number: int) -> pb.RandomBytesResponse:
    return pb.RandomBytesResponse(header=header(), data=b"node")
