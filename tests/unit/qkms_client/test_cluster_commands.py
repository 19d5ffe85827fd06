"""`qkms cluster` against a real node in memory: what an operator reads, types next, and gets as JSON."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result

from qkms_client.cli.main import main
from qkms_client.testing import MemoryServer
from qkms_node.pki import Authority, Identity

Line = Callable[..., Result]


@pytest.fixture(scope="module")
def server() -> Iterator[MemoryServer]:
    # The node logs in this process: to nobody, or else into what the command prints.
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with MemoryServer() as running:
        yield running
    structlog.reset_defaults()


@pytest.fixture
def profile(server: MemoryServer, tmp_path: Path) -> Path:
    made = server.profile("admin")
    path = tmp_path / "profile.toml"
    lines = [f'{name} = "{getattr(made, name)}"' for name in ("ca", "certificate", "private_key")]
    path.write_text("\n".join([*lines, "[endpoints]", *(f'{n} = "{a}"' for n, a in made.endpoints.items())]))
    return path


@pytest.fixture
def qkms(profile: Path) -> Line:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["cluster", *arguments, "--profile", str(profile)])

    return run


def test_adding_prints_the_command_to_run_on_the_new_machine(qkms: Line) -> None:
    where = ("--raft-address", "10.0.0.4:9101", "--rpc-address", "10.0.0.4:9201", "--no-wait")
    text = qkms("add", "node-4", *where)
    assert text.exit_code == 0
    assert "qkms-node join --token node-4." in text.output
    assert "--ca-fingerprint " in text.output
    result = json.loads(qkms("add", "node-4", *where, "--json").output)
    assert result["token"] not in text.output, "each time another one"
    assert result["member"]["role"] == "LEARNER"
    repeated = qkms("add", "node-4", *where, "--request-id", result["request_id"])
    assert repeated.exit_code == 3, "another token is another request"
    listed = qkms("members")
    assert [line.split()[:3] for line in listed.output.splitlines()[1:]] == [
        ["memory-1", "voter", "voter"],
        ["node-4", "learner", "-"],
    ]
    assert qkms("remove", "node-4").output == "node-4 is no member any more\n"


def test_what_takes_longer_is_said_to_be_recorded(qkms: Line) -> None:
    where = ("--raft-address", "10.0.0.5:9101", "--rpc-address", "10.0.0.5:9201")
    waiting = qkms("add", "node-5", *where, "--timeout", "1")
    assert waiting.exit_code == 4
    assert "recorded, and node-5 to be let in takes longer" in waiting.output
    assert qkms("promote", "node-5").exit_code == 3
    assert qkms("transfer").exit_code == 3
    assert "MEMBER_NOT_FOUND" in qkms("remove", "node-9").output


def test_ones_own_certificate_that_ends_soon_is_told(profile: Path, tmp_path: Path) -> None:
    text = profile.read_text()
    certificate = Path(text.split('certificate = "')[1].split('"')[0])
    authority = Authority(certificate.parents[1])
    assert "your certificate" not in CliRunner().invoke(main, ["status", "--profile", str(profile)]).output
    ends = datetime.now(UTC) + timedelta(days=5, hours=1)
    authority.issue(Identity("service", "admin"), not_before=datetime.now(UTC) - timedelta(1), not_after=ends)
    told = CliRunner().invoke(main, ["status", "--profile", str(profile)])
    assert "ends in 5 days; renew it" in told.output
