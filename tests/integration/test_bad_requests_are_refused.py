"""Every bad request has its own code, names what is wrong, changes nothing, and shows no stack trace.

The requests go straight to a node, past the checks of the SDK.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from qkms.v1 import cluster_pb2, common_pb2, crypto_pb2, key_pb2, session_pb2
from qkms.v1.cluster_pb2_grpc import ClusterServiceStub
from qkms.v1.crypto_pb2_grpc import CryptoServiceStub
from qkms.v1.key_pb2_grpc import KeyServiceStub
from qkms.v1.session_pb2_grpc import SessionServiceStub
from qkms_chaos.cluster.world import World
from qkms_chaos.refusal import refusal_of

pytestmark = pytest.mark.cluster

LIMIT = 65_536
TIMEOUT_S = 10.0


@dataclass
class Desk:
    """A key with two versions and a ciphertext under each, and the stubs of one node."""

    key: str
    sealed: bytes
    keys: KeyServiceStub
    crypto: CryptoServiceStub
    sessions: SessionServiceStub
    cluster: ClusterServiceStub

    def encrypt(self, **fields: Any) -> object:
        return self.crypto.Encrypt(
            crypto_pb2.EncryptRequest(**{"name": f"keys/{self.key}", "plaintext": b"x", **fields}),
            timeout=TIMEOUT_S,
        )

    def decrypt(self, ciphertext: bytes, **fields: Any) -> object:
        request = {"name": f"keys/{self.key}", "context": {"tenant": "acme"}, **fields}
        return self.crypto.Decrypt(crypto_pb2.DecryptRequest(ciphertext=ciphertext, **request), timeout=TIMEOUT_S)

    def create(self, **fields: Any) -> object:
        request = {"request_id": str(uuid4()), "key_id": "never-made", "algorithm": key_pb2.AES_256_GCM}
        return self.keys.CreateKey(key_pb2.CreateKeyRequest(**{**request, **fields}), timeout=TIMEOUT_S)

    def rotate(self, **fields: Any) -> object:
        request = {
            "request_id": str(uuid4()),
            "name": f"keys/{self.key}",
            "expected_primary_version": 2,
        }
        return self.keys.RotateKey(key_pb2.RotateKeyRequest(**{**request, **fields}), timeout=TIMEOUT_S)

    def destroy(self, name: str, **fields: Any) -> object:
        return self.keys.DestroyVersion(
            key_pb2.DestroyVersionRequest(request_id=str(uuid4()), name=name, **fields), timeout=TIMEOUT_S
        )

    def get(self, name: str, **fields: Any) -> object:
        return self.keys.GetKey(key_pb2.GetKeyRequest(name=name, **fields), timeout=TIMEOUT_S)


@pytest.fixture
def desk(healthy: World, new_key_id: Callable[[], str], channel_to: Callable[[str], grpc.Channel]) -> Desk:
    key = new_key_id()
    healthy.payments.create_key(key)
    sealed = healthy.payments.encrypt(key, b"attack at dawn", context={"tenant": "acme"}).ciphertext
    healthy.payments.rotate_key(key)
    channel = channel_to("node-2")
    return Desk(
        key,
        sealed,
        KeyServiceStub(channel),
        CryptoServiceStub(channel),
        SessionServiceStub(channel),
        ClusterServiceStub(channel),
    )


def duration(value: timedelta) -> Duration:
    message = Duration()
    message.FromTimedelta(value)
    return message


Bad = Callable[[Desk], object]
UUID = str(uuid4())

BAD: dict[str, tuple[str, Bad]] = {
    "an unknown key": ("KEY_NOT_FOUND", lambda d: d.encrypt(name="keys/nobody-made-this")),
    "reading an unknown key": ("KEY_NOT_FOUND", lambda d: d.get("keys/nobody-made-this")),
    "a name without its collection": ("INVALID_FIELD", lambda d: d.encrypt(name=d.key)),
    "an empty name": ("INVALID_FIELD", lambda d: d.encrypt(name="")),
    "a name in capitals": ("INVALID_FIELD", lambda d: d.encrypt(name="keys/ORDERS")),
    "a name that climbs": ("INVALID_FIELD", lambda d: d.get("keys/../../etc/passwd")),
    "a name with a zero byte": ("INVALID_FIELD", lambda d: d.get("keys/a\x00b")),
    "a name of 64 characters": ("INVALID_FIELD", lambda d: d.create(key_id="a" * 64)),
    "an oversized plaintext": ("PLAINTEXT_TOO_LARGE", lambda d: d.encrypt(plaintext=bytes(LIMIT + 1))),
    "an oversized AAD": (
        "INVALID_FIELD",
        lambda d: d.encrypt(additional_authenticated_data=bytes(LIMIT + 1)),
    ),
    "33 pairs of context": (
        "INVALID_FIELD",
        lambda d: d.encrypt(context={str(n): "x" for n in range(33)}),
    ),
    "257 bytes in a pair": ("INVALID_FIELD", lambda d: d.encrypt(context={"tenant": "x" * 257})),
    "a ciphertext of nothing": ("CIPHERTEXT_MALFORMED", lambda d: d.decrypt(b"")),
    "a ciphertext cut off in its head": ("CIPHERTEXT_MALFORMED", lambda d: d.decrypt(d.sealed[:40])),
    "a ciphertext of an unknown format": (
        "CIPHERTEXT_MALFORMED",
        lambda d: d.decrypt(b"\x7f" + d.sealed[1:]),
    ),
    "a ciphertext that lacks its last byte": ("CIPHERTEXT_REJECTED", lambda d: d.decrypt(d.sealed[:-1])),
    "a ciphertext with a bit flipped": (
        "CIPHERTEXT_REJECTED",
        lambda d: d.decrypt(d.sealed[:-1] + bytes([d.sealed[-1] ^ 1])),
    ),
    "another context": ("CIPHERTEXT_REJECTED", lambda d: d.decrypt(d.sealed, context={"tenant": "evil"})),
    "other authenticated data": (
        "CIPHERTEXT_REJECTED",
        lambda d: d.decrypt(d.sealed, additional_authenticated_data=b"other"),
    ),
    "a version that was never made": (
        "VERSION_NOT_FOUND",
        lambda d: d.destroy(f"keys/{d.key}/versions/99"),
    ),
    "a version's name that is none": ("INVALID_FIELD", lambda d: d.destroy(f"keys/{d.key}/versions/one")),
    "destroying the primary version": (
        "VERSION_IS_PRIMARY",
        lambda d: d.destroy(f"keys/{d.key}/versions/2"),
    ),
    "a negative grace": (
        "INVALID_FIELD",
        lambda d: d.destroy(f"keys/{d.key}/versions/1", grace=duration(timedelta(seconds=-1))),
    ),
    "creating a key twice": ("KEY_EXISTS", lambda d: d.create(key_id=d.key)),
    "no algorithm": ("INVALID_FIELD", lambda d: d.create(algorithm=0)),
    "no request_id": ("INVALID_FIELD", lambda d: d.rotate(request_id="")),
    "a request_id that is no UUID": ("INVALID_FIELD", lambda d: d.rotate(request_id="again")),
    "another primary version than expected": (
        "VERSION_CONFLICT",
        lambda d: d.rotate(expected_primary_version=1),
    ),
    "no expected version": ("INVALID_FIELD", lambda d: d.rotate(expected_primary_version=0)),
    "a level that does not exist": (
        "INVALID_FIELD",
        lambda d: d.get(f"keys/{d.key}", consistency=common_pb2.Consistency(level=9)),  # type: ignore[arg-type]
    ),
    "AT_LEAST without a revision": (
        "INVALID_FIELD",
        lambda d: d.get(f"keys/{d.key}", consistency=common_pb2.Consistency(level=common_pb2.AT_LEAST)),
    ),
    "a revision of the future": (
        "REVISION_NOT_REACHED",
        lambda d: d.get(
            f"keys/{d.key}", consistency=common_pb2.Consistency(level=common_pb2.AT_LEAST, revision=10**9)
        ),
    ),
    "a page of a thousand and one": (
        "INVALID_FIELD",
        lambda d: d.keys.ListKeys(key_pb2.ListKeysRequest(page_size=1001), timeout=TIMEOUT_S),
    ),
    "no random bytes": (
        "INVALID_FIELD",
        lambda d: d.crypto.RandomBytes(crypto_pb2.RandomBytesRequest(length=0), timeout=TIMEOUT_S),
    ),
    "a derived key of no context": (
        "INVALID_FIELD",
        lambda d: d.crypto.DeriveKey(crypto_pb2.DeriveKeyRequest(name=f"keys/{d.key}"), timeout=TIMEOUT_S),
    ),
    "a session nobody opened": (
        "SESSION_NOT_FOUND",
        lambda d: d.sessions.GetSession(session_pb2.GetSessionRequest(name=f"sessions/{UUID}"), timeout=TIMEOUT_S),
    ),
    "an empty session offer": (
        "INVALID_FIELD",
        lambda d: d.sessions.OpenSession(
            session_pb2.OpenSessionRequest(
                request_id=UUID,
                session_id=UUID,
                responder="spiffe://qkms.dev/service/ledger",
                suite=session_pb2.MLKEM768_X25519_SHA256,
            ),
            timeout=TIMEOUT_S,
        ),
    ),
    "an operation of the operator": (
        "PERMISSION_DENIED",
        lambda d: d.cluster.RotateRoot(
            cluster_pb2.RotateRootRequest(request_id=UUID, expected_epoch=1), timeout=TIMEOUT_S
        ),
    ),
    "a request larger than any can be": (
        "RESOURCE_EXHAUSTED",
        lambda d: d.encrypt(plaintext=bytes(2 * 1024 * 1024)),
    ),
}


@pytest.mark.parametrize("title", BAD)
def test_a_bad_request_has_its_code_and_changes_nothing(title: str, healthy: World, desk: Desk) -> None:
    reason, call = BAD[title]
    before = (healthy.payments.get_key(desk.key), healthy.payments.list_versions(desk.key))
    error = refusal_of(lambda: call(desk))
    assert error.reason == reason
    assert error.message
    assert "Traceback" not in error.message
    assert ".py" not in error.message
    after = (healthy.payments.get_key(desk.key), healthy.payments.list_versions(desk.key))
    assert after == before
    assert not [k for k in healthy.payments.list_keys() if k.key_id == "never-made"]


def test_a_refusal_names_the_field_and_the_limit(desk: Desk) -> None:
    too_large = refusal_of(lambda: desk.encrypt(plaintext=bytes(LIMIT + 1)))
    assert too_large.metadata["limit"] == str(LIMIT)
    nameless = refusal_of(lambda: desk.encrypt(name="keys/ORDERS"))
    assert [violation.field for violation in nameless.fields] == ["name"]
    conflict = refusal_of(lambda: desk.rotate(expected_primary_version=1))
    assert (conflict.metadata["expected"], conflict.metadata["actual"]) == ("1", "2")


def test_the_limits_themselves_are_allowed(desk: Desk) -> None:
    desk.encrypt(
        plaintext=bytes(LIMIT),
        additional_authenticated_data=bytes(LIMIT),
        context={f"{n:0256d}": "x" * 256 for n in range(32)},
    )


def test_a_request_id_serves_one_request_only(desk: Desk) -> None:
    request_id = str(uuid4())
    desk.rotate(request_id=request_id)
    again = refusal_of(lambda: desk.rotate(request_id=request_id, expected_primary_version=3))
    assert again.reason == "REQUEST_ID_REUSED"


def test_an_oversized_request_costs_the_connection_nothing(desk: Desk) -> None:
    refusal_of(lambda: desk.encrypt(plaintext=bytes(2 * 1024 * 1024)))
    desk.encrypt()


def test_no_process_ever_logged_a_stack_trace(healthy: World, desk: Desk) -> None:
    for _, call in BAD.values():
        refusal_of(lambda call=call: call(desk))  # type: ignore[misc]
    assert "Traceback" not in healthy.logged()
    assert "rpc.incident" not in healthy.logged()
