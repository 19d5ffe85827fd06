"""Certificates of nodes: what may be signed, how a pair is replaced, when it is renewed and when it warns."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from local_node import config as make_config
from qkms_node import files, tls_files
from qkms_node.ca import CaUnusable, SigningCa, encrypt_key
from qkms_node.csr import CsrRefused, check_csr, hosts_of, make_csr
from qkms_node.errors import QkmsError
from qkms_node.leaf import named
from qkms_node.pki import Authority, Identity
from qkms_node.service.certificates import Certificates

DOMAIN = "qkms.dev"
HOSTS = {"10.0.0.4", "node-4.example"}
LIFETIME = timedelta(days=90)


@dataclass(frozen=True)
class Paths:
    ca: Path
    certificate: Path
    private_key: Path


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


@pytest.fixture
def ca(authority: Authority, tmp_path: Path) -> SigningCa:
    (tmp_path / "pass").touch(mode=0o600)
    (tmp_path / "pass").write_bytes(b"a passphrase\n")
    encrypt_key(authority.key_path, tmp_path / "ca.key", b"a passphrase")
    return SigningCa(authority.certificate_path, tmp_path / "ca.key", tmp_path / "pass", LIFETIME)


def request(
    *names: x509.GeneralName, common: str = "node-4", key: ec.EllipticCurvePrivateKey | None = None
) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(named(common))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signed = builder.sign(key or ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.DER)


def uri(name: str = "node/node-4", domain: str = DOMAIN) -> x509.UniformResourceIdentifier:
    return x509.UniformResourceIdentifier(f"spiffe://{domain}/{name}")


def test_a_nodes_request_is_signed_with_the_hosts_it_may_have(ca: SigningCa, authority: Authority) -> None:
    _, csr = make_csr(DOMAIN, "node-4")
    leaf = x509.load_der_x509_certificate(
        ca.sign(check_csr(csr, DOMAIN, "node-4", HOSTS), DOMAIN, "node-4", HOSTS)
    )
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.certificate_path.read_bytes()))
    assert hosts_of(leaf.public_bytes(serialization.Encoding.PEM)) == HOSTS
    left = leaf.not_valid_after_utc - datetime.now(UTC)
    assert timedelta(days=89) < left <= LIFETIME


def test_hosts_that_are_its_own_may_be_named() -> None:
    check_csr(request(uri(), x509.DNSName("node-4.example")), DOMAIN, "node-4", HOSTS)


@pytest.mark.parametrize(
    ("csr", "complaint"),
    [
        (lambda: b"", "no PKCS#10 request"),
        (lambda: bytes(5000), "5000 bytes"),
        (lambda: request(uri())[:-1] + b"\x00", "no PKCS#10 request|signature"),
        (request, "no subject alternative name"),
        (lambda: request(uri(), common="node-1"), "common name is node-1"),
        (lambda: request(uri("node/node-1")), "URI names"),
        (lambda: request(uri("operator/admin")), "URI names"),
        (lambda: request(uri(), uri("operator/admin")), "URI names"),
        (lambda: request(uri(domain="other")), "URI names"),
        (lambda: request(uri(), x509.DNSName("bank.example")), "names bank.example"),
        (lambda: request(uri(), x509.RFC822Name("a@b.example")), "names a@b.example"),
        (lambda: request(uri(), key=ec.generate_private_key(ec.SECP384R1())), "not EC P-256"),
        (lambda: request(uri(), key=rsa.generate_private_key(65537, 2048)), "not EC P-256"),  # type: ignore[arg-type]
    ],
)
def test_a_request_for_more_than_the_node_may_have_is_refused(csr: Callable[[], bytes], complaint: str) -> None:
    with pytest.raises(CsrRefused, match=complaint):
        check_csr(csr(), DOMAIN, "node-4", HOSTS)


def test_a_ca_key_in_clear_or_open_to_others_is_refused(
    ca: SigningCa, authority: Authority, tmp_path: Path
) -> None:
    passphrase = tmp_path / "pass"

    def opened(key: Path) -> None:
        SigningCa(authority.certificate_path, key, passphrase, LIFETIME)

    with pytest.raises(CaUnusable, match="is not encrypted"):
        opened(authority.key_path)
    with pytest.raises(CaUnusable, match="cannot be read"):
        opened(tmp_path / "gone")
    other = Authority(tmp_path / "other")
    encrypt_key(other.key_path, tmp_path / "other.key", b"a passphrase")
    with pytest.raises(CaUnusable, match="is not the key of"):
        opened(tmp_path / "other.key")
    passphrase.write_bytes(b"another")
    with pytest.raises(CaUnusable, match="does not open"):
        opened(tmp_path / "ca.key")
    passphrase.chmod(0o644)
    with pytest.raises(CaUnusable, match="chmod it to 0600"):
        opened(tmp_path / "ca.key")


def pair(authority: Authority, ends_in: timedelta = LIFETIME) -> Paths:
    now = datetime.now(UTC)
    made = authority.issue(Identity("node", "node-1"), not_before=now - timedelta(days=1), not_after=now + ends_in)
    return Paths(made.ca, made.certificate, made.private_key)


class Crash(Exception):
    pass


@pytest.mark.parametrize("crash_before", range(5))
def test_a_crash_while_a_pair_is_replaced_leaves_a_pair_that_fits(
    authority: Authority, monkeypatch: pytest.MonkeyPatch, crash_before: int
) -> None:
    """The steps are two files written aside and two renames; the process may die before each."""
    paths = pair(authority)
    old = tls_files.read(paths)
    other = authority.issue(Identity("node", "node-2"))
    steps = 0

    def counted(original: Callable[..., object]) -> Callable[..., object]:
        def step(*arguments: object) -> object:
            nonlocal steps
            if steps == crash_before:
                raise Crash
            steps += 1
            return original(*arguments)

        return step

    with monkeypatch.context() as patched:
        patched.setattr(tls_files, "write_durably", counted(files.write_durably))
        patched.setattr(Path, "rename", counted(Path.rename))
        try:
            tls_files.replace_pair(paths, other.certificate.read_bytes(), other.private_key.read_bytes())
        except Crash:
            pass
        else:
            assert crash_before == 4
    tls_files.settle(paths)
    found = tls_files.read(paths)
    assert found.certificate == (old.certificate if crash_before < 3 else other.certificate.read_bytes())
    assert not [p for p in paths.certificate.parent.iterdir() if p.name.endswith(tls_files.ASIDE)]
    assert paths.private_key.stat().st_mode & 0o777 == 0o600


class Clock:
    """Time, and an answer to a request for a certificate."""

    def __init__(self, authority: Authority, ca: SigningCa, tmp_path: Path, ends_in: timedelta) -> None:
        paths = pair(authority, ends_in)
        material = authority.issue(Identity("service", "unused"))
        settings = make_config(tmp_path, material, ())
        self.paths = paths
        self.now = datetime.now(UTC)
        self.asked = 0
        self.refusal: QkmsError | None = None
        self._ca = ca
        tls = msgspec.structs.replace(settings.tls, certificate=paths.certificate, private_key=paths.private_key)
        self.certificates = Certificates(msgspec.structs.replace(settings, tls=tls), self.renew, lambda: self.now)

    def warnings(self) -> tuple[str, ...]:
        return self.certificates.warnings

    async def renew(self, csr: bytes) -> bytes:
        self.asked += 1
        if self.refusal is not None:
            raise self.refusal
        return self._ca.sign(check_csr(csr, DOMAIN, "node-1", set()), DOMAIN, "node-1", {"localhost"})


async def test_a_certificate_is_renewed_when_a_third_of_its_life_is_left(
    authority: Authority, ca: SigningCa, tmp_path: Path
) -> None:
    clock = Clock(authority, ca, tmp_path, ends_in=timedelta(days=89))
    before = tls_files.read(clock.paths)
    await clock.certificates.step()
    clock.now += timedelta(days=58)
    await clock.certificates.step()
    assert clock.asked == 0
    clock.now += timedelta(days=2)
    await clock.certificates.step()
    assert clock.asked == 1
    assert clock.certificates.warnings == ()
    after = tls_files.read(clock.paths)
    assert after.certificate != before.certificate
    assert after.private_key != before.private_key


async def test_one_that_cannot_be_renewed_warns_for_days_and_says_why(
    authority: Authority, ca: SigningCa, tmp_path: Path
) -> None:
    clock = Clock(authority, ca, tmp_path, ends_in=timedelta(days=89))
    clock.refusal = QkmsError("CA_UNAVAILABLE", "no node signed")
    clock.now += timedelta(days=73)
    await clock.certificates.step()
    assert not clock.warnings()
    clock.now += timedelta(days=2)
    await clock.certificates.step()
    [warning] = clock.warnings()
    assert "expires in 14 days" in warning or "expires in 13 days" in warning
    assert "renewal fails: no node signed" in warning
    asked = clock.asked
    await clock.certificates.step()
    assert clock.asked == asked, "it does not ask again at once"
    clock.now += timedelta(days=20)
    assert "has expired" in clock.warnings()[0]


async def test_files_that_somebody_else_renewed_are_taken_up(
    authority: Authority, ca: SigningCa, tmp_path: Path
) -> None:
    clock = Clock(authority, ca, tmp_path, ends_in=timedelta(days=1))
    pair(authority, timedelta(days=500))
    await clock.certificates.step()
    assert clock.asked == 0
    assert clock.certificates.expire_ms > (clock.now + timedelta(days=400)).timestamp() * 1000
