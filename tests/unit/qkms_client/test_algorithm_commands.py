"""`qkms sign`, `verify`, `mac`, `encapsulate`, `rewrap` and their kin against a real node in memory."""

import base64
import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key
from structlog.testing import capture_logs

from qkms_client.cli import failure
from qkms_client.cli.main import main
from qkms_client.testing import MemoryServer

MESSAGE = bytes(range(256)) + b"\r\n\0"


@dataclass(frozen=True)
class Line:
    """The command line against the node in memory."""

    profile: Path

    def __call__(self, *arguments: str | Path, data: bytes = b"") -> Result:
        environment = {"QKMS_PROFILE": str(self.profile)}
        return CliRunner().invoke(main, [str(a) for a in arguments], input=data, env=environment)

    def json(self, *arguments: str | Path, data: bytes = b"") -> dict[str, Any]:
        result = self(*arguments, "--json", data=data)
        assert result.exit_code == failure.DONE, result.output
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    def key(self, algorithm: str) -> str:
        name = f"key-{uuid4().hex[:12]}"
        assert self.json("keys", "create", name, "--algorithm", algorithm)["algorithm"] == algorithm.upper()
        return name


@pytest.fixture(scope="module")
def qkms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    # The node logs in this process, where the command line's standard output is captured.
    with capture_logs(), MemoryServer() as server:
        profile = server.profile("payments")
        path = tmp_path_factory.mktemp("profile") / "profile.toml"
        lines = [f'{name} = "{getattr(profile, name)}"' for name in ("ca", "certificate", "private_key")]
        lines += ["[endpoints]", *(f'{node} = "{address}"' for node, address in profile.endpoints.items())]
        path.write_text("\n".join(lines))
        yield Line(path)


def test_a_file_is_signed_verified_and_its_public_key_written(qkms: Line, tmp_path: Path) -> None:
    key, message, signature, pem = qkms.key("ed25519"), *(tmp_path / name for name in ("m", "m.sig", "k.pem"))
    message.write_bytes(MESSAGE)
    signed = qkms("sign", key, "--in", message, "--out", signature)
    assert (signed.exit_code, signed.stdout_bytes, signed.stderr) == (failure.DONE, b"", "version 1\n")
    assert stat.S_IMODE(signature.stat().st_mode) == 0o600
    qkms("keys", "rotate", key)
    verifying = ("verify", key, "--in", message, "--signature", signature, "--version", "1")
    verified = qkms(*verifying)
    assert (verified.exit_code, verified.stdout) == (failure.DONE, "signature valid, version 1\n")
    assert qkms.json(*verifying) == {"valid": True, "version": 1}
    other = qkms("verify", key, "--in", signature, "--signature", signature, "--version", "1")
    assert (other.exit_code, other.stdout) == (failure.UNTRUSTED, "signature NOT valid, version 1\n")
    assert qkms(*verifying[:-1], "2", "--json").exit_code == failure.UNTRUSTED
    assert qkms("public-key", key, "--version", "1", "--out", pem).exit_code == failure.DONE
    public = load_pem_public_key(pem.read_bytes())
    assert isinstance(public, Ed25519PublicKey)
    public.verify(signature.read_bytes(), MESSAGE)
    raw = qkms("public-key", key, "--raw", "--out", tmp_path / "k.der")
    assert raw.stderr == "version 2\n"
    assert load_der_public_key((tmp_path / "k.der").read_bytes()) != public


def test_signing_options_reach_the_node(qkms: Line, tmp_path: Path) -> None:
    signature = tmp_path / "s"
    for algorithm, options, size in (
        ("ecdsa_p256_sha256", ("--p1363",), 64),
        ("ecdsa_p256_sha256", ("--p1363", "--digested"), 64),
        ("ml_dsa_44", ("--signature-context", "releases"), 2420),
    ):
        key, message = qkms.key(algorithm), bytes(32)
        made = qkms("sign", key, "--base64", *options, data=message)
        assert len(base64.b64decode(made.stdout)) == size
        signature.write_text(made.stdout)
        verifying = ("verify", key, "--signature", signature, "--base64", "--version", "1")
        assert qkms(*verifying, *options, data=message).exit_code == failure.DONE
        assert qkms(*verifying, data=message).exit_code == failure.UNTRUSTED


