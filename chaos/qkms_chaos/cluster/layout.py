"""The folder of a cluster: which file is where, and which port is whose.

    pki/          the development CA and its leaves
    kme-N/        configuration and key store of a simulated KME
    node-N/       configuration, journal, snapshots and seal key of a node
    logs/         one log for each process, growing over restarts
    profile.toml  the operator's client profile; profiles/ has those of services
    cluster.toml  members and ports, so that a second start finds the first's

A folder is used by one driver at a time. There is one KME for each node, as
there is one for each site.
"""

import fcntl
import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import tomli_w

from qkms_chaos.cluster.ports import free_ports

CLUSTER_ID = "dev"
SERVICES = ("payments", "ledger")
OPERATOR = "admin"
MAX_NODES = 9
PORTS_PER_SITE = 7


class LayoutError(Exception):
    """The folder cannot be used for this cluster; the message names it and says what to do."""


@dataclass(frozen=True)
class Site:
    """One node and its KME, and the loopback ports they listen on; 0: none, in a folder of an older release."""

    node: str
    kme: str
    raft_port: int
    rpc_port: int
    etsi014_port: int
    link_port: int
    enrol_port: int
    northbound_port: int = 0
    northbound_skip_port: int = 0


@dataclass(frozen=True)
class Layout:
    """A folder and what is recorded in its cluster.toml."""

    folder: Path
    sites: tuple[Site, ...]
    services: tuple[str, ...]
    spares: int = 0

    @property
    def nodes(self) -> tuple[str, ...]:
        """Ids of the nodes that found the cluster, in order."""
        return tuple(site.node for site in self.sites[: len(self.sites) - self.spares])

    @property
    def spare_nodes(self) -> tuple[str, ...]:
        """Ids of the nodes that may join later; their KMEs are there from the beginning."""
        return tuple(site.node for site in self.sites[len(self.sites) - self.spares :])

    def site(self, member: str) -> Site:
        """The site of a node or KME, by id."""
        return next(s for s in self.sites if member in (s.node, s.kme))

    @property
    def pki(self) -> Path:
        """Folder of the CA."""
        return self.folder / "pki"

    @property
    def logs(self) -> Path:
        """Folder of the log files."""
        return self.folder / "logs"

    @property
    def profile(self) -> Path:
        """The operator's client profile."""
        return self.folder / "profile.toml"

    def service_profile(self, service: str) -> Path:
        """A service's client profile."""
        return self.folder / "profiles" / f"{service}.toml"

    def home(self, member: str) -> Path:
        """The folder of a node or KME."""
        return self.folder / member

    def config(self, member: str) -> Path:
        """The configuration file of a node or KME."""
        return self.home(member) / ("kme.toml" if member.startswith("kme") else "node.toml")

    def log(self, member: str) -> Path:
        """The log file of a node or KME."""
        return self.logs / f"{member}.log"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps every other driver out of the folder meanwhile. Raises LayoutError when one is in."""
        with (self.folder / "driver.lock").open("a+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.seek(0)
                raise LayoutError(
                    f"{self.folder} is in use by process {lock.read().strip() or 'unknown'}; "
                    "stop that one first, or name another folder with --dir"
                ) from None
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            yield


def open_layout(
    folder: Path, nodes: int | None = None, services: tuple[str, ...] = SERVICES, spares: int = 0
) -> Layout:
    """The layout recorded in `folder`, or a new one of `nodes` nodes (default 3). Raises LayoutError.

    `spares`: sites more, whose nodes do not found the cluster and may join it later.
    """
    record = folder / "cluster.toml"
    if record.exists():
        layout = read_layout(folder, record)
        if nodes is not None and nodes != len(layout.nodes):
            raise LayoutError(
                f"{folder} holds a cluster of {len(layout.nodes)} nodes, not {nodes}; "
                "leave --nodes out to resume it, or name another folder with --dir"
            )
        return layout
    count = 3 if nodes is None else nodes
    if not 1 <= count <= MAX_NODES:
        raise LayoutError(f"a cluster has 1 to {MAX_NODES} nodes, not {count}")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    total = count + spares
    ports = iter(free_ports(PORTS_PER_SITE * total))
    sites = tuple(
        Site(f"node-{n}", f"kme-{n}", *(next(ports) for _ in range(PORTS_PER_SITE))) for n in range(1, total + 1)
    )
    table = {"services": list(services), "spares": spares, "sites": [vars(site) for site in sites]}
    record.write_text(tomli_w.dumps(table))
    return Layout(folder, sites, services, spares)


def read_layout(folder: Path, record: Path) -> Layout:
    """The layout that stands in `record`. Raises LayoutError."""
    try:
        table = tomllib.loads(record.read_text())
        sites = tuple(Site(**site) for site in table["sites"])
        return Layout(folder, sites, tuple(table["services"]), table.get("spares", 0))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise LayoutError(f"{record} cannot be read ({error}); remove {folder} to begin anew") from error
