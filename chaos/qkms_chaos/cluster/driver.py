"""A whole cluster as real processes: KMEs first, then nodes; stopped in the reverse order.

Each member is a Process, open to any fault a test can think of. Starting needs
no order among nodes: they find each other. What the members think of
themselves is for `observe` to ask.
"""

import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from types import TracebackType

import grpc
import httpx
from grpc_health.v1 import health, health_pb2

from qkms_chaos.cluster.config import EVERY_NODE, OPERATOR_IDENTITY, Overrides, overlay_file, write_all
from qkms_chaos.cluster.kme_admin import KmeAdmin
from qkms_chaos.cluster.layout import Layout
from qkms_chaos.cluster.network import Loopback, Network
from qkms_chaos.cluster.process import READY_TIMEOUT_S, STOP_TIMEOUT_S, Process, ProcessHangs
from qkms_chaos.cluster.waits import NotYet, wait_for
from qkms_client import Client, Invitation
from qkms_client.errors import QkmsError
from qkms_node.pki import Authority, Material

PROBE_TIMEOUT_S = 2.0
JOIN_TIMEOUT_S = 30.0
CHANGE_TIMEOUT_S = 30.0


class JoinRefused(Exception):
    """`qkms-node join` ended with an error; the message is its own."""


class Cluster:
    """The processes of a layout. As a context manager, it stops them when it is left.

    `environment`: of the processes of some members, by id, laid over this process's own.
    """

    def __init__(
        self,
        layout: Layout,
        network: Network | None = None,
        overrides: Overrides | None = None,
        environment: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self.layout = layout
        self._environment = environment or {}
        self.network = network or Loopback(layout)
        self._overrides = overrides or {}
        self._held = ExitStack()
        self.authority = Authority(layout.pki)
        self.operator: Material = self.authority.issue(OPERATOR_IDENTITY)
        self.kmes = {s.kme: self._process(s.kme, "qkms_qkd.kme") for s in layout.sites}
        joined = [node for node in layout.spare_nodes if layout.config(node).exists()]
        self.nodes = {node: self._process(node, "qkms_node") for node in (*layout.nodes, *joined)}
        self.kme_admin = KmeAdmin(layout, self.network, self.operator)

    def _process(self, member: str, module: str) -> Process:
        command = [sys.executable, "-m", module, "serve", "--config", str(self.layout.config(member))]
        command = self.network.inside(member, command)
        return Process(member, command, self.layout.log(member), self._environment.get(member))

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def prepare(self) -> None:
        """Takes the folder and writes certificates, configurations and profiles. Raises LayoutError."""
        self._held.enter_context(self.layout.held())
        write_all(self.layout, self.network, self.authority, self._overrides)

    def start(self, told: Callable[[str], None] = lambda _: None) -> None:
        """Prepares, then starts every member and waits until each takes calls.

        `told` hears what is being waited for. Raises LayoutError, ProcessDied, WaitExpired.
        """
        self.prepare()
        told("starting the KMEs")
        self.start_members(self.kmes)
        told("starting the nodes")
        self.start_members(self.nodes)

    def start_members(self, names: Iterable[str], timeout_s: float = READY_TIMEOUT_S) -> None:
        """Starts these nodes or KMEs at once and waits until each takes calls."""
        chosen = list(names)
        for name in chosen:
            self.member(name).start()
        for name in chosen:
            self.member(name).wait_ready(partial(self._probe, name), timeout_s)

    def add_node(self, node: str, through: str | None = None) -> None:
        """Lets a spare node join by a one-time token, as a learner, starts it and waits until it takes calls.

        `through`: the node whose enrolment listener it speaks to, by default any.
        Raises JoinRefused, ProcessDied, WaitExpired.
        """
        site = self.layout.site(node)
        with Client.from_profile(self.layout.profile) as operator:
            invitation = operator.add_member(
                node, f"{self.network.host(node)}:{site.raft_port}", self.network.rpc(node)
            )
        self.join(node, invitation, through)
        self.nodes[node] = self._process(node, "qkms_node")
        self.start_members([node])

    def join(self, node: str, invitation: Invitation, through: str | None = None) -> None:
        """Runs `qkms-node join` for a spare node at the enrolment listener of `through`. Raises JoinRefused."""
        site = self.layout.site(node)
        server = self.layout.site(through or next(n for n, p in self.nodes.items() if p.running))
        enrol, host = f"{self.network.host(server.node)}:{server.enrol_port}", self.network.host(node)
        command = [sys.executable, "-m", "qkms_node", "join", "--token", "-"]
        command += ["--server", enrol, "--ca-fingerprint", invitation.ca_fingerprint]
        command += ["--dir", str(self.layout.home(node)), "--raft-listen", f"{host}:{site.raft_port}"]
        command += ["--rpc-listen", f"{host}:{site.rpc_port}", "--enrol-listen", f"{host}:{site.enrol_port}"]
        command += ["--kme-id", site.kme, "--kme-url", f"https://{self.network.etsi014(node, site.kme)}"]
        done = subprocess.run(
            self.network.inside(node, command),
            input=invitation.token,
            text=True,
            capture_output=True,
            timeout=JOIN_TIMEOUT_S,
        )
        if done.returncode != 0:
            raise JoinRefused(done.stderr.strip())
        overlay_file(self.layout.config(node), self._overrides, EVERY_NODE, node)

    def remove_node(self, node: str, timeout_s: float = CHANGE_TIMEOUT_S) -> None:
        """Takes a node out of the cluster, waits until the leader has done so, and stops it.

        Raises WaitExpired.
        """
        with Client.from_profile(self.layout.profile) as operator:
            operator.remove_member(node)

            def probe() -> None:
                try:
                    found = {member.id: member for member in operator.list_members()}
                except QkmsError as error:
                    raise NotYet(str(error)) from None
                if node in found:
                    raise NotYet(found[node].trouble or "it takes part still")

            wait_for(f"{node} to be out", probe, timeout_s)
        self.nodes.pop(node).terminate()

    def member(self, name: str) -> Process:
        """The process of a node or KME."""
        return self.nodes[name] if name in self.nodes else self.kmes[name]

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> dict[str, int]:
        """SIGTERM to the nodes, then to the KMEs; exit codes by member. Raises ProcessHangs, all stopped."""
        codes: dict[str, int] = {}
        hanging: list[str] = []
        for group in (self.nodes, self.kmes):
            running = [p for p in group.values() if p.running]
            for process in running:
                process.ask_to_stop()
            for process in running:
                try:
                    codes[process.name] = process.wait_end(timeout_s)
                except ProcessHangs as error:
                    hanging.append(str(error))
        if hanging:
            raise ProcessHangs("\n".join(hanging))
        return codes

    def kill(self) -> None:
        """SIGKILL to every member."""
        for process in (*self.nodes.values(), *self.kmes.values()):
            process.kill()

    def close(self) -> None:
        """Stops what runs and gives the folder free."""
        try:
            self.stop()
        finally:
            self.kill()
            self.kme_admin.close()
            self._held.close()

    def _probe(self, member: str) -> None:
        if member in self.nodes:
            self._probe_node(member)
        else:
            self._probe_kme(member)

    def _probe_kme(self, kme: str) -> None:
        try:
            self.kme_admin.links(kme)
        except httpx.HTTPError as error:
            raise NotYet(f"{type(error).__name__}: {error}") from None

    def _probe_node(self, node: str) -> None:
        files = self.operator
        credentials = grpc.ssl_channel_credentials(
            files.ca.read_bytes(), files.private_key.read_bytes(), files.certificate.read_bytes()
        )
        with grpc.secure_channel(self.network.rpc(node), credentials) as channel:
            check = channel.unary_unary(
                f"/{health.SERVICE_NAME}/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            try:
                check(health_pb2.HealthCheckRequest(service=""), timeout=PROBE_TIMEOUT_S)
            except grpc.RpcError as error:
                raise NotYet(f"its health is {error}") from None
