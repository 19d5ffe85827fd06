"""The gRPC face of one node: what calls do, what they answer, how they refuse."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2, status_pb2

from local_node import ALICE, BOB, LocalNode, local_node
from qkms.v1 import (
    cluster_pb2,
    cluster_pb2_grpc,
    common_pb2,
    crypto_pb2,
    crypto_pb2_grpc,
    key_pb2,
    key_pb2_grpc,
    session_pb2,
    session_pb2_grpc,
)
from qkms_node.pki import Authority

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalNode]:
    async with local_node(tmp_path_factory.mktemp("node")) as started, started.channel() as channel:
        await created_once_the_root_is_there(channel)
        yield started


async def created_once_the_root_is_there(channel: grpc.aio.Channel) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await key_pb2_grpc.KeyServiceStub(channel).CreateKey(creation("payments"))
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise
                await asyncio.sleep(0.05)
            else:
                return


def creation(key_id: str, request_id: str = "") -> key_pb2.CreateKeyRequest:
    return key_pb2.CreateKeyRequest(
        request_id=request_id or str(uuid.uuid4()), key_id=key_id, algorithm=key_pb2.AES_256_GCM
    )


async def refusal(call: Any) -> tuple[grpc.StatusCode, error_details_pb2.ErrorInfo, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    trailing = dict(caught.value.trailing_metadata() or ())
    status = status_pb2.Status.FromString(trailing["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "qkms"
    return caught.value.code(), info, caught.value.details() or ""


async def test_encrypt_decrypt_and_every_way_it_does_not_verify(node: LocalNode) -> None:
    async with node.channel() as channel:
        crypto = crypto_pb2_grpc.CryptoServiceStub(channel)
        sealed = await crypto.Encrypt(
            crypto_pb2.EncryptRequest(
                name="keys/payments",
                plaintext=b"attack at dawn",
                context={"tenant": "a"},
                additional_authenticated_data=b"x",
            )
        )
        assert sealed.grade == common_pb2.PQC
        assert sealed.header.consistency == common_pb2.BOUNDED

        def request(**changes: Any) -> crypto_pb2.DecryptRequest:
            fields: dict[str, Any] = {
                "name": "keys/payments",
                "ciphertext": sealed.ciphertext,
                "context": {"tenant": "a"},
                "additional_authenticated_data": b"x",
            }
            return crypto_pb2.DecryptRequest(**(fields | changes))

        assert (await crypto.Decrypt(request())).plaintext == b"attack at dawn"
        altered = sealed.ciphertext[:-1] + bytes([sealed.ciphertext[-1] ^ 1])
        for wrong in (
            request(ciphertext=altered),
            request(context={"tenant": "b"}),
            request(additional_authenticated_data=b"y"),
        ):
            code, info, _ = await refusal(crypto.Decrypt(wrong))
            assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CIPHERTEXT_REJECTED")
        for malformed in (
            request(ciphertext=sealed.ciphertext[:70]),
            request(ciphertext=b"\x09" + sealed.ciphertext[1:]),
        ):
            code, info, _ = await refusal(crypto.Decrypt(malformed))
            assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "CIPHERTEXT_MALFORMED")


async def test_data_keys_open_and_derived_keys_repeat(node: LocalNode) -> None:
    async with node.channel() as channel:
        crypto = crypto_pb2_grpc.CryptoServiceStub(channel)
        made = await crypto.GenerateDataKey(crypto_pb2.GenerateDataKeyRequest(name="keys/payments"))
        opened = await crypto.Decrypt(crypto_pb2.DecryptRequest(name="keys/payments", ciphertext=made.ciphertext))
        assert opened.plaintext == made.plaintext
        assert len(made.plaintext) == 32
        hidden = await crypto.GenerateDataKey(
            crypto_pb2.GenerateDataKeyRequest(name="keys/payments", without_plaintext=True)
        )
        assert hidden.plaintext == b""
        requests = [
            crypto_pb2.DeriveKeyRequest(name="keys/payments", context={"disk": d}) for d in ("1", "1", "2")
        ]
        derived = [(await crypto.DeriveKey(r)).derived_key for r in requests]
        assert derived[0] == derived[1] != derived[2]
        assert len((await crypto.RandomBytes(crypto_pb2.RandomBytesRequest(length=48))).data) == 48


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        (crypto_pb2.EncryptRequest(name="payments"), "INVALID_FIELD", "name"),
        (crypto_pb2.EncryptRequest(name="keys/UPPER"), "INVALID_FIELD", "name"),
        (
            crypto_pb2.EncryptRequest(name="keys/payments", plaintext=bytes(65537)),
            "PLAINTEXT_TOO_LARGE",
            "plaintext",
        ),
        (crypto_pb2.EncryptRequest(name="keys/payments", context={"k": "v" * 257}), "INVALID_FIELD", "context"),
        (
            crypto_pb2.EncryptRequest(name="keys/payments", additional_authenticated_data=bytes(65537)),
            "INVALID_FIELD",
            "additional_authenticated_data",
        ),
        (
            crypto_pb2.EncryptRequest(
                name="keys/payments", consistency=common_pb2.Consistency(level=common_pb2.AT_LEAST)
            ),
            "INVALID_FIELD",
            "consistency.revision",
        ),
    ],
)
async def test_bad_input_names_its_field(
    node: LocalNode, request_: crypto_pb2.EncryptRequest, reason: str, field: str
) -> None:
    async with node.channel() as channel:
        code, info, message = await refusal(crypto_pb2_grpc.CryptoServiceStub(channel).Encrypt(request_))
    assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, reason)
    assert message.startswith(f"{field}:")
    assert "Traceback" not in message


async def test_the_largest_plaintext_is_served(node: LocalNode) -> None:
    async with node.channel() as channel:
        crypto = crypto_pb2_grpc.CryptoServiceStub(channel)
        sealed = await crypto.Encrypt(crypto_pb2.EncryptRequest(name="keys/payments", plaintext=bytes(65536)))
        opened = await crypto.Decrypt(
            crypto_pb2.DecryptRequest(name="keys/payments", ciphertext=sealed.ciphertext)
        )
    assert opened.plaintext == bytes(65536)


async def test_an_unknown_key_is_not_found(node: LocalNode) -> None:
    async with node.channel() as channel:
        code, info, _ = await refusal(
            crypto_pb2_grpc.CryptoServiceStub(channel).Encrypt(crypto_pb2.EncryptRequest(name="keys/nothing"))
        )
    assert (code, info.reason, info.metadata["name"]) == (
        grpc.StatusCode.NOT_FOUND,
        "KEY_NOT_FOUND",
        "keys/nothing",
    )


async def test_rotation_is_idempotent_and_guarded(node: LocalNode) -> None:
    async with node.channel() as channel:
        keys = key_pb2_grpc.KeyServiceStub(channel)
        await keys.CreateKey(creation("rotating"))
        request = key_pb2.RotateKeyRequest(
            request_id=str(uuid.uuid4()), name="keys/rotating", expected_primary_version=1
        )
        first, again = await keys.RotateKey(request), await keys.RotateKey(request)
        assert (first.replayed, again.replayed) == (False, True)
        assert first.version == again.version
        request.expected_primary_version = 2
        code, info, _ = await refusal(keys.RotateKey(request))
        assert (code, info.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_ID_REUSED")
        request.request_id = str(uuid.uuid4())
        request.expected_primary_version = 1
        code, info, _ = await refusal(keys.RotateKey(request))
        assert (code, info.reason) == (grpc.StatusCode.ABORTED, "VERSION_CONFLICT")
        assert dict(info.metadata) == {"expected": "1", "actual": "2"}
        versions = await keys.ListVersions(key_pb2.ListVersionsRequest(parent="keys/rotating"))
        assert [v.state for v in versions.versions] == [key_pb2.DEACTIVATED, key_pb2.ACTIVE]


async def test_another_callers_request_id_gives_nothing_away(node: LocalNode) -> None:
    request = creation("of-alice", str(uuid.uuid4()))
    async with node.channel(ALICE) as channel:
        await key_pb2_grpc.KeyServiceStub(channel).CreateKey(request)
    async with node.channel(BOB) as channel:
        _, info, _ = await refusal(key_pb2_grpc.KeyServiceStub(channel).CreateKey(request))
    assert info.reason == "REQUEST_ID_REUSED"


async def test_states_of_versions(node: LocalNode) -> None:
    async with node.channel() as channel:
        keys, crypto = key_pb2_grpc.KeyServiceStub(channel), crypto_pb2_grpc.CryptoServiceStub(channel)
        await keys.CreateKey(creation("stately"))
        sealed = await crypto.Encrypt(crypto_pb2.EncryptRequest(name="keys/stately", plaintext=b"x"))
        opening = crypto_pb2.DecryptRequest(name="keys/stately", ciphertext=sealed.ciphertext)

        def named(kind: Any, number: int) -> Any:
            return kind(request_id=str(uuid.uuid4()), name=f"keys/stately/versions/{number}")

        await keys.DisableVersion(named(key_pb2.DisableVersionRequest, 1))
        for call in (crypto.Decrypt(opening), crypto.Encrypt(crypto_pb2.EncryptRequest(name="keys/stately"))):
            code, info, _ = await refusal(call)
            assert (code, info.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "VERSION_DISABLED")
        await keys.EnableVersion(named(key_pb2.EnableVersionRequest, 1))
        assert (await crypto.Decrypt(opening)).plaintext == b"x"
        _, info, _ = await refusal(keys.DestroyVersion(named(key_pb2.DestroyVersionRequest, 1)))
        assert info.reason == "VERSION_IS_PRIMARY"
        await keys.RotateKey(
            key_pb2.RotateKeyRequest(request_id=str(uuid.uuid4()), name="keys/stately", expected_primary_version=1)
        )
        destroyed = await keys.DestroyVersion(named(key_pb2.DestroyVersionRequest, 1))
        assert destroyed.version.state == key_pb2.DESTROY_SCHEDULED
        _, info, _ = await refusal(crypto.Decrypt(opening))
        assert info.reason == "VERSION_DESTROYED"
        restored = await keys.RestoreVersion(named(key_pb2.RestoreVersionRequest, 1))
        assert restored.version.state == key_pb2.SUSPENDED


async def test_lists_are_paged(node: LocalNode) -> None:
    async with node.channel() as channel:
        keys = key_pb2_grpc.KeyServiceStub(channel)
        for number in range(5):
            await keys.CreateKey(creation(f"page-{number}"))
        names: list[str] = []
        token = ""
        while True:
            answer = await keys.ListKeys(key_pb2.ListKeysRequest(page_size=2, page_token=token))
            names += [k.name for k in answer.keys]
            token = answer.next_page_token
            if not token:
                break
        assert names == sorted(names)
        assert {f"keys/page-{n}" for n in range(5)} <= set(names)


async def test_a_watch_delivers_in_order_and_resumes(node: LocalNode) -> None:
    async with node.channel() as channel:
        keys = key_pb2_grpc.KeyServiceStub(channel)
        watch = keys.WatchKeys(key_pb2.WatchKeysRequest(name="keys/watched"))
        stream = aiter(watch)
        start = await anext(stream)
        assert not start.events
        await keys.CreateKey(creation("watched"))
        await keys.CreateKey(creation("unwatched"))
        created = await anext(stream)
        assert [e.type for e in created.events] == [key_pb2.KEY_CREATED]
        watch.cancel()
        await keys.RotateKey(
            key_pb2.RotateKeyRequest(request_id=str(uuid.uuid4()), name="keys/watched", expected_primary_version=1)
        )
        resumed = keys.WatchKeys(key_pb2.WatchKeysRequest(name="keys/watched", resume_token=created.resume_token))
        assert [e.type for e in (await anext(aiter(resumed))).events] == [key_pb2.KEY_ROTATED]
        resumed.cancel()
        _, info, _ = await refusal(keys.WatchKeys(key_pb2.WatchKeysRequest(resume_token="nonsense")).read())
        assert info.reason == "INVALID_FIELD"


async def test_the_minority_refuses_and_labels(node: LocalNode) -> None:
    async with node.channel() as channel:
        keys, crypto = key_pb2_grpc.KeyServiceStub(channel), crypto_pb2_grpc.CryptoServiceStub(channel)
        node.replica.cut()
        try:
            code, info, _ = await refusal(keys.GetKey(key_pb2.GetKeyRequest(name="keys/payments")))
            assert (code, info.reason) == (grpc.StatusCode.UNAVAILABLE, "NO_QUORUM")
            code, info, _ = await refusal(keys.CreateKey(creation("late")))
            assert (code, info.reason) == (grpc.StatusCode.UNAVAILABLE, "NO_QUORUM")
            assert (await crypto.Encrypt(crypto_pb2.EncryptRequest(name="keys/payments"))).ciphertext
            tight = common_pb2.Consistency(level=common_pb2.BOUNDED)
            tight.max_staleness.FromMilliseconds(1)
            _, info, _ = await refusal(
                crypto.Encrypt(crypto_pb2.EncryptRequest(name="keys/payments", consistency=tight))
            )
            assert info.reason == "TOO_STALE"
            loose = common_pb2.Consistency(level=common_pb2.STALE_OK)
            used = await crypto.Encrypt(crypto_pb2.EncryptRequest(name="keys/payments", consistency=loose))
            assert used.header.consistency == common_pb2.BOUNDED  # by the key's own bound
            stale = await keys.GetKey(key_pb2.GetKeyRequest(name="keys/payments", consistency=loose))
            assert stale.header.consistency == common_pb2.STALE_OK
            assert stale.header.staleness.ToMilliseconds() >= 0
            assert not stale.header.leader_known
        finally:
            node.replica.heal()


async def test_a_session_is_only_for_its_two_ends(node: LocalNode) -> None:
    session_id = str(uuid.uuid4())
    offer = session_pb2.SessionOffer(mlkem_public_key=bytes(1184), x25519_public_key=bytes(32), nonce=bytes(32))
    request = session_pb2.OpenSessionRequest(
        request_id=str(uuid.uuid4()),
        session_id=session_id,
        responder=BOB.uri,
        suite=session_pb2.MLKEM768_X25519_SHA256,
        offer=offer,
    )
    answer = session_pb2.SessionAnswer(mlkem_ciphertext=bytes(1088), x25519_public_key=bytes(32), nonce=bytes(32))
    name = f"sessions/{session_id}"
    async with node.channel(ALICE) as a, node.channel(BOB) as b:
        alice, bob = session_pb2_grpc.SessionServiceStub(a), session_pb2_grpc.SessionServiceStub(b)
        opened = await alice.OpenSession(request)
        assert opened.session.initiator == ALICE.uri
        assert (await bob.JoinSession(session_pb2.JoinSessionRequest(name=name))).psk == b""
        joined = await bob.JoinSession(
            session_pb2.JoinSessionRequest(request_id=str(uuid.uuid4()), name=name, answer=answer)
        )
        fetched = await alice.JoinSession(session_pb2.JoinSessionRequest(name=name))
        assert joined.psk == fetched.psk
        assert len(joined.psk) == 32
        got = await alice.GetSession(session_pb2.GetSessionRequest(name=name))
        assert got.session.state == session_pb2.ANSWERED


async def test_nobody_without_a_certificate_of_the_cluster_is_served(node: LocalNode, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other", name="another CA")
    for channel in (
        node.channel(ALICE, authority=other),
        grpc.aio.insecure_channel(node.address),
        grpc.aio.secure_channel(
            node.address, grpc.ssl_channel_credentials(node.authority.certificate_path.read_bytes())
        ),
    ):
        async with channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await cluster_pb2_grpc.ClusterServiceStub(channel).GetStatus(
                    cluster_pb2.GetStatusRequest(), timeout=5
                )
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_stopping_node_ends_watches_at_once_and_drains(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        node = await stack.enter_async_context(local_node(tmp_path))
        channel = await stack.enter_async_context(node.channel())
        # Else the root's activation may be what the watch tells next.
        await created_once_the_root_is_there(channel)
        watch = key_pb2_grpc.KeyServiceStub(channel).WatchKeys(key_pb2.WatchKeysRequest())
        stream = aiter(watch)
        await anext(stream)
        stopping = asyncio.create_task(node.stop())
        code, info, _ = await refusal(anext(stream))
        assert (code, info.reason) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")
        await stopping
