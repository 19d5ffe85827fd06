"""A small certificate authority, free ports, toy clusters, cuttable networks and failing disks."""

import datetime
import ipaddress
import json
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.unit.qkms_node.consensus.toy_cluster import ToyCluster, ToyMember

from qkms_chaos.cluster.ports import free_ports
from qkms_chaos.faults.faulty_disk import CompilerMissing, FaultyDisk, build_shim
from qkms_node.consensus.settings import Tls
from relays import Relays

MakeCluster = Callable[..., ToyCluster]


@dataclass
class Authority:
    """Issues certificates on P-256, each with one or more URI names."""

    folder: Path
    name: str

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        constraints = x509.BasicConstraints(ca=True, path_length=0)
        certificate = self._builder(self._name, self._key).add_extension(constraints, critical=True)
        self.ca = self._write("ca", certificate.sign(self._key, hashes.SHA256()))

    def node(self, node_id: str) -> Tls:
        """Files of a member."""
        return self.issue(node_id, [f"spiffe://qkms.dev/node/{node_id}"])

    def issue(self, file: str, uris: list[str]) -> Tls:
        """Files of whoever these names say."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, file)])
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
        names += [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = self._builder(subject, key).add_extension(x509.SubjectAlternativeName(names), critical=False)
        key_path = self.folder / f"{self.name}-{file}.key"
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        path = self._write(file, certificate.sign(self._key, hashes.SHA256()))
        return Tls(ca=self.ca, certificate=path, private_key=key_path)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
        )

    def _write(self, file: str, certificate: x509.Certificate) -> Path:
        path = self.folder / f"{self.name}-{file}.pem"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The cluster's CA."""
    return Authority(tmp_path, "cluster")


@pytest.fixture
def other_authority(tmp_path: Path) -> Authority:
    """A CA that the cluster does not know."""
    return Authority(tmp_path, "elsewhere")


@pytest.fixture
def three_members() -> dict[str, str]:
    """Ids and free loopback addresses."""
    return {f"node-{i}": f"127.0.0.1:{port}" for i, port in enumerate(free_ports(3), 1)}


@pytest_asyncio.fixture
async def relays(three_members: dict[str, str]) -> AsyncIterator[Relays]:
    """A network of relays between the three members."""
    network = Relays(three_members)
    await network.start()
    yield network
    await network.close()


@pytest.fixture(scope="session")
def disk_shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shim of `FaultyDisk`, compiled."""
    try:
        return build_shim(tmp_path_factory.mktemp("shim"))
    except CompilerMissing as missing:
        # As root `make test` installs one, so then its absence is a fault.
        (pytest.fail if os.geteuid() == 0 else pytest.skip)(str(missing))


@pytest_asyncio.fixture
async def make_cluster(
    tmp_path: Path, authority: Authority, three_members: dict[str, str]
) -> AsyncIterator[MakeCluster]:
    """Configures toy members, three by default, each a process to be; `limits` as for `Limits`.

    `relays`: the network between them. `shim`: stands between each and its disk.
    """
    made: list[ToyCluster] = []

    def make(
        *,
        addresses: Mapping[str, str] = three_members,
        relays: Relays | None = None,
        shim: Path | None = None,
        timing: Mapping[str, float] | None = None,
        **limits: Any,
    ) -> ToyCluster:
        members = []
        for node_id, address in addresses.items():
            tls = authority.node(node_id)
            config, folder = tmp_path / f"{node_id}.json", tmp_path / node_id
            folder.mkdir()
            settings = {
                "node_id": node_id,
                "members": relays.members if relays else addresses,
                "hosts": relays.hosts(node_id) if relays else {},
                "listen": address,
                "tls": [str(tls.ca), str(tls.certificate), str(tls.private_key)],
                "data_dir": str(folder / "data"),
                "timing": timing or {},
                "limits": limits,
            }
            config.write_text(json.dumps(settings))
            members.append(ToyMember(config, node_id, FaultyDisk(shim, folder) if shim else None))
        made.append(ToyCluster(members))
        return made[-1]

    yield make
    for cluster in made:
        await cluster.close()
