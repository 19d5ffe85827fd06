"""Faults in network namespaces: one host for each site, packets dropped by nftables.

A site's node and KME live in a namespace of their own, on a cable to a bridge at which the clients and the driver
are. Cuts are rules of one table of the bridge, replaced by one `nft -f`, so that a partition begins everywhere at
once and drops packets, as a real one does: TCP retransmits, and what outlives the cut goes on. A directed cut also
takes the acknowledgements that travel that way.

Needs root, iproute2 and nftables. Delay would need the kernel's netem and is Unsupported, bandwidth its tbf.
Whatever a driver that was killed left behind is removed by the next one of the same process id, or by
`ip netns list | grep qkms-`.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from types import TracebackType

from qkms_chaos.cluster.layout import Layout
from qkms_chaos.cluster.network import Loopback
from qkms_chaos.faults.network import CLIENTS, Pair, Unsupported
from qkms_chaos.faults.schedule import Slow

SUBNET = "10.213"
BRIDGE_PLACE = 254
TIMEOUT_S = 15.0


class NamespaceNetwork(Loopback):
    """See FaultyNetwork."""

    kind = "netns"
    refuses = (Slow,)

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self._layout = layout
        # Names of interfaces have at most 15 characters.
        self._mark = f"{os.getpid() % 1_000_000:x}"
        self._net = f"{SUBNET}.{os.getpid() % 250}"
        self._cuts: set[Pair] = set()
        self._limited: set[str] = set()
        self._ending = ExitStack()

    def host(self, member: str) -> str:
        """See Network."""
        return f"{self._net}.{self._place(member)}"

    def inside(self, member: str, command: Sequence[str]) -> list[str]:
        """See Network."""
        return [_program("ip"), "netns", "exec", self._namespace(self._place(member)), *command]

    def _place(self, member: str) -> int:
        if member == CLIENTS:
            return BRIDGE_PLACE
        return self._layout.sites.index(self._layout.site(member)) + 1

    def _namespace(self, place: int) -> str:
        return f"qkms-{self._mark}-{place}"

    @property
    def _bridge(self) -> str:
        return f"qb{self._mark}"

    @property
    def _table(self) -> str:
        return f"qkms_{self._mark}"

    def __enter__(self) -> "NamespaceNetwork":
        problem = unavailable()
        if problem:
            raise Unsupported(problem)
        try:
            self._build()
        except BaseException:
            self._ending.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.close()

    def _build(self) -> None:
        self._ending.callback(_quietly, "nft", "delete", "table", "bridge", self._table)
        _run("ip", "link", "add", self._bridge, "type", "bridge")
        self._ending.callback(_quietly, "ip", "link", "delete", self._bridge)
        _run("ip", "address", "add", f"{self._net}.{BRIDGE_PLACE}/24", "dev", self._bridge)
        _run("ip", "link", "set", self._bridge, "up")
        for place in range(1, len(self._layout.sites) + 1):
            name, cable = self._namespace(place), f"qc{self._mark}-{place}"
            _run("ip", "netns", "add", name)
            self._ending.callback(_quietly, "ip", "netns", "delete", name)
            _run("ip", "link", "add", cable, "type", "veth", "peer", "eth0", "netns", name)
            self._ending.callback(_quietly, "ip", "link", "delete", cable)
            _run("ip", "link", "set", cable, "master", self._bridge, "up")
            _run("ip", "-n", name, "address", "add", f"{self._net}.{place}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                _run("ip", "-n", name, "link", "set", link, "up")

    # What is done to them.

    def cut(self, pairs: Iterable[Pair]) -> None:
        """See FaultyNetwork."""
        self._cuts.update(pairs)
        self._apply()

    def slow(self, pairs: Iterable[Pair], delay_ms: int, jitter_ms: int = 0) -> None:
        """See FaultyNetwork."""
        raise Unsupported("delay needs the kernel's netem: use the network toxiproxy")

    def limit(self, pairs: Iterable[Pair], kib_per_s: int) -> None:
        """See FaultyNetwork; here all that the first of a pair sends shares the limit."""
        for sender in {sender for sender, _ in pairs if sender != CLIENTS}:
            place = self._place(sender)
            shape = ("tbf", "rate", f"{kib_per_s * 8}kbit", "burst", "32kbit", "latency", "400ms")
            verb = "replace" if self._namespace(place) in self._limited else "add"
            _run("tc", "-n", self._namespace(place), "qdisc", verb, "dev", "eth0", "root", *shape)
            self._limited.add(self._namespace(place))

    def reset(self, pairs: Iterable[Pair]) -> None:
        """See FaultyNetwork."""
        # Whom it is sent to loses the sockets: what still arrives on them is answered by a reset.
        for sender, receiver in pairs:
            if receiver != CLIENTS:
                namespace = self._namespace(self._place(receiver))
                _run("ip", "netns", "exec", namespace, "ss", "--kill", "dst", self.host(sender))

    def heal(self) -> None:
        """See FaultyNetwork."""
        self._cuts.clear()
        self._apply()
        for namespace in self._limited:
            _run("tc", "-n", namespace, "qdisc", "delete", "dev", "eth0", "root")
        self._limited.clear()

    def _apply(self) -> None:
        """The cuts of now: between hosts by one transaction, and inside each host, where a node meets its KME."""
        within = {pair for pair in self._cuts if self.host(pair[0]) == self.host(pair[1])}
        addresses = sorted({(self.host(a), self.host(b)) for a, b in self._cuts - within})
        rules = [f"ip saddr {sender} ip daddr {receiver} drop" for sender, receiver in addresses]
        _run("nft", "-f", "-", data=_table("bridge", self._table, ("forward", "input", "output"), rules))
        for site in self._layout.sites:
            directions = (((site.node, site.kme), "dport"), ((site.kme, site.node), "sport"))
            rules = [f"tcp {end} {site.etsi014_port} drop" for pair, end in directions if pair in within]
            table = _table("inet", self._table, ("input",), rules)
            _run(*self.inside(site.node, (_program("nft"), "-f", "-")), data=table)


def _table(family: str, name: str, hooks: Sequence[str], rules: Sequence[str]) -> str:
    """The table anew, in the language of nft."""
    chains = [
        f"chain {hook} {{ type filter hook {hook} priority 0; {'; '.join((*rules, ''))} }}" for hook in hooks
    ]
    table = f"table {family} {name}"
    return "\n".join((f"{table} {{}}", f"delete {table}", f"{table} {{", *chains, "}"))


def unavailable() -> str:
    """Why there can be no such network here; empty when there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "nft", "tc", "ss"):
        if shutil.which(program) is None:
            return f"{program} is not installed: install iproute2 and nftables (`make tunnels` as root)"
    name = f"qkms-probe-{os.getpid()}"
    probe = _done("ip", "netns", "add", name)
    if probe.returncode != 0:
        return f"this machine gives no network namespaces: {probe.stderr.strip()[:100]}"
    _quietly("ip", "netns", "delete", name)
    table = _done("nft", "-c", "-f", "-", data="table bridge qkms_probe { }")
    return f"this kernel has no nftables for bridges: {table.stderr.strip()[:100]}" if table.returncode else ""


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise Unsupported(f"{name} is not installed")
    return path


def _done(name: str, *arguments: str, data: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [_program(name), *arguments], input=data, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
    )


def _run(name: str, *arguments: str, data: str = "") -> None:
    done = _done(name, *arguments, data=data)
    if done.returncode != 0:
        raise Unsupported(f"{name} {' '.join(arguments)}: {done.stderr.strip()[:200]}")


def _quietly(name: str, *arguments: str) -> None:
    _done(name, *arguments)
