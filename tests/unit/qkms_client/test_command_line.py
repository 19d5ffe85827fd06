"""`qkms`: binary data through real pipes, exit codes, JSON, and no secret that was not asked for."""

import asyncio
import base64
import json
import stat
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner, Result
from google.protobuf.message import Message
from tests.unit.qkms_client.conftest import Drop, Refuse, ScriptedCluster, header

from qkms.v1 import cluster_pb2, crypto_pb2, key_pb2
from qkms_client import errors
from qkms_client.cli import failure
from qkms_client.cli.main import main
from qkms_client.cli.output import plain, table
from qkms_client.secret import DataKey
from qkms_client.types import Grade

EVERY_BYTE = bytes(range(256)) + b"\r\n\x00"
CANARY = b"canary-canary-canary-canary-0123"
REQUEST_ID = "7f1c6d52-2b43-4d5f-8a86-0b1f5a5d9f01"


@dataclass(frozen=True)
class Line:
    """The command line against the scripted cluster, with its profile in the environment."""

    profile: Path

    async def __call__(self, *arguments: str, data: bytes = b"") -> Result:
        """Runs a command in this process; in a thread, because the nodes run on this loop."""
        environment = {"QKMS_PROFILE": str(self.profile)}
        return await asyncio.to_thread(CliRunner().invoke, main, arguments, input=data, env=environment)


@pytest.fixture
def qkms(cluster: ScriptedCluster, tmp_path: Path) -> Line:
    profile = cluster.profile(timeout_s=5.0, attempt_timeout_s=2.0)
    path = tmp_path / "profile.toml"
    lines = [f'{name} = "{getattr(profile, name)}"' for name in ("ca", "certificate", "private_key")]
    lines += ["timeout_s = 5.0", "[endpoints]", *(f'{n} = "{a}"' for n, a in cluster.endpoints.items())]
    path.write_text("\n".join(lines))
    return Line(path)


def seal(request: Message, number: int) -> Message:
    """Stands for encryption: reversible, and nothing like the plaintext."""
    assert isinstance(request, crypto_pb2.EncryptRequest)
    sealed = bytes(b ^ 0xA5 for b in request.plaintext)
    return crypto_pb2.EncryptResponse(header=header(), ciphertext=sealed, version=3, grade=3)  # type: ignore[arg-type]


def unseal(request: Message, number: int) -> Message:
    assert isinstance(request, crypto_pb2.DecryptRequest)
    plaintext = bytes(b ^ 0xA5 for b in request.ciphertext)
    return crypto_pb2.DecryptResponse(header=header(), plaintext=plaintext, version=3)


@pytest.fixture
def sealing(cluster: ScriptedCluster) -> None:
    cluster.on_all("CryptoService/Encrypt", crypto_pb2.EncryptRequest, seal)
    cluster.on_all("CryptoService/Decrypt", crypto_pb2.DecryptRequest, unseal)


