"""`qkms-agent wireguard` at both ends of a real WireGuard tunnel: its pre-shared key is the cluster's, rotated."""

import base64
import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

import agents
import namespaces
from namespaces import Host, two_hosts
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_chaos.cluster.world import World

pytestmark = pytest.mark.cluster

WAITS_S = 40.0
INSIDE = ("198.51.100.1", "198.51.100.2")  # TEST-NET-2
TOOLS = Path(__file__).resolve().parents[2] / ".tools" / "bin"


def wireguard() -> str | None:
    """The userspace implementation, for kernels without their own."""
    return shutil.which("wireguard-go") or shutil.which("wireguard", path=str(TOOLS))


@dataclass(frozen=True)
class End:
    """WireGuard in one namespace."""

    host: Host
    interface: str
    public_key: str
    inside: str

    def shared_key(self) -> str:
        shown = self.host.run("wg", "show", self.interface, "preshared-keys")
        return shown.split()[1]

    def share(self, key: str) -> None:
        peer = self.host.run("wg", "show", self.interface, "peers").strip()
        self.host.run(
            "wg", "set", self.interface, "peer", peer, "preshared-key", "/dev/stdin", data=key.encode() + b"\n"
        )


@pytest.fixture(scope="module")
def tunnel() -> Iterator[Sequence[End]]:
    """A tunnel between two hosts, up and without a pre-shared key."""
    problem = namespaces.missing()
    program = wireguard()
    if not problem and (program is None or shutil.which("wg") is None or not Path("/dev/net/tun").exists()):
        problem = "WireGuard is not installed, or there is no /dev/net/tun: run make tunnels as root"
    if problem:
        pytest.skip(problem)
    assert program is not None
    with two_hosts(f"qk{secrets.token_hex(3)}") as hosts, ExitStack() as running:
        ends = []
        for host, inside in zip(hosts, INSIDE, strict=True):
            interface = f"wg{host.name[-9:]}"
            process = subprocess.Popen(
                host.inside(program, "--foreground", interface),
                env=os.environ | {"LOG_LEVEL": "error"},
                stdout=subprocess.DEVNULL,
            )
            running.callback(process.wait, 10)
            running.callback(process.terminate)
            wait_for("WireGuard to start", lambda h=host, i=interface: started(h, i), WAITS_S)  # type: ignore[misc]
            private = base64.b64encode(secrets.token_bytes(32))
            host.run("wg", "set", interface, "listen-port", "51820", "private-key", "/dev/stdin", data=private)
            public = host.run("wg", "show", interface, "public-key").strip()
            ends.append(End(host, interface, public, inside))
        for end, other in (ends, ends[::-1]):
            where = ("endpoint", f"{other.host.address}:51820", "allowed-ips", f"{other.inside}/32")
            end.host.run("wg", "set", end.interface, "peer", other.public_key, *where)
            end.host.run("ip", "address", "add", f"{end.inside}/24", "dev", end.interface)
            end.host.run("ip", "link", "set", end.interface, "up")
        yield ends


def started(host: Host, interface: str) -> None:
    try:
        host.run("wg", "show", interface)
    except AssertionError as error:
        raise NotYet(str(error)) from error


def agent(world: World, end: End, other: End, names: tuple[str, str], log: Path) -> AbstractContextManager[None]:
    """`qkms-agent wireguard` beside one end, as the service named first."""
    command = ("wireguard", end.interface, other.public_key)
    return agents.agent(
        world, names, log, command, ("--json", "--tunnel", end.interface[:8], "--required-grade", "qkd+pqc")
    )


def installed(log: Path) -> list[str]:
    """Ids of the keys that an agent says it has put in place."""
    events = [json.loads(line) for line in log.read_text().splitlines()]
    return [event["key_id"] for event in events if event["event"] == "installed"]


def agreed(ends: Sequence[End], *, but: frozenset[str] = frozenset()) -> str:
    """The pre-shared key of both ends, once it is one and none of these."""

    def look() -> str:
        one, other = (end.shared_key() for end in ends)
        if one != other or one == "(none)" or one in but:
            raise NotYet("the ends have not another key in common")
        return one

    return wait_for("both ends to have one pre-shared key", look, WAITS_S)


def test_a_real_tunnel_runs_under_keys_of_the_cluster(
    healthy: World, tunnel: Sequence[End], tmp_path: Path
) -> None:
    one, other = tunnel
    logs = tmp_path / "one", tmp_path / "other"
    with (
        agent(healthy, one, other, ("ledger", "payments"), logs[0]),
        agent(healthy, other, one, ("payments", "ledger"), logs[1]),
    ):
        first = agreed(tunnel)
        assert one.host.reaches(other.inside, 10), "the handshake is made under the pre-shared key"
        second = agreed(tunnel, but=frozenset({first}))
        assert one.host.reaches(other.inside)
        # A wrong key at one end and a new handshake: the key really counts, and the next rotation mends it.
        wrong = base64.b64encode(bytes(32)).decode()
        one.share(wrong)
        for end in tunnel:
            end.host.run("ip", "link", "set", end.interface, "down")
            end.host.run("ip", "link", "set", end.interface, "up")
        if one.shared_key() == wrong:
            assert not one.host.reaches(other.inside, 1)
        third = agreed(tunnel, but=frozenset({first, second}))
        wait_for("the tunnel to be whole again", lambda: pinged(one, other), WAITS_S)
    assert len({first, second, third}) == 3
    ids = [installed(log) for log in logs]
    assert len(ids[0]) >= 3
    assert set(ids[0]) <= set(ids[1])
    logged = "".join(log.read_text() for log in logs)
    assert not any(key in logged for key in (first, second, third))


def pinged(one: End, other: End) -> None:
    if not one.host.reaches(other.inside, 1):
        raise NotYet("no answer")
