"""Three nodes of the machine's etcd, driven by h2load, for comparison.

Everything is in etcd's favour: no TLS, one key that every put overwrites, a
native load generator, calls to the leader. A rate counts only when etcd's own
revision grew by exactly the puts that h2load claims.
"""

import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc
import httpx

from qkms_chaos.bench import h2load
from qkms_chaos.bench.figures import Load, load_of
from qkms_chaos.cluster.ports import free_ports
from qkms_chaos.cluster.process import Process
from qkms_chaos.cluster.waits import NotYet, wait_for

PROGRAMS = ("etcd", "h2load")
PUT = "/etcdserverpb.KV/Put"
COUNT = 3
TIMEOUT_S = 60.0
TRIAL_S = 0.5
CONNECTIONS = {1: 1, 64: 8, 1000: 20}  # of the outstanding calls; the rest are streams
FIRST_GUESS_PER_S = {1: 500, 64: 3000, 1000: 3000}
KEY = b"bench/01"


class EtcdFailed(Exception):
    """etcd or h2load did not do what was asked, or their counts differ; the message has both."""


def missing() -> list[str]:
    """The programs that are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


def versions() -> dict[str, str]:
    """First lines of what the programs say about themselves."""
    said = {
        program: subprocess.run([program, "--version"], capture_output=True, text=True) for program in PROGRAMS
    }
    return {program: done.stdout.split("\n")[0] for program, done in said.items()}


class Etcd:
    """A cluster in `folder`; a context, which ends its processes. `put_bytes`: of key and value together."""

    def __init__(self, folder: Path, put_bytes: int) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        ports = free_ports(2 * COUNT)
        self._clients = ports[:COUNT]
        peers = {f"etcd-{n}": f"http://127.0.0.1:{port}" for n, port in enumerate(ports[COUNT:], 1)}
        self._nodes = [
            Process(name, _command(folder / name, name, client, peers), folder / f"{name}.log")
            for name, client in zip(peers, self._clients, strict=True)
        ]
        message = h2load.put_request(KEY, bytes(put_bytes - len(KEY)))
        self._message = message
        self._body = folder / "put.grpc"
        self._body.write_bytes(h2load.grpc_frame(message))
        self._leader = ""

    def __enter__(self) -> "Etcd":
        try:
            for node in self._nodes:
                node.start()
            self._leader = wait_for("etcd to elect a leader", self._find_leader, TIMEOUT_S)
            self._check_one_put()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends every process."""
        for node in self._nodes:
            node.kill()

    @property
    def pids(self) -> list[int]:
        """Of the three processes."""
        return [node.pid for node in self._nodes]

    def puts(self, outstanding: int, seconds: float) -> Load:
        """About `seconds` of puts, `outstanding` at a time. Raises EtcdFailed."""
        guess, _ = self._run(outstanding, round(FIRST_GUESS_PER_S[outstanding] * TRIAL_S))
        count = max(outstanding, round(guess.succeeded / guess.elapsed_s * seconds))
        summary, latencies = self._run(outstanding, count)
        return load_of(latencies, summary.elapsed_s)

    def _run(self, outstanding: int, count: int) -> tuple[h2load.Summary, list[float]]:
        connections = CONNECTIONS[outstanding]
        log = self._folder / "h2load.log"
        log.unlink(missing_ok=True)
        before = self._revision()
        done = subprocess.run(
            [
                *("h2load", "-n", str(count), "-c", str(connections), "-m", str(outstanding // connections)),
                *("-d", str(self._body), f"--log-file={log}", *h2load.HEADERS, self._leader + PUT),
            ],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        if done.returncode != 0:
            raise EtcdFailed(f"h2load exited with {done.returncode}: {done.stderr[-300:]}")
        summary = h2load.parse_summary(done.stdout)
        grown = self._revision() - before
        with log.open() as lines:
            latencies = h2load.parse_latencies(lines)
        if not summary.succeeded == len(latencies) == grown == count:
            raise EtcdFailed(
                f"of {count} puts h2load claims {summary.succeeded} and logged {len(latencies)}, "
                f"and etcd's revision grew by {grown}"
            )
        return summary, latencies

    def _check_one_put(self) -> None:
        """The very message that h2load posts is answered with grpc-status 0, or RpcError is raised."""
        before = self._revision()
        with grpc.insecure_channel(self._leader.removeprefix("http://")) as channel:
            put: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(PUT, bytes, bytes)
            put(self._message, timeout=TIMEOUT_S)
        if self._revision() != before + 1:
            raise EtcdFailed("a put with grpc-status 0 did not move etcd's revision by one")

    def _revision(self) -> int:
        return int(_ask(self._leader, "/v3/kv/range", {"key": "AA=="})["header"]["revision"])

    def _find_leader(self) -> str:
        for port in self._clients:
            url = f"http://127.0.0.1:{port}"
            try:
                status = _ask(url, "/v3/maintenance/status", {})
            except httpx.HTTPError as error:
                raise NotYet(str(error)) from None
            if status.get("leader") == status["header"]["member_id"]:
                return url
        raise NotYet("no node leads")


def _command(data: Path, name: str, client: int, peers: dict[str, str]) -> list[str]:
    program = shutil.which("etcd")
    if program is None:
        raise EtcdFailed("etcd is not installed")
    url = f"http://127.0.0.1:{client}"
    return [
        *(program, "--name", name, "--data-dir", str(data), "--log-outputs", "stderr", "--logger", "zap"),
        *("--listen-client-urls", url, "--advertise-client-urls", url),
        *("--listen-peer-urls", peers[name], "--initial-advertise-peer-urls", peers[name]),
        *("--initial-cluster", ",".join(f"{peer}={address}" for peer, address in peers.items())),
    ]


def _ask(url: str, path: str, body: dict[str, str]) -> dict[str, Any]:
    answer = httpx.post(url + path, json=body, timeout=5.0, trust_env=False)
    answer.raise_for_status()
    parsed: dict[str, Any] = answer.json()
    return parsed