async def pipe(line: Line, *arguments: str, data: bytes) -> bytes:
    """A command as a real process with real pipes; its stdout."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from qkms_client.cli.main import main; main()",
        *arguments,
        "--profile",
        str(line.profile),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(data)
    assert process.returncode == 0, err.decode()
    return out


@pytest.mark.usefixtures("sealing")
async def test_every_byte_goes_through_pipes_unchanged(qkms: Line) -> None:
    sealed = await pipe(qkms, "encrypt", "payments", data=EVERY_BYTE)
    assert sealed == bytes(b ^ 0xA5 for b in EVERY_BYTE)
    assert await pipe(qkms, "decrypt", "payments", data=sealed) == EVERY_BYTE


@pytest.mark.usefixtures("sealing")
async def test_base64_is_the_form_of_the_ciphertext(qkms: Line) -> None:
    sealed = await qkms("encrypt", "payments", "--base64", data=EVERY_BYTE)
    assert base64.b64decode(sealed.stdout_bytes, validate=False) == bytes(b ^ 0xA5 for b in EVERY_BYTE)
    opened = await qkms("decrypt", "payments", "--base64", data=sealed.stdout_bytes)
    assert opened.stdout_bytes == EVERY_BYTE


@pytest.mark.usefixtures("sealing")
async def test_a_file_is_written_for_its_owner_and_never_over_another(qkms: Line, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(EVERY_BYTE)
    arguments = ("encrypt", "payments", "--in", str(source), "--out", str(target))
    assert (await qkms(*arguments)).exit_code == failure.DONE
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    before = target.read_bytes()
    again = await qkms(*arguments)
    assert again.exit_code == failure.USAGE
    assert "exists already" in again.stderr
    assert target.read_bytes() == before


async def test_context_and_aad_are_sent(qkms: Line, cluster: ScriptedCluster) -> None:
    cluster.on_all("CryptoService/Encrypt", crypto_pb2.EncryptRequest, seal)
    await qkms("encrypt", "payments", "--context", "tenant=7", "--aad", "x", "--consistency", "bounded:1.5")
    (sent,) = cluster.nodes["node-1"].requests("CryptoService/Encrypt")
    assert isinstance(sent, crypto_pb2.EncryptRequest)
    assert dict(sent.context) == {"tenant": "7"}
    assert sent.additional_authenticated_data == b"x"
    assert sent.consistency.max_staleness.ToMilliseconds() == 1500


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("encrypt", "payments", "--context", "tenant"), "must be name=value"),
        (("encrypt", "payments", "--context", "a=1", "--context", "a=2"), "given twice"),
        (("decrypt", "payments", "--base64"), "not base64"),
        (("derive", "payments"), "at least one --context"),
        (("random", "0"), "0"),
        (("keys", "get", "payments", "--consistency", "soon"), "must be linearizable"),
        (("keys", "get", "payments", "--consistency", "bounded:-1"), "must be linearizable"),
        (("keys", "rotate", "payments", "--request-id", "7"), "UUID"),
        (("keys", "get", "payments", "--profile", "/nonexistent"), "PROFILE_INVALID"),
    ],
)
async def test_wrong_usage_is_told_and_nothing_is_sent(
    qkms: Line, cluster: ScriptedCluster, arguments: tuple[str, ...], told: str
) -> None:
    result = await qkms(*arguments, data=b"!!!")
    assert result.exit_code == failure.USAGE
    assert told in result.stderr
    assert not any(node.calls for node in cluster.nodes.values())


async def test_a_refusal_says_the_reason_and_what_to_do(qkms: Line, cluster: ScriptedCluster) -> None:
    def missing(request: Message, number: int) -> Message:
        raise Refuse("KEY_NOT_FOUND", grpc.StatusCode.NOT_FOUND)

    cluster.on_all("KeyService/GetKey", key_pb2.GetKeyRequest, missing)
    result = await qkms("keys", "get", "payments")
    assert result.exit_code == failure.REFUSED
    assert "KEY_NOT_FOUND" in result.stderr
    assert "create the key" in result.stderr
    assert not result.stdout
    assert "Traceback" not in result.stderr


async def test_an_unknown_outcome_has_its_own_code_and_its_request(qkms: Line, cluster: ScriptedCluster) -> None:
    def lost(request: Message, number: int) -> Message:
        raise Drop

    cluster.on_all("KeyService/RotateKey", key_pb2.RotateKeyRequest, lost)
    arguments = ("--expected-primary-version", "1", "--request-id", REQUEST_ID, "--timeout", "0.5")
    result = await qkms("keys", "rotate", "payments", *arguments)
    assert result.exit_code == failure.UNKNOWN
    assert f"--request-id {REQUEST_ID}" in result.stderr


@pytest.mark.parametrize("reason", sorted(errors.BY_REASON))
def test_every_reason_has_an_exit_code_and_an_explanation(reason: str) -> None:
    error = errors.BY_REASON[reason]("something happened")
    assert failure.exit_code(error) in range(1, 7)
    assert reason in failure.explanation(error)
    assert "what to do" in failure.explanation(error)


async def test_a_data_key_is_printed_when_asked_for_and_only_then(
    qkms: Line, cluster: ScriptedCluster, tmp_path: Path
) -> None:
    def made(request: Message, number: int) -> Message:
        return crypto_pb2.GenerateDataKeyResponse(
            header=header(), plaintext=CANARY, ciphertext=b"sealed", version=1
        )

    cluster.on_all("CryptoService/GenerateDataKey", crypto_pb2.GenerateDataKeyRequest, made)
    shown = json.loads((await qkms("datakey", "payments", "--json")).stdout)
    assert base64.b64decode(shown["plaintext"]) == CANARY
    target = tmp_path / "dk"
    kept = await qkms("datakey", "payments", "--plaintext-out", str(target))
    assert target.read_bytes() == CANARY
    assert base64.b64encode(CANARY).decode() not in kept.output
    assert "ciphertext: " in kept.stdout


async def test_a_watch_prints_events_and_goes_on_where_it_ended(
    qkms: Line, cluster: ScriptedCluster, tmp_path: Path
) -> None:
    async def told(request: Message, number: int) -> AsyncIterator[Message]:
        response = key_pb2.WatchKeysResponse(header=header(number + 5), resume_token=f"token-{number}")
        response.header.staleness.FromMilliseconds(5)
        response.events.add(revision=number + 5, type=key_pb2.KEY_ROTATED, name="keys/payments", version=2)
        yield response
        await asyncio.Event().wait()

    for node in cluster.nodes.values():
        node.on_stream("KeyService/WatchKeys", key_pb2.WatchKeysRequest, told)
    arguments = ("keys", "watch", "payments", "--json", "--count", "1", "--token-file", str(tmp_path / "token"))
    first, second = await qkms(*arguments), await qkms(*arguments)
    assert [json.loads(r.stdout)["revision"] for r in (first, second)] == [5, 6]
    sent = cluster.nodes["node-1"].requests("KeyService/WatchKeys")
    assert [r.resume_token for r in sent if isinstance(r, key_pb2.WatchKeysRequest)] == ["", "token-0"]


async def test_status_shows_the_nodes_that_answer_and_those_that_do_not(
    qkms: Line, cluster: ScriptedCluster
) -> None:
    def told(request: Message, number: int) -> Message:
        status = cluster_pb2.NodeStatus(
            node_id="node-1", role=cluster_pb2.LEADER, revision=9, state_digest=b"\xab" * 32
        )
        return cluster_pb2.GetStatusResponse(header=header(9), status=status)

    cluster.nodes["node-1"].on("ClusterService/GetStatus", cluster_pb2.GetStatusRequest, told)
    await cluster.stop("node-2")
    result = await qkms("status", "--json", "--timeout", "2")
    assert result.exit_code == failure.DONE
    answers = json.loads(result.stdout)
    assert answers["node-1"]["revision"] == 9
    assert answers["node-1"]["role"] == "LEADER"
    assert answers["node-2"]["error"]["reason"] == "UNAVAILABLE"
    assert "abababababab" in (await qkms("status", "--timeout", "2")).stdout


async def test_status_without_any_answer_fails(qkms: Line, cluster: ScriptedCluster) -> None:
    for node_id in cluster.nodes:
        await cluster.stop(node_id)
    assert (await qkms("status", "--timeout", "0.5")).exit_code == failure.UNAVAILABLE


@pytest.mark.parametrize(
    "command",
    [
        (),
        *((name,) for name in main.commands),
        *(
            ("keys", name)
            for name in [
                "create",
                "get",
                "list",
                "rotate",
                "versions",
                "disable",
                "enable",
                "destroy",
                "restore",
                "watch",
            ]
        ),
        ("session", "open"),
        ("session", "join"),
        ("root", "rotate"),
    ],
)
def test_help_teaches(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*command, "--help"])
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) > 5


def test_a_secret_result_is_never_printed_as_a_record() -> None:
    with pytest.raises(TypeError, match="holds a secret"):
        plain([DataKey(CANARY, b"sealed", 1, Grade.PQC)])


def test_a_table_says_what_is_not_known() -> None:
    assert table(("node", "qber"), [("node-1", 0.0123), ("node-2", None)]).splitlines() == [
        "NODE    QBER",
        "node-1  0.0123",
        "node-2  -",
    ]
