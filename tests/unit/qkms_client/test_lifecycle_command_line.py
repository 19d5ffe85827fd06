"""`qkms keys` through the life of a key, against a real node in memory."""

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import structlog
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from qkms.wrapping import Method, wrap
from qkms_client.cli import failure
from qkms_client.cli.main import main
from qkms_client.testing import MemoryServer

Run = Callable[..., Result]
MATERIAL = bytes(range(32))


@pytest.fixture(scope="module")
def qkms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Runs `qkms keys ...`, with a profile of the service payments."""
    # The node logs from a thread of this process, and must not write into the output of a command.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    with MemoryServer() as server:
        profile = server.profile("payments")
        path = tmp_path_factory.mktemp("profile") / "profile.toml"
        lines = [f'{name} = "{getattr(profile, name)}"' for name in ("ca", "certificate", "private_key")]
        lines += ["[endpoints]", *(f'{n} = "{a}"' for n, a in profile.endpoints.items())]
        path.write_text("\n".join(lines))

        def run(*arguments: str, data: bytes = b"", group: tuple[str, ...] = ("keys",)) -> Result:
            environment = {"QKMS_PROFILE": str(path)}
            return CliRunner().invoke(main, [*group, *arguments], input=data, env=environment)

        yield run
    structlog.reset_defaults()


@pytest.fixture
def key() -> str:
    """A fresh key id."""
    return f"key-{uuid4().hex[:12]}"


def shown(result: Result) -> Any:
    assert result.exit_code == failure.DONE, result.output
    return json.loads(result.stdout)


def test_a_staged_version_goes_its_way(qkms: Run, key: str) -> None:
    assert shown(qkms("create", key, "--max-staleness", "0", "--json"))["max_staleness"] == 0
    table = qkms("stage", key)
    assert "PRE_ACTIVATION" in table.output
    assert "opened by" in table.output
    assert "opened by 1 of 1, validated" in qkms("validate", key, "2").output
    assert f"version 2 of keys/{key} is the primary version" in qkms("activate", key, "2").output
    assert "was the primary version already" in qkms("activate", key, "2").output
    assert shown(qkms("activate", key, "2", "--json"))["already_active"] is True
    qkms("stage", key)
    assert "a drill" in qkms("abort", key, "3", "--reason", "a drill").output
    assert "COMPROMISED" in qkms("compromise", key, "1", "--reason", "lost").output
    assert [v["version"] for v in shown(qkms("versions", key, "--state", "compromised", "--json"))] == [1]


def test_settings_are_changed_and_read(qkms: Run, key: str) -> None:
    settings = ("--rotation-period", "12h", "--deletion-protection", "--prefer-qkd", "--refuse-relays")
    made = shown(qkms("create", key, *settings, "--max-qber", "0.03", "--json"))
    assert made["rotation_period"] == 12 * 3600
    assert (made["prefer_qkd"], made["refuse_relays"], made["max_qber"]) == (True, True, 0.03)
    assert "3.00%" in qkms("get", key).output
    assert shown(qkms("update", key, "--max-qber", "0", "--json"))["max_qber"] == 0
    assert shown(qkms("update", key, "--no-refuse-relays", "--json"))["refuse_relays"] is False
    assert shown(qkms("update", key, "--no-prefer-qkd", "--json"))["prefer_qkd"] is False
    made = shown(qkms("update", key, "--prefer-qkd", "--json"))
    changed = shown(
        qkms("update", key, "--label", "a=b", "--rotation-period", "90d", "--etag", made["etag"], "--json")
    )
    assert (changed["labels"], changed["rotation_period"]) == ({"a": "b"}, 90 * 86400)
    assert (changed["deletion_protection"], changed["prefer_qkd"]) == (True, True)
    stale = qkms("update", key, "--clear-labels", "--etag", made["etag"])
    assert stale.exit_code == failure.REFUSED
    assert "ETAG_MISMATCH" in stale.output
    off = shown(
        qkms("update", key, "--clear-labels", "--rotation-period", "0", "--no-deletion-protection", "--json")
    )
    assert (off["labels"], off["rotation_period"], off["deletion_protection"]) == ({}, None, False)


def test_wrong_usage_sends_nothing(qkms: Run, key: str) -> None:
    for arguments in (
        ("update", key),
        ("update", key, "--rotation-period", "a while"),
        ("list", "--algorithm", "ROT13"),
        ("import", key, "--request-id", str(uuid4())),
    ):
        assert qkms(*arguments).exit_code == failure.USAGE, arguments


def test_a_key_is_disabled_enabled_and_deleted(qkms: Run, key: str) -> None:
    qkms("create", key)
    assert "DISABLED" in qkms("disable", key).output
    assert "ENABLED" in qkms("enable", key).output
    assert "SUSPENDED" in qkms("disable", key, "1").output
    qkms("destroy", key, "1", "--grace", "0")
    assert "DELETED" in qkms("delete", key).output
    assert key in qkms("list", "--state", "deleted", "--prefix", key).output
    assert key not in qkms("list").output


def test_material_is_brought_in_and_taken_out_wrapped(qkms: Run, key: str, tmp_path: Path) -> None:
    qkms("create", key, "--no-version", "--exportable")
    public = tmp_path / "pub"
    name = qkms("import-parameters", key, "--public-out", str(public)).output.strip()
    wrapped = wrap(Method.MLKEM768_AES_KWP, public.read_bytes(), MATERIAL, name)
    assert "IMPORTED" in qkms("import", key, "--parameters", name, data=wrapped).output
    qkms("abort", key, "1")
    assert "IMPORTED" in qkms("import", key, "--method", "rsa-oaep-sha256", data=MATERIAL).output
    private = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    mine, out = tmp_path / "mine.der", tmp_path / "out"
    mine.write_bytes(private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    arguments = ("export", key, "2", "--public-key", str(mine), "--method", "rsa-oaep-sha256", "--out", str(out))
    assert "VERSION_STAGED" in qkms(*arguments).output
    qkms("validate", key, "2")
    qkms("activate", key, "2")
    assert qkms(*arguments).exit_code == failure.DONE
    oaep = padding.OAEP(mgf=padding.MGF1(SHA256()), algorithm=SHA256(), label=None)
    assert private.decrypt(out.read_bytes(), oaep) == MATERIAL


def openssl(folder: Path, command: str) -> None:
    subprocess.run(["bash", "-euo", "pipefail", "-c", command], cwd=folder, check=True, capture_output=True)


def in_use(qkms: Run, key: str, *arguments: str) -> bytes:
    """Imports a first version and activates it: its public half in PEM."""
    assert "IMPORTED" in qkms("import", key, *arguments).output
    qkms("validate", key, "1")
    qkms("activate", key, "1")
    return qkms("public-key", key, group=()).stdout_bytes


def test_a_private_key_is_brought_in_from_the_files_of_openssl(qkms: Run, key: str, tmp_path: Path) -> None:
    make = "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem"
    openssl(tmp_path, f"{make}; openssl pkey -in key.pem -pubout -out pub.pem")
    openssl(
        tmp_path, "openssl pkcs8 -topk8 -in key.pem -passout pass:secret -out encrypted.pem; echo secret > pass"
    )
    public = (tmp_path / "pub.pem").read_bytes()
    keys = {f"{key}-{n}": ("ECDSA_P256_SHA256", "ECDSA_P256_SHA256", "ED25519")[n] for n in range(3)}
    for name, algorithm in keys.items():
        qkms("create", name, "--algorithm", algorithm, "--no-version")
    one, two, other = keys
    clear, encrypted = (("--in", str(tmp_path / name)) for name in ("key.pem", "encrypted.pem"))
    assert in_use(qkms, one, *clear) == public
    refused = qkms("import", two, *encrypted)
    assert (refused.exit_code, "passphrase" in refused.output) == (failure.USAGE, True)
    passphrase = ("--passphrase-file", str(tmp_path / "pass"))
    assert in_use(qkms, two, *encrypted, *passphrase) == public
    (tmp_path / "pass").write_text("another")
    assert qkms("import", two, *encrypted, *passphrase).exit_code == failure.USAGE
    wrong = qkms("import", other, *clear)
    assert (wrong.exit_code, "MATERIAL_REJECTED" in wrong.output) == (failure.REFUSED, True)


def test_the_example_of_import_parameters_works_as_it_stands(qkms: Run, key: str, tmp_path: Path) -> None:
    qkms("create", key, "--algorithm", "ECDSA_P256_SHA256", "--no-version")
    openssl(tmp_path, "openssl ecparam -name prime256v1 -genkey -noout -out key.pem")
    openssl(tmp_path, "openssl pkey -in key.pem -pubout -out pub.pem")
    help_lines = [line.strip() for line in qkms("import-parameters", "--help").output.splitlines()]
    example = help_lines[help_lines.index("Example, with openssl and a private key in PEM:") + 1 :]
    asking, *shell = example[: next(n for n, line in enumerate(example) if line.startswith("qkms keys import "))]
    method = asking.split()[4:6]
    name = qkms("import-parameters", key, *method, "--public-out", str(tmp_path / "pub.der")).output.strip()
    openssl(tmp_path, "\n".join(shell))
    public = in_use(qkms, key, "--parameters", name, "--in", str(tmp_path / "wrapped"))
    assert public == (tmp_path / "pub.pem").read_bytes()


def test_a_file_of_ciphertexts_is_rewrapped_in_order_and_resumed(qkms: Run, key: str, tmp_path: Path) -> None:
    qkms("create", key)
    source, target = tmp_path / "sealed", tmp_path / "new"
    texts = [f"text {n}".encode() for n in range(12)]
    sealed = [qkms("encrypt", key, "--base64", data=text, group=()).stdout_bytes for text in texts[:6]]
    qkms("rotate", key)
    sealed += [qkms("encrypt", key, "--base64", data=text, group=()).stdout_bytes for text in texts[6:]]
    source.write_bytes(b"".join(sealed[:7]) + b"no base64!\n")
    broken = qkms("rewrap-file", key, str(source), "--out", str(target), "--in-flight", "2", group=())
    assert broken.exit_code == failure.USAGE
    assert "line 8" in broken.output
    assert target.read_bytes().count(b"\n") == 6, "one was in flight"

    target.write_bytes(target.read_bytes() + b"half a li")
    source.write_bytes(b"".join(sealed))
    assert qkms("rewrap-file", key, str(source), "--out", str(target), group=()).exit_code == failure.USAGE
    resumed = shown(qkms("rewrap-file", key, str(source), "--out", str(target), "--resume", "--json", group=()))
    assert resumed == {"total": 12, "done": 12, "changed": 0}, "the older ones were done before"
    lines = target.read_bytes().splitlines()
    assert [base64.b64decode(line)[4] for line in lines] == [2] * 12, "the version that each names"
    assert lines[6:] == [line.strip() for line in sealed[6:]], "copied as they were"
    opened = [qkms("decrypt", key, "--base64", data=line, group=()).stdout_bytes for line in lines]
    assert opened == texts
