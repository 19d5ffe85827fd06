"""`qkms seal`, `recovery` and `backup` against a real node in memory: output and exit codes."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog.testing
from click.testing import CliRunner, Result

from qkms_client.cli import failure
from qkms_client.cli.main import main
from qkms_client.testing import MemoryServer

PASSPHRASE = b"a passphrase of the test"


@pytest.fixture
def server() -> Iterator[MemoryServer]:
    # Its log would come out between what the commands print.
    with structlog.testing.capture_logs(), MemoryServer() as running:
        yield running


class Line:
    """The command line with the profile of an operator."""

    def __init__(self, server: MemoryServer, folder: Path) -> None:
        profile = server.profile("operator")
        lines = [f'{name} = "{getattr(profile, name)}"' for name in ("ca", "certificate", "private_key")]
        lines += ["timeout_s = 2.0", "[endpoints]", *(f'{n} = "{a}"' for n, a in profile.endpoints.items())]
        self._profile = folder / "profile.toml"
        self._profile.write_text("\n".join(lines))

    def __call__(self, *arguments: str, data: bytes | str = b"", code: int = 0) -> Result:
        done = CliRunner().invoke(main, arguments, input=data, env={"QKMS_PROFILE": str(self._profile)})
        assert done.exit_code == code, done.output
        return done


@pytest.fixture
def qkms(server: MemoryServer, tmp_path: Path) -> Line:
    return Line(server, tmp_path)


def test_shares_are_given_out_once_and_tried_from_files_or_stdin(qkms: Line, tmp_path: Path) -> None:
    assert "no recovery key" in qkms("recovery", "show").stdout
    printed = qkms("recovery", "init", "--shares", "3", "--threshold", "2").stdout
    shares = [line for line in printed.splitlines() if line.startswith("qkmsr1-")]
    assert len(shares) == 3
    known = json.loads(qkms("recovery", "show", "--json").stdout)
    assert (known["threshold"], known["share_count"]) == (2, 3)
    assert not any(share in qkms("recovery", "show").stdout for share in shares)
    while not known["epochs"]:
        known = json.loads(qkms("recovery", "show", "--json").stdout)

    assert qkms("recovery", "verify", data="\n".join(shares[:2])).stdout == "the shares open root epochs 1\n"
    (tmp_path / "one").write_text(f"# of three\n{shares[2].upper()}\n")
    (tmp_path / "two").write_text(shares[0])
    files = ["--share-file", str(tmp_path / "one"), "--share-file", str(tmp_path / "two")]
    assert qkms("recovery", "open", *files).stdout == "memory-1 holds root epochs 1\n"
    for data, told in (
        (shares[0], "1 different shares"),
        (shares[0] + "\n" + shares[1][:-2] + "77", "share number 2"),
        ("nothing here", "no recovery share"),
    ):
        failed = qkms("recovery", "verify", data=data, code=failure.USAGE)
        assert told in failed.stderr
        assert shares[0] not in failed.output
    again = qkms("recovery", "init", code=failure.REFUSED)
    assert "RECOVERY_CONFLICT" in again.stderr
    assert "qkmsr1-" not in again.output
    assert "more than --shares" in qkms("recovery", "init", "--threshold", "9", code=failure.USAGE).stderr


def test_a_backup_is_saved_verified_and_not_restored_over_keys(qkms: Line, tmp_path: Path) -> None:
    file, secret = tmp_path / "keys.backup", tmp_path / "passphrase"
    secret.write_bytes(PASSPHRASE + b"\n")
    qkms("keys", "create", "payments")
    assert "no recovery key" in qkms("backup", "save", str(file), code=failure.USAGE).stderr
    assert not file.exists(), "nothing is left of a backup that failed"
    given = ("--passphrase-file", str(secret))
    assert "1 keys" in qkms("backup", "save", str(file), *given).stdout
    assert file.stat().st_mode & 0o777 == 0o600
    assert "exists already" in qkms("backup", "save", str(file), *given, code=failure.USAGE).stderr
    assert "whole; 1 keys" in qkms("backup", "verify", str(file), *given).stdout
    assert "CLUSTER_NOT_EMPTY" in qkms("backup", "restore", str(file), *given, code=failure.REFUSED).stderr
    assert (
        "PASSPHRASE" not in qkms("backup", "verify", str(file), "--passphrase-file", "-", data=PASSPHRASE).output
    )
    wrong = qkms("backup", "verify", str(file), "--passphrase-file", "-", data=b"x", code=failure.UNTRUSTED)
    assert "another passphrase" in wrong.stderr
    file.write_bytes(file.read_bytes()[:-1])
    assert "does not verify" in qkms("backup", "verify", str(file), *given, code=failure.UNTRUSTED).stderr
    assert "run this at a terminal" in qkms("backup", "verify", str(file), code=failure.USAGE).stderr
    assert "cannot read" in qkms("backup", "verify", str(tmp_path / "gone"), code=failure.USAGE).stderr


def test_a_node_is_sealed_and_unsealed(qkms: Line) -> None:
    qkms("keys", "create", "payments")
    assert "say which" in qkms("seal", code=failure.USAGE).stderr
    assert "sealed" in qkms("seal", "--node", "memory-1").stdout
    assert "SEALED" in qkms("encrypt", "payments", data=b"x", code=failure.UNAVAILABLE).stderr
    assert "this node is sealed" in qkms("status").stdout
    assert json.loads(qkms("unseal", "--all", "--json").stdout)["memory-1"]["sealed"] is False
    assert qkms("encrypt", "payments", data=b"x").stdout_bytes


def test_root_epochs_in_use_are_shown(qkms: Line) -> None:
    qkms("keys", "create", "payments")
    [use] = json.loads(qkms("root", "show", "--json").stdout)
    assert (use["epoch"], use["state"], use["version_count"], use["recoverable"]) == (1, "ACTIVE", 1, False)
    assert "RECOVERABLE" in qkms("root", "show").stdout
