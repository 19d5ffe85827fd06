"""Every call of both clients against a real node in memory: what is sent is understood, answers are typed."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from tests.unit.qkms_client.conftest import Sdk

from qkms_client import Client, EventType, Grade, VersionState, at_least, linearizable
from qkms_client import errors as e
from qkms_client.testing import MemoryServer
from qkms_client.types import EpochState, Level, MemberRole, Role, SessionState


@pytest.fixture(scope="module")
def server() -> Iterator[MemoryServer]:
    with MemoryServer() as running:
        yield running


@pytest.fixture
async def kms(server: MemoryServer, kind: str) -> AsyncIterator[Sdk]:
    made = Sdk(server.profile("payments"), kind)
    yield made
    await made.close()


@pytest.fixture
def key() -> str:
    """A fresh key id."""
    return f"key-{uuid4().hex[:12]}"


async def test_the_record_of_a_key(kms: Sdk, key: str) -> None:
    made = await kms("create_key", key, labels={"team": "a"}, max_staleness=timedelta(seconds=7))
    read = await kms("get_key", f"keys/{key}", consistency=linearizable())
    assert made == read
    assert (read.key_id, read.primary_version, read.labels) == (key, 1, {"team": "a"})
    assert read.max_staleness == timedelta(seconds=7)
    assert read.algorithm == "AES_256_GCM"
    assert read.create_time is not None
    assert read.create_time.tzinfo is not None
    assert read.header is not None
    assert read.header.consistency is Level.LINEARIZABLE
    assert read.header.revision >= made.revision > 0


async def test_the_life_of_a_version(kms: Sdk, key: str) -> None:
    await kms("create_key", key)
    sealed = await kms("encrypt", key, b"data", aad=b"a")
    rotation = await kms("rotate_key", key)
    assert (await kms("decrypt", key, sealed, aad=b"a")).plaintext == b"data"
    first = (await kms("list_versions", key))[0]
    assert (first.state, first.version, first.grade) == (VersionState.DEACTIVATED, 1, Grade.PQC)
    assert (await kms("disable_version", first)).state is VersionState.SUSPENDED
    with pytest.raises(e.VersionDisabled):
        await kms("decrypt", key, sealed, aad=b"a")
    assert (await kms("enable_version", key, 1)).state is VersionState.DEACTIVATED
    with pytest.raises(e.VersionIsPrimary):
        await kms("destroy_version", rotation.version)
    doomed = await kms("destroy_version", key, 1, grace=timedelta(hours=1))
    assert doomed.state is VersionState.DESTROY_SCHEDULED
    assert doomed.destroy_time is not None
    with pytest.raises(e.VersionDestroyed):
        await kms("decrypt", key, sealed, aad=b"a")
    assert (await kms("restore_version", key, 1)).state is VersionState.SUSPENDED
    gone = await kms("destroy_version", key, 1, grace=timedelta(0))
    assert gone.state in (VersionState.DESTROYED, VersionState.DESTROY_SCHEDULED)


async def test_a_version_needs_its_number(kms: Sdk) -> None:
    with pytest.raises(ValueError, match="which version of keys/payments"):
        await kms("disable_version", "payments")


async def test_a_repeated_rotation_is_replayed(kms: Sdk, key: str) -> None:
    await kms("create_key", key)
    request = uuid4()
    first = await kms("rotate_key", key, request_id=request, expected_primary_version=1)
    again = await kms("rotate_key", key, request_id=request, expected_primary_version=1)
    assert (first.replayed, again.replayed) == (False, True)
    assert first.version == again.version
    with pytest.raises(e.RequestIdReused):
        await kms("rotate_key", key, request_id=request, expected_primary_version=2)


async def test_derived_and_data_keys(kms: Sdk, key: str) -> None:
    await kms("create_key", key)
    derived = await kms("derive_key", key, {"tenant": "a"})
    await kms("rotate_key", key)
    assert (await kms("derive_key", key, {"tenant": "a"}, version=derived.version)).key == derived.key
    assert (await kms("derive_key", key, {"tenant": "a"})).key != derived.key
    data_key = await kms("generate_data_key", key, context={"a": "b"})
    opened = await kms("decrypt", key, data_key.ciphertext, context={"a": "b"})
    assert opened.plaintext == data_key.plaintext
    assert (await kms("generate_data_key", key, without_plaintext=True)).plaintext == b""
    assert len(await kms("random_bytes", 33)) == 33


async def test_bad_input_is_refused_by_its_own_class(kms: Sdk, key: str) -> None:
    await kms("create_key", key)
    sealed = (await kms("encrypt", key, b"data")).ciphertext
    for error, call in (
        (e.KeyNotFound, kms("get_key", "nothing-here")),
        (e.InvalidField, kms("create_key", "Not A Name")),
        (e.KeyExists, kms("create_key", key)),
        (e.PlaintextTooLarge, kms("encrypt", key, bytes(65537))),
        (e.CiphertextMalformed, kms("decrypt", key, sealed[:10])),
        (e.CiphertextRejected, kms("decrypt", key, sealed[:-1] + bytes([sealed[-1] ^ 1]))),
        (e.CiphertextRejected, kms("decrypt", key, sealed, context={"a": "b"})),
        (e.GradeTooLow, kms("create_key", f"{key}-q", required_grade=Grade.QKD_PQC)),
        (e.SessionNotFound, kms("get_session", uuid4())),
        (e.LinkNotFound, kms("list_link_samples", "memory-1", "node-9")),
        (e.VersionConflict, kms("rotate_key", key, expected_primary_version=9)),
    ):
        with pytest.raises(error) as caught:
            await call
        assert type(caught.value) is error


async def test_the_nodes_own_view(kms: Sdk, server: MemoryServer) -> None:
    (node,) = kms.client.endpoints
    status = await kms("status", node)
    assert (status.node_id, status.role) == (node, Role.LEADER)
    assert status.root.state is EpochState.ACTIVE
    assert status.root.grade is Grade.PQC
    assert len(status.state_digest) == 32
    assert [m.rpc_address for m in status.members] == [server.address]
    assert (await kms("status_of_all"))[node].cluster_id == status.cluster_id
    assert await kms("list_links") == []
    assert await kms("list_link_alarms") == await kms("list_link_alarms", "memory-1", history=True) == []
    with pytest.raises(e.ProfileInvalid, match="node-9 is not among"):
        await kms("status", "node-9")


async def test_the_root_rotates_from_the_epoch_that_is_expected(kms: Sdk, server: MemoryServer) -> None:
    before = (await kms("status")).root.epoch
    with pytest.raises(e.EpochConflict):
        await kms("rotate_root", expected_epoch=before + 7)
    async with server.async_client("operator") as operator, operator.watch_keys() as watch:
        rotation = await kms("rotate_root", expected_epoch=before)
        assert (rotation.expected_epoch, rotation.replayed) == (before, False)
        async for event in watch:
            if event.type is EventType.ROOT_ACTIVATED:
                assert event.name == f"rootEpochs/{before + 1}"
                break
    repeated = await kms("rotate_root", expected_epoch=before, request_id=rotation.request_id)
    assert repeated.replayed
    assert (await kms("status")).root.epoch == before + 1


async def test_the_public_side_of_a_session(kms: Sdk, server: MemoryServer) -> None:
    identifier = uuid4()
    with server.client("ledger") as ledger:
        joined, opened = await asyncio.gather(
            asyncio.to_thread(ledger.join_session, identifier, initiator=kms.client.principal, timeout=20.0),
            kms("open_session", ledger.principal, session=identifier, timeout=20.0),
        )
    assert joined.fingerprint() == opened.fingerprint()
    assert opened.send_key() == joined.receive_key()
    assert not opened.expired()
    public = await kms("get_session", identifier)
    assert (public.state, public.session_id) == (SessionState.CONFIRMED, str(identifier))
    assert (await kms("close_session", identifier)).state is SessionState.CLOSED


async def test_what_another_client_has_seen_can_be_asked_for(kms: Sdk, server: MemoryServer, key: str) -> None:
    made = await kms("create_key", key)
    with server.client("ledger") as other:
        read = await asyncio.to_thread(other.get_key, made, consistency=at_least(made.revision))
    assert read == made


async def test_a_watch_gives_events_and_resumes(kms: Sdk, server: MemoryServer, key: str) -> None:
    await kms("create_key", key)

    def watched() -> tuple[list[tuple[EventType, int]], list[tuple[EventType, int]]]:
        with server.client("payments") as client:
            with client.watch_keys(key) as watch:
                client.rotate_key(key)
                event = next(watch)
                token = watch.resume_token
            client.rotate_key(key)
            with client.watch_keys(key, resume_token=token) as resumed:
                later = next(resumed)
        return [(event.type, event.version)], [(later.type, later.version)]

    first, second = await asyncio.to_thread(watched)
    assert first == [(EventType.KEY_ROTATED, 2)]
    assert second == [(EventType.KEY_ROTATED, 3)]


def test_a_watch_that_a_thread_waits_on_ends_when_it_is_closed(server: MemoryServer) -> None:
    with server.client("payments") as client:
        watch = client.watch_keys("quiet")
        watch.open()
        seen: list[object] = []
        waiting = threading.Thread(target=lambda: seen.extend(watch))
        waiting.start()
        watch.close()
        waiting.join(10)
        assert not waiting.is_alive()
        assert seen == []


def test_a_watch_ends_with_its_client(server: MemoryServer) -> None:
    client = server.client("payments")
    watch = client.watch_keys("quiet")
    watch.open()
    waiting = threading.Thread(target=lambda: list(watch))
    waiting.start()
    client.close()
    waiting.join(10)
    assert not waiting.is_alive()


async def test_an_async_watch_gives_events_and_can_be_cancelled(server: MemoryServer, key: str) -> None:
    async with server.async_client("payments") as client:
        await client.create_key(key)
        async with client.watch_keys(key) as watch:
            await client.rotate_key(key)
            assert (await anext(watch)).version == 2
            waiting = asyncio.create_task(anext(watch))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
        assert [k.key_id async for k in client.list_keys(page_size=2) if k.key_id == key] == [key]


def test_one_client_serves_many_threads(server: MemoryServer, key: str) -> None:
    with server.client("payments") as client:
        client.create_key(key)
        made: list[int] = []

        def rotate() -> None:
            for _ in range(5):
                made.append(client.rotate_key(key).version.version)

        threads = [threading.Thread(target=rotate) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert sorted(made) == list(range(2, 32))
        assert client.get_key(key).primary_version == 31


def test_leaving_a_client_closes_it(server: MemoryServer) -> None:
    with server.client("payments") as client:
        assert isinstance(client, Client)
    with pytest.raises(e.ClientClosed):
        client.get_key("any")


async def test_members_are_recorded_once_and_the_token_is_shown_to_nobody_else(
    kms: Sdk, server: MemoryServer
) -> None:
    invitation = await kms("add_member", "node-4", "10.0.0.4:9101", "10.0.0.4:9201")
    assert invitation.token.startswith("node-4.")
    assert invitation.token not in repr(invitation)
    assert len(invitation.ca_fingerprint) == 64
    assert invitation.member.role is MemberRole.LEARNER
    again = await kms("add_member", "node-4", "10.0.0.4:9101", "10.0.0.4:9201")
    assert again.token != invitation.token
    with pytest.raises(e.MemberExists):
        await kms("add_member", "node-4", "10.0.0.5:9101", "10.0.0.5:9201")
    with pytest.raises(e.InvalidField, match="host:port"):
        await kms("add_member", "node-5", "10.0.0.5", "10.0.0.5:9201")
    with pytest.raises(e.MemberNotReady):
        await kms("promote_member", "node-4")
    found = {m.id: m for m in await kms("list_members")}
    assert found["memory-1"].acting_role is MemberRole.VOTER
    assert (found["memory-1"].behind, found["memory-1"].connected) == (0, True)
    assert "refused" in found["node-4"].trouble or not found["node-4"].trouble
    request = uuid4()
    assert not (await kms("remove_member", "node-4", request_id=request)).replayed
    assert (await kms("remove_member", "node-4", request_id=request)).replayed
    for error, call in (
        (e.MemberNotFound, kms("remove_member", "node-4")),
        (e.MemberNotFound, kms("transfer_leadership", "node-4")),
        (e.LastVoter, kms("remove_member", "memory-1")),
        (e.LastVoter, kms("transfer_leadership")),
    ):
        with pytest.raises(error):
            await call
