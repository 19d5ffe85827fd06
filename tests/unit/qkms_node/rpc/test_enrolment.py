"""Enrolment over real TLS: a token and a request for a certificate, and every way in which it is refused."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from tests.unit.qkms_node.rpc.test_calls import refusal

from local_node import LocalNode, local_node
from qkms.v1 import cluster_pb2, cluster_pb2_grpc, enrol_pb2, enrol_pb2_grpc
from qkms_chaos.cluster.ports import free_ports
from qkms_client import AsyncClient, Invitation, Profile
from qkms_node import joining
from qkms_node.ca import encrypt_key
from qkms_node.config import load
from qkms_node.config_sections import CaSection, EnrolSection
from qkms_node.csr import hosts_of, make_csr
from qkms_node.join_reading import JoinFailed, parse_token
from qkms_node.joining import Place, join
from qkms_node.pki import Authority, Identity


@dataclass
class Cluster:
    """A node that signs, its operator, and what a new node needs to know."""

    node: LocalNode
    operator: AsyncClient
    enrol: str
    folder: Path

    @property
    def fingerprint(self) -> str:
        ca = x509.load_pem_x509_certificate(self.node.authority.certificate_path.read_bytes())
        return ca.fingerprint(hashes.SHA256()).hex()

    async def invite(self, node_id: str, ttl: timedelta = timedelta(hours=1)) -> Invitation:
        number = int(node_id.rpartition("-")[2])
        return await self.operator.add_member(
            node_id, f"127.0.0.{number}:9101", f"127.0.0.{number}:9201", token_ttl=ttl
        )

    async def ask(self, request: enrol_pb2.EnrolRequest) -> enrol_pb2.EnrolResponse:
        """Without a client certificate, as a new machine has none."""
        tls = grpc.ssl_channel_credentials(self.node.authority.certificate_path.read_bytes())
        async with grpc.aio.secure_channel(self.enrol, tls) as channel:
            return await enrol_pb2_grpc.EnrolServiceStub(channel).Enrol(request, timeout=10)

    async def join(self, fingerprint: str, token: str) -> Path:
        """What `qkms-node join` does; in a thread, because the node runs on this loop."""
        return await asyncio.to_thread(join, token, self.enrol, fingerprint, Place(self.folder / "new"))


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    authority = Authority(tmp_path / "pki")
    (tmp_path / "pass").touch(mode=0o600)
    (tmp_path / "pass").write_bytes(b"pass")
    encrypt_key(authority.key_path, tmp_path / "ca.key", b"pass")
    listen = f"127.0.0.1:{free_ports(1)[0]}"
    sections = {
        "ca": CaSection(key_file=tmp_path / "ca.key", passphrase_file=tmp_path / "pass"),
        "enrol": EnrolSection(listen=listen),
    }
    async with local_node(tmp_path, **sections) as node:  # type: ignore[arg-type]
        files = node.authority.issue(Identity("operator", "admin"))
        profile = Profile({"node-1": node.address}, files.ca, files.certificate, files.private_key)
        async with AsyncClient(profile) as operator:
            yield Cluster(node, operator, listen, tmp_path)


def asking(invitation: Invitation, csr: bytes, **changes: Any) -> enrol_pb2.EnrolRequest:
    node_id, token = parse_token(invitation.token)
    fields = {"request_id": str(uuid.uuid4()), "node_id": node_id, "token": token, "csr": csr} | changes
    return enrol_pb2.EnrolRequest(**fields)


async def test_a_token_gives_a_certificate_and_a_retry_gives_the_same(cluster: Cluster) -> None:
    invitation = await cluster.invite("node-4")
    assert invitation.ca_fingerprint == cluster.fingerprint
    _, csr = make_csr("qkms.dev", "node-4")
    request = asking(invitation, csr)
    first = await cluster.ask(request)
    leaf = x509.load_der_x509_certificate(first.certificate)
    assert "127.0.0.4" in hosts_of(leaf.public_bytes(serialization.Encoding.PEM))
    again = await cluster.ask(request)
    assert (again.certificate, again.replayed) == (first.certificate, True)
    # Another request id, the same request for a certificate: the answer was lost and the machine restarted.
    assert (await cluster.ask(asking(invitation, csr))).certificate == first.certificate
    _, other = make_csr("qkms.dev", "node-4")
    code, info, _ = await refusal(cluster.ask(asking(invitation, other)))
    assert (code, info.reason) == (grpc.StatusCode.PERMISSION_DENIED, "JOIN_TOKEN_USED")


async def test_what_is_refused_uses_nothing_up(cluster: Cluster) -> None:
    invitation, second = await cluster.invite("node-4"), await cluster.invite("node-5")
    _, csr = make_csr("qkms.dev", "node-4")
    _, foreign = make_csr("qkms.dev", "node-5")
    node_5, token_5 = parse_token(second.token)
    for request, reason in (
        (asking(invitation, csr, token=bytes(32)), "JOIN_TOKEN_INVALID"),
        (asking(invitation, csr, token=token_5), "JOIN_TOKEN_INVALID"),
        (asking(invitation, csr, node_id=node_5), "JOIN_TOKEN_INVALID"),
        (asking(invitation, csr, node_id="node-9"), "JOIN_TOKEN_INVALID"),
        (asking(invitation, csr, token=b"short"), "INVALID_FIELD"),
        (asking(invitation, foreign), "CSR_REFUSED"),
        (asking(invitation, b"no request"), "CSR_REFUSED"),
        (asking(invitation, csr, request_id="x"), "INVALID_FIELD"),
    ):
        _, info, _ = await refusal(cluster.ask(request))
        assert info.reason == reason
    assert (await cluster.ask(asking(invitation, csr))).certificate


async def test_an_expired_and_a_replaced_token_are_refused(cluster: Cluster) -> None:
    short = await cluster.invite("node-4", timedelta(seconds=1))
    _, csr = make_csr("qkms.dev", "node-4")
    await asyncio.sleep(1.1)
    _, info, text = await refusal(cluster.ask(asking(short, csr)))
    assert info.reason == "JOIN_TOKEN_EXPIRED"
    assert "ask the operator for a new one" in text
    fresh = await cluster.invite("node-4")
    _, info, _ = await refusal(cluster.ask(asking(short, csr)))
    assert info.reason == "JOIN_TOKEN_INVALID"
    assert (await cluster.ask(asking(fresh, csr))).certificate


async def test_the_enrolment_listener_serves_nothing_else(cluster: Cluster) -> None:
    tls = grpc.ssl_channel_credentials(cluster.node.authority.certificate_path.read_bytes())
    async with grpc.aio.secure_channel(cluster.enrol, tls) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await cluster_pb2_grpc.ClusterServiceStub(channel).GetStatus(cluster_pb2.GetStatusRequest(), timeout=5)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        _, csr = make_csr("qkms.dev", "node-1")
        stub = enrol_pb2_grpc.EnrolServiceStub(channel)
        code, _, _ = await refusal(stub.RenewCertificate(enrol_pb2.RenewCertificateRequest(csr=csr), timeout=5))
        assert code is grpc.StatusCode.PERMISSION_DENIED
    async with grpc.aio.secure_channel(cluster.node.address, tls) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await cluster_pb2_grpc.ClusterServiceStub(channel).GetStatus(cluster_pb2.GetStatusRequest(), timeout=5)


async def test_a_certificate_is_renewed_only_by_the_member_that_it_names(cluster: Cluster) -> None:
    async def renew(identity: Identity, csr: bytes) -> enrol_pb2.RenewCertificateResponse:
        async with cluster.node.channel(identity) as channel:
            stub = enrol_pb2_grpc.EnrolServiceStub(channel)
            return await stub.RenewCertificate(enrol_pb2.RenewCertificateRequest(csr=csr), timeout=5)

    _, own = make_csr("qkms.dev", "node-1")
    leaf = x509.load_der_x509_certificate((await renew(Identity("node", "node-1"), own)).certificate)
    assert {"localhost", "127.0.0.1"} <= hosts_of(leaf.public_bytes(serialization.Encoding.PEM))
    _, foreign = make_csr("qkms.dev", "node-2")
    for identity, csr, reason in (
        (Identity("node", "node-1"), foreign, "CSR_REFUSED"),
        (Identity("node", "node-2"), foreign, "NOT_A_MEMBER"),
        (Identity("service", "alice"), own, "NOT_A_MEMBER"),
    ):
        _, info, _ = await refusal(renew(identity, csr))
        assert info.reason == reason


async def test_joining_makes_a_folder_that_a_node_can_run(cluster: Cluster) -> None:
    invitation = await cluster.invite("node-4")
    with pytest.raises(JoinFailed, match="Nothing was sent to it"):
        await cluster.join("00" * 32, invitation.token)
    with pytest.raises(JoinFailed, match="64 hexadecimal digits"):
        await cluster.join("00", invitation.token)
    with pytest.raises(JoinFailed, match="this is no token"):
        await cluster.join(cluster.fingerprint, "node-4.abc")
    assert not (cluster.folder / "new").exists()
    config = load(await cluster.join(cluster.fingerprint, invitation.token))
    assert (config.node.id, config.cluster.joining, config.cluster.id) == ("node-4", True, "test")
    assert [m.id for m in config.cluster.members] == ["node-1", "node-4"]
    assert config.access == cluster.node.config.access
    assert config.root == cluster.node.config.root
    assert (config.raft.listen, config.rpc.listen) == ("127.0.0.4:9101", "127.0.0.4:9201")
    assert config.tls.private_key.stat().st_mode & 0o777 == 0o600


async def test_a_lost_answer_is_asked_for_again_and_another_machine_gets_nothing(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    invitation = await cluster.invite("node-4")

    def lost(*arguments: object) -> Path:
        raise JoinFailed("the machine went down before it had the answer")

    monkeypatch.setattr(joining, "_settle", lost)
    with pytest.raises(JoinFailed, match="went down"):
        await cluster.join(cluster.fingerprint, invitation.token)
    monkeypatch.undo()
    pending = (cluster.folder / "new" / "join.json").read_text()
    assert invitation.token.partition(".")[2] not in pending
    assert load(await cluster.join(cluster.fingerprint, invitation.token)).node.id == "node-4"
    (cluster.folder / "new").rename(cluster.folder / "old")
    with pytest.raises(JoinFailed, match="has given its certificate to another request"):
        await cluster.join(cluster.fingerprint, invitation.token)


async def test_a_node_whose_certificate_was_lost_joins_again_and_keeps_its_configuration(cluster: Cluster) -> None:
    path = await cluster.join(cluster.fingerprint, (await cluster.invite("node-4")).token)
    path.write_text(path.read_text().replace("127.0.0.4:9201", "127.0.0.4:9999"))
    before = (path.parent / "node.pem").read_bytes()
    assert await cluster.join(cluster.fingerprint, (await cluster.invite("node-4")).token) == path
    assert (path.parent / "node.pem").read_bytes() != before
    assert load(path).rpc.listen == "127.0.0.4:9999"
    with pytest.raises(JoinFailed, match=r"is of node-4; name another folder with --dir for node-5"):
        await cluster.join(cluster.fingerprint, (await cluster.invite("node-5")).token)
