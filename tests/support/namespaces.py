"""Two hosts on one machine: network namespaces with a cable between them. Needs root and iproute2."""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

ADDRESSES = ("192.0.2.1", "192.0.2.2")  # TEST-NET-1


def missing() -> str:
    """Why there can be no namespaces here; empty when there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "iproute2 is not installed: run make tunnels as root"
    name = f"qkms-probe-{os.getpid()}"
    done = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    if done.returncode != 0:
        return f"this machine gives no network namespaces: {done.stderr.decode().strip()[:100]}"
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
    return ""


@dataclass(frozen=True)
class Host:
    """One namespace, its end of the cable at `address`."""

    name: str
    address: str

    def inside(self, *command: str) -> list[str]:
        """The command as it is run in the namespace."""
        return ["ip", "netns", "exec", self.name, *command]

    def run(self, *command: str, data: bytes = b"") -> str:
        """Its standard output. Raises AssertionError when it fails."""
        done = subprocess.run(self.inside(*command), input=data, capture_output=True, check=False, timeout=30)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.decode()}{done.stdout.decode()}"
        return done.stdout.decode()

    def reaches(self, address: str, within_s: int = 2, source: str = "") -> bool:
        """Whether a ping, from the address `source` if that is given, is answered."""
        command = self.inside("ping", "-c", "1", "-W", str(within_s), *(("-I", source) if source else ()), address)
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, check=False, timeout=30)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr.decode()}"


@contextmanager
def two_hosts(prefix: str) -> Iterator[Sequence[Host]]:
    """Two namespaces whose names begin with `prefix`, gone at the end with everything in them."""
    hosts = [Host(f"{prefix}-{side}", address) for side, address in zip("ab", ADDRESSES, strict=True)]
    try:
        for host in hosts:
            _ip("netns", "add", host.name)
        ends = [f"{prefix}{side}"[-15:] for side in "ab"]
        _ip(
            "link", "add", ends[0], "netns", hosts[0].name, "type", "veth", "peer", ends[1], "netns", hosts[1].name
        )
        for host, end in zip(hosts, ends, strict=True):
            _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", end)
            for link in ("lo", end):
                _ip("-n", host.name, "link", "set", link, "up")
        yield hosts
    finally:
        for host in hosts:
            subprocess.run(["ip", "netns", "delete", host.name], capture_output=True, check=False)