def test_data_is_authenticated_and_verified(qkms: Line, tmp_path: Path) -> None:
    key, mac = qkms.key("hmac_sha512"), tmp_path / "mac"
    made = qkms("mac", key, "--out", mac, data=MESSAGE)
    assert (made.exit_code, made.stderr, len(mac.read_bytes())) == (failure.DONE, "version 1\n", 64)
    assert base64.b64decode(qkms.json("mac", key, data=MESSAGE)["mac"]) == mac.read_bytes()
    verifying = ("verify-mac", key, "--mac", mac, "--version", "1")
    assert qkms(*verifying, data=MESSAGE).stdout == "MAC valid, version 1\n"
    assert qkms(*verifying, data=b"other").exit_code == failure.UNTRUSTED


def test_a_shared_secret_is_printed_when_asked_for_and_only_then(qkms: Line, tmp_path: Path) -> None:
    key = qkms.key("x25519mlkem768")
    secret, ciphertext = tmp_path / "s", tmp_path / "s.kem"
    made = qkms("encapsulate", key, "--secret-out", secret, "--ciphertext-out", ciphertext)
    assert made.stdout == "version: 1\ngrade: PQC\n"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    opened = qkms("decapsulate", key, "--in", ciphertext, "--version", "1", "--out", tmp_path / "again")
    assert opened.stdout_bytes == b""
    assert (tmp_path / "again").read_bytes() == secret.read_bytes()
    shown = qkms.json("encapsulate", key)
    given = base64.b64decode(shown["ciphertext"])
    assert qkms.json("decapsulate", key, "--version", "1", data=given)["shared_secret"] == shown["shared_secret"]
    no_pem = qkms("public-key", key)
    assert (no_pem.exit_code, "add --raw" in no_pem.stderr) == (failure.USAGE, True)
    assert len(qkms("public-key", key, "--raw").stdout_bytes) == 1216


def test_a_ciphertext_is_rewrapped_and_says_from_where_to_where(qkms: Line) -> None:
    key, bound = qkms.key("aes_256_gcm"), ("--context", "tenant=7", "--aad", "x")
    sealed = qkms("encrypt", key, "--base64", *bound, data=MESSAGE).stdout_bytes
    qkms("keys", "rotate", key)
    moved = qkms("rewrap", key, "--base64", *bound, data=sealed)
    assert moved.stderr == "version 1 -> 2\n"
    assert qkms("decrypt", key, "--base64", *bound, data=moved.stdout_bytes).stdout_bytes == MESSAGE
    again = qkms.json("rewrap", key, "--base64", *bound, data=moved.stdout_bytes)
    assert (again["version"], again["source_version"]) == (2, 2)
    assert again["ciphertext"] == moved.stdout.strip()
    assert qkms("rewrap", key, "--base64", data=sealed).exit_code == failure.UNTRUSTED


def test_a_derived_key_has_the_length_asked_for(qkms: Line) -> None:
    key = qkms.key("aes_256_gcm")
    derived = qkms("derive", key, "--context", "a=b", "--length", "64")
    assert len(derived.stdout_bytes) == 64
    assert qkms("derive", key, "--context", "a=b", "--length", "15").exit_code == failure.USAGE


def test_what_a_key_cannot_do_is_said_with_what_it_can(qkms: Line) -> None:
    key = qkms.key("ml_kem_768")
    refused = qkms("sign", key, "--base64", data=MESSAGE)
    assert refused.exit_code == failure.REFUSED
    for told in ("ALGORITHM_UNSUITABLE", "ML_KEM_768", "sign", "encapsulate, decapsulate", "what to do"):
        assert told in refused.stderr
    assert qkms("keys", "create", "x", "--algorithm", "rot13").exit_code == failure.USAGE
    assert "ML_KEM_768" in qkms("keys", "list").stdout
