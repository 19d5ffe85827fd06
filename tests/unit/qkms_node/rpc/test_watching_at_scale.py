"""Watches at one node: a thousand of them, slow ones, bookmarks, and a history that is no longer kept."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2, status_pb2

from local_node import ALICE, LocalNode, credentials, local_node
from qkms.v1 import key_pb2, key_pb2_grpc
from qkms_node.ledger import state
from qkms_node.rpc import messages
from qkms_node.service import watching

pytestmark = pytest.mark.asyncio(loop_scope="module")

WATCHERS = 1_000
ROUNDS = 15


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalNode]:
    async with local_node(tmp_path_factory.mktemp("node")) as started, started.channel() as channel:
        await create(channel, "busy")
        await create(channel, "quiet")
        yield started


async def create(channel: grpc.aio.Channel, key_id: str) -> None:
    request = key_pb2.CreateKeyRequest(request_id=str(uuid.uuid4()), key_id=key_id, algorithm=key_pb2.AES_256_GCM)
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


async def change(channel: grpc.aio.Channel, key_id: str, rounds: int) -> list[int]:
    """Disables and enables a version in turn; the revisions of the events."""
    keys = key_pb2_grpc.KeyServiceStub(channel)
    revisions = []
    for number in range(2 * rounds):
        call, kind = (
            (keys.EnableVersion, key_pb2.EnableVersionRequest)
            if number % 2
            else (keys.DisableVersion, key_pb2.DisableVersionRequest)
        )
        request: Any = kind(request_id=str(uuid.uuid4()), name=f"keys/{key_id}/versions/1")
        answer: Any = await call(request)
        revisions.append(answer.header.revision)
    return revisions


async def reason(stream: Any) -> str:
    """Why a watch ends, after whatever it had to deliver."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await drained(stream)
    assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE
    trailing = dict(caught.value.trailing_metadata() or ())
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(trailing["grpc-status-details-bin"]).details[0].Unpack(info)
    return str(info.reason)


async def drained(stream: Any) -> None:
    while await stream.read() is not grpc.aio.EOF:
        pass


async def test_a_thousand_watches_on_one_connection_get_every_event_in_order(
    node: LocalNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    encodings: list[int] = []
    encode = messages.event

    def counted(record: Any) -> Any:
        encodings.append(record.revision)
        return encode(record)

    monkeypatch.setattr(messages, "event", counted)
    async with node.channel() as watched, node.channel() as changing:
        keys = key_pb2_grpc.KeyServiceStub(watched)
        watches: list[Any] = [
            keys.WatchKeys(key_pb2.WatchKeysRequest(name="keys/busy" if n % 2 else "")) for n in range(WATCHERS)
        ]
        for watch in watches:
            assert not (await watch.read()).events
        change_made = asyncio.create_task(change(changing, "busy", ROUNDS))

        async def seen(watch: Any) -> list[int]:
            found: list[int] = []
            while len(found) < 2 * ROUNDS:
                found += [event.revision for event in (await watch.read()).events]
            return found

        found = await asyncio.gather(*map(seen, watches))
        revisions = await change_made
        for watch in watches:
            watch.cancel()
    assert revisions == sorted(set(revisions))
    assert all(one == revisions for one in found)
    assert sorted(encodings) == revisions, "each event was encoded once for all"


async def test_who_does_not_read_delays_nobody_and_is_told_when_its_history_is_gone(
    node: LocalNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "EVENT_HISTORY", 40)
    monkeypatch.setattr(watching, "MAX_BATCH", 10)
    small = [("grpc.http2.lookahead_bytes", 1024), ("grpc.http2.bdp_probe", 0)]
    material = node.authority.issue(ALICE)
    async with (
        grpc.aio.secure_channel(
            node.address, credentials(material, node.authority.certificate_path), options=small
        ) as slow_channel,
        node.channel() as channel,
    ):
        slow: Any = key_pb2_grpc.KeyServiceStub(slow_channel).WatchKeys(key_pb2.WatchKeysRequest())
        await slow.read()
        quick: Any = key_pb2_grpc.KeyServiceStub(channel).WatchKeys(key_pb2.WatchKeysRequest())
        await quick.read()

        async def quickly(count: int) -> list[int]:
            found: list[int] = []
            while len(found) < count:
                found += [event.revision for event in (await quick.read()).events]
            return found

        reading = asyncio.create_task(quickly(2 * 400))
        revisions = await change(channel, "busy", 400)
        assert await reading == revisions
        assert await reason(slow) == "HISTORY_COMPACTED"
        old = key_pb2_grpc.KeyServiceStub(channel).WatchKeys(
            key_pb2.WatchKeysRequest(resume_token=watching.token(revisions[0]))
        )
        assert await reason(old) == "HISTORY_COMPACTED"


async def test_bookmarks_move_the_token_on_also_past_what_a_watch_does_not_show(
    node: LocalNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "BOOKMARK_S", 0.2)
    async with node.channel() as channel, node.channel() as changing:
        watch: Any = key_pb2_grpc.KeyServiceStub(channel).WatchKeys(key_pb2.WatchKeysRequest(name="keys/quiet"))
        first = await watch.read()
        busy = asyncio.create_task(change(changing, "busy", 2_000))
        bookmark = await asyncio.wait_for(watch.read(), 10)
        assert not busy.done()
        busy.cancel()
        assert not bookmark.events
        assert watching.revision_of(bookmark.resume_token) > watching.revision_of(first.resume_token)
        watch.cancel()
