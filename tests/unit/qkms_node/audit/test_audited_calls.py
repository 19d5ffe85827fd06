"""What a running node records, and what it refuses when it cannot."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from local_node import ALICE, ANYTHING, LocalNode, local_node
from qkms.v1 import audit_pb2, audit_pb2_grpc
from qkms_client import STALE_OK, AsyncClient, AuditChain, Profile
from qkms_client import errors as e
from qkms_node.config_sections import AuditSection, Rule
from qkms_node.pki import Identity

CANARY = "canary-of-a-context-value"
health_stub: Any = health_pb2_grpc.HealthStub


@asynccontextmanager
async def client_of(node: LocalNode, identity: Identity = ALICE) -> AsyncIterator[AsyncClient]:
    files = node.authority.issue(identity)
    profile = Profile({"node-1": node.address}, files.ca, files.certificate, files.private_key)
    async with AsyncClient(profile) as client:
        yield client


async def ready(client: AsyncClient, key: str) -> None:
    """Creates a key as soon as the node has a root."""
    await client.create_key(key, timeout=20)


async def calls_of(client: AsyncClient, **wanted: Any) -> list[Any]:
    return [record async for record in client.query_audit(AuditChain.CALLS, **wanted)]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(1_000):
        if await condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it did not come to be within 20 s")


async def test_every_answer_is_on_the_disk_with_its_decision_before_it_leaves(tmp_path: Path) -> None:
    rules = (ANYTHING, Rule(principals=("*",), actions=("crypto.decrypt",), keys=("hr.*",), effect="deny"))
    async with local_node(tmp_path, rules) as node, client_of(node) as kms:
        await ready(kms, "hr.pay")
        sealed = await kms.encrypt("hr.pay", b"the plaintext", context={"tenant": CANARY})
        with pytest.raises(e.PermissionDenied):
            await kms.decrypt("hr.pay", sealed, context={"tenant": CANARY})
        with pytest.raises(e.InvalidField):
            await kms.get_key("Not A Name")
        on_disk = b"".join(p.read_bytes() for p in (tmp_path / "data" / "audit").glob("calls-*.jsonl"))
        encrypted, denied, invalid = [r for r in await calls_of(kms) if not r.method.startswith("Audit")][-3:]
        assert [r.line in on_disk for r in (encrypted, denied, invalid)] == [True] * 3
        assert (encrypted.method, encrypted.resource, encrypted.code) == (
            "CryptoService/Encrypt",
            "keys/hr.pay",
            "OK",
        )
        assert (encrypted.principal, encrypted.context_keys) == (ALICE.uri, ("tenant",))
        assert [(d.action, d.allowed) for d in denied.decisions] == [("crypto.decrypt", False)]
        assert (denied.code, denied.decisions[0].rule) == ("PERMISSION_DENIED", "configuration/rules/1")
        assert (invalid.code, invalid.resource) == ("INVALID_FIELD", "")
        for canary in (CANARY.encode(), b"the plaintext", sealed.ciphertext, b"Not A Name"):
            assert canary not in on_disk


async def test_queries_filter_by_pattern_and_time_and_page(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node, client_of(node) as kms:
        await ready(kms, "a")
        start = datetime.now(UTC)
        for key in ("b", "c", "d"):
            await kms.create_key(key)
        found = await calls_of(kms, method="KeyService/*", start_time=start, page_size=2)
        assert [r.resource for r in found] == ["keys/b", "keys/c", "keys/d"]
        assert await calls_of(kms, code="NO_*") == []
        assert await calls_of(kms, end_time=start, resource="keys/b") == []
        mutations = [r async for r in kms.query_audit(AuditChain.MUTATIONS, method="create_key", page_size=1)]
        assert [r.resource for r in mutations] == ["keys/a", "keys/b", "keys/c", "keys/d"]
        assert found[-1].request_id == mutations[-1].request_id != ""


async def test_a_watch_is_recorded_when_it_begins_and_when_it_ends(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node, client_of(node) as kms:
        await ready(kms, "a")
        async with kms.watch_keys("a") as watch:
            await kms.rotate_key("a")
            await anext(watch)

        async def ended() -> bool:
            return [r.code for r in await calls_of(kms, method="*/WatchKeys")] == ["STREAMING", "CANCELLED"]

        await until(ended)


async def test_a_node_that_cannot_write_its_audit_refuses_and_says_so_until_it_can(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "audit"
    folder.parent.mkdir()
    folder.write_text("in the way")
    async with local_node(tmp_path) as node, client_of(node) as kms, node.channel() as channel:
        stub = audit_pb2_grpc.AuditServiceStub(channel)
        with pytest.raises(e.AuditUnavailable) as caught:
            await kms.random_bytes(8, timeout=0.3)
        assert caught.value.retry_after == 1.0
        assert "File exists" in (await kms.status()).audit
        health = health_stub(channel)

        async def health_of(service: str) -> int:
            return int((await health.Check(health_pb2.HealthCheckRequest(service=service))).status)

        not_serving = int(health_pb2.HealthCheckResponse.NOT_SERVING)
        assert [await health_of(s) for s in ("qkms.audit", "qkms.read", "qkms.write")] == [not_serving] * 3
        folder.unlink()

        async def serves() -> bool:
            return not (await kms.status()).audit

        await until(serves)
        assert len(await kms.random_bytes(8)) == 8
        await until(lambda: _is(health_of("qkms.audit"), int(health_pb2.HealthCheckResponse.SERVING)))
        head = await stub.GetAuditHead(audit_pb2.GetAuditHeadRequest())
        assert head.failure == ""
        assert (await calls_of(kms))[0].method == "audit/resumed"


async def _is(value: Any, wanted: int) -> bool:
    return bool(await value == wanted)


async def test_a_disk_that_fills_up_makes_a_mutation_unknown_and_a_read_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with local_node(tmp_path) as node, client_of(node) as kms:
        await ready(kms, "a")

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", full)
            with pytest.raises(e.OutcomeUnknown) as unknown:
                await kms.create_key("b", timeout=0.3)
            with pytest.raises(e.AuditUnavailable):
                await kms.get_key("b", timeout=0.3)
        repeated = await kms.create_key("b", request_id=unknown.value.request_id)
        assert repeated.replayed, "it had taken effect, and the ledger's own audit has it"
        mutations = [r async for r in kms.query_audit(AuditChain.MUTATIONS, resource="keys/b")]
        assert [r.method for r in mutations] == ["create_key"]
        assert all(verdict.intact for verdict in await kms.verify_audit())


async def test_with_warn_calls_are_served_and_what_was_lost_is_counted(tmp_path: Path) -> None:
    folder = tmp_path / "data" / "audit"
    folder.parent.mkdir()
    folder.write_text("in the way")
    async with local_node(tmp_path, audit=AuditSection(on_failure="warn")) as node, client_of(node) as kms:
        for _ in range(3):
            await kms.random_bytes(8)
        assert "File exists" in (await kms.status()).audit
        folder.unlink()

        async def written() -> bool:
            return any(b'"lost":' in r.line for r in await calls_of(kms))

        await until(written)
        assert (await calls_of(kms))[0].line.startswith(b'{"n":1,')


async def test_a_restarted_node_goes_on_with_its_chain_and_its_key(tmp_path: Path) -> None:
    keys: list[str] = []
    lengths: list[int] = []
    for _ in range(2):
        async with local_node(tmp_path) as node, client_of(node) as kms:
            await kms.random_bytes(1)
            anchor = await kms.anchor_audit("node-1", timeout=20)
            keys.append(anchor.key_id)
            lengths.append(anchor.length)
            assert [v.problem for v in await kms.verify_audit()] == ["", ""]
    assert keys[0] == keys[1]
    assert lengths[0] < lengths[1]


async def test_anchors_are_made_by_themselves_and_are_signed(tmp_path: Path) -> None:
    async with local_node(tmp_path, audit=AuditSection(anchor_every_ms=30)) as node, client_of(node) as kms:
        await ready(kms, "a")

        async def anchored() -> bool:
            return len((await kms.list_anchors("node-1", consistency=STALE_OK))[0]) >= 2

        await until(anchored)
        anchors, keys = await kms.list_anchors()
        assert {a.key_id for a in anchors} == {k.key_id for k in keys}
        verdicts = {v.chain: v for v in await kms.verify_audit()}
        assert verdicts["calls"].anchors >= 2
        assert verdicts["calls"].intact
        assert (await kms.list_anchors("node-9"))[0] == []
        with pytest.raises(e.ProfileInvalid):
            await kms.anchor_audit("node-9")


async def test_a_flipped_byte_and_a_cut_off_end_are_named_by_the_node_itself(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node, client_of(node) as kms:
        await ready(kms, "a")
        for _ in range(5):
            await kms.random_bytes(8)
        await kms.anchor_audit("node-1", timeout=20)
        path = next((tmp_path / "data" / "audit").glob("calls-*.jsonl"))
        whole = path.read_bytes()
        lines = whole.splitlines(keepends=True)
        path.write_bytes(b"".join([*lines[:2], lines[2].replace(b"OK", b"KO"), *lines[3:]]))
        calls = {v.chain: v for v in await kms.verify_audit()}["calls"]
        assert (calls.intact, calls.broken_record) == (False, 3)
        path.write_bytes(b"".join(lines[:4]))
        calls = {v.chain: v for v in await kms.verify_audit()}["calls"]
        assert (calls.intact, calls.broken_record) == (False, 5)


async def test_a_damaged_chain_is_not_written_over_at_the_next_start(tmp_path: Path) -> None:
    async with local_node(tmp_path) as node, client_of(node) as kms:
        await ready(kms, "a")
        for _ in range(3):
            await kms.random_bytes(8)
    path = next((tmp_path / "data" / "audit").glob("calls-*.jsonl"))
    lines = path.read_bytes().splitlines(keepends=True)
    damaged = b"".join([lines[0], lines[1].replace(b"OK", b"KO"), *lines[2:]])
    path.write_bytes(damaged)
    async with local_node(tmp_path) as node, client_of(node) as kms:
        with pytest.raises(e.AuditUnavailable, match="record 2"):
            await kms.random_bytes(8, timeout=0.3)
        assert "move the audit folder aside" in (await kms.status()).audit
    assert path.read_bytes() == damaged
