"""Real KME processes on loopback ports, with SAE node-i at kme-i, for these tests."""

import json
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import httpx

from qkms_chaos.cluster.ports import free_ports
from qkms_qkd.etsi014.client import Etsi014Link

from .certificates import Leaf, TestAuthority

DEADLINE_S = 20.0


def eventually(what: str, condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
    """Waits until `condition` holds; fails with `what` after the deadline."""
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s} s: {what}"
        time.sleep(0.02)


METROPOLITAN = "length_km = 25.0\npulse_rate_hz = 1.0e8\nblock_s = 0.05\n"


class KmeNetwork:
    """KMEs in one folder: a full mesh, or those links that are `joined`; `relaying` is put into [network]."""

    def __init__(
        self,
        folder: Path,
        size: int,
        *,
        keys: str = "",
        link: str = "",
        skip: bool = False,
        optics: str = METROPOLITAN,
        joined: Sequence[tuple[str, str]] | None = None,
        relaying: str | None = None,
    ) -> None:
        self.folder = folder
        self.authority = TestAuthority(folder / "pki")
        self.names = [f"kme-{i + 1}" for i in range(size)]
        ports = free_ports(3 * size)
        self._skip = skip
        self._sae_port = dict(zip(self.names, ports[:size], strict=True))
        self._link_port = dict(zip(self.names, ports[size : 2 * size], strict=True))
        self._skip_port = dict(zip(self.names, ports[2 * size :], strict=True))
        self._keys = keys
        self._link = link
        self._optics = optics
        self._joined = [frozenset(pair) for pair in (joined or combinations(self.names, 2))]
        self._relaying = relaying
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.operator = self.authority.issue("operator", "admin")
        self._nodes = {name: self.authority.issue("node", _node(name)) for name in self.names}
        for name in self.names:
            self._write(name)

    def start(self, *names: str) -> None:
        """Starts these KMEs (by default all) and waits until they are ready."""
        for name in names or self.names:
            seen = len(self.log(name))
            with self.log_file(name).open("ab") as log:
                self._processes[name] = subprocess.Popen(
                    [sys.executable, "-m", "qkms_qkd.kme", "serve", "--config", str(self.config(name))], stderr=log
                )
            eventually(f"{name} ready", lambda name=name, seen=seen: self._ready(name, seen))  # type: ignore[misc]

    def stop(self, name: str, number: int = signal.SIGTERM) -> int:
        """Sends the signal and gives the exit status."""
        process = self._processes.pop(name)
        process.send_signal(number)
        return process.wait(DEADLINE_S)

    def runs(self, name: str) -> bool:
        """Whether it was started and not stopped."""
        return name in self._processes

    def signal(self, name: str, number: int) -> None:
        """Sends a signal to a KME that goes on."""
        self._processes[name].send_signal(number)

    def stop_all(self) -> None:
        """Kills whatever still runs."""
        for name in list(self._processes):
            self.stop(name, signal.SIGKILL)

    def config(self, name: str) -> Path:
        """The TOML file of a KME."""
        return self.folder / f"{name}.toml"

    def data_dir(self, name: str) -> Path:
        """Where a KME keeps its keys."""
        return self.folder / f"{name}-data"

    def log_file(self, name: str) -> Path:
        """Standard error of a KME, over all its runs."""
        path = self.folder / f"{name}.log"
        path.touch()
        return path

    def log(self, name: str) -> list[dict[str, Any]]:
        """Its complete log lines."""
        text = self.log_file(name).read_text()
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def url(self, name: str) -> str:
        """Where SAEs ask."""
        return f"https://127.0.0.1:{self._sae_port[name]}"

    def link_url(self, name: str) -> str:
        """Where other KMEs ask."""
        return f"https://127.0.0.1:{self._link_port[name]}"

    def skip_url(self, name: str) -> str:
        """Where SAEs ask by SKIP, in a network with it."""
        return f"https://127.0.0.1:{self._skip_port[name]}"

    def node(self, kme: str) -> Leaf:
        """The certificate of the SAE at this KME."""
        return self._nodes[kme]

    def link(self, kme: str, peer: str) -> Etsi014Link:
        """The link of the SAE at `kme` to the SAE at `peer`; the caller closes it."""
        return Etsi014Link(
            kme_id=kme,
            url=self.url(kme),
            local_sae=_node(kme),
            peer_sae=_node(peer),
            ca=self.node(kme).ca,
            certificate=self.node(kme).certificate,
            private_key=self.node(kme).private_key,
            kme_identity=f"spiffe://qkms.dev/kme/{kme}",
        )

    @asynccontextmanager
    async def both_ends(self, kme: str, peer: str) -> AsyncIterator[tuple[Etsi014Link, Etsi014Link]]:
        """The link as the SAE at `kme` has it and as the SAE at `peer` has it."""
        here, there = self.link(kme, peer), self.link(peer, kme)
        try:
            yield here, there
        finally:
            await here.close()
            await there.close()

    def http(self, leaf: Leaf, base: str) -> httpx.Client:
        """A plain HTTP client with this certificate; the caller closes it."""
        context = ssl.create_default_context(cafile=str(leaf.ca))
        context.load_cert_chain(leaf.certificate, leaf.private_key)
        return httpx.Client(verify=context, base_url=base, trust_env=False, timeout=10)

    def admin_links(self, kme: str) -> dict[str, dict[str, Any]]:
        """What the admin API of a KME says, by peer."""
        with self.http(self.operator, self.url(kme)) as http:
            answer = http.get("/admin/v1/links")
        assert answer.status_code == 200
        return {link["peer"]: link for link in answer.json()["links"]}

    def set_faults(self, kme: str, peer: str, **faults: object) -> dict[str, Any]:
        """Sets the faults of a link and gives the link as answered."""
        with self.http(self.operator, self.url(kme)) as http:
            answer = http.put(f"/admin/v1/links/{peer}/faults", json=faults)
        assert answer.status_code == 200, answer.text
        link: dict[str, Any] = answer.json()
        return link

    def kme_faults(self, kme: str) -> dict[str, Any]:
        """The faults of a KME as a whole."""
        with self.http(self.operator, self.url(kme)) as http:
            answer = http.get("/admin/v1/faults")
        assert answer.status_code == 200, answer.text
        faults: dict[str, Any] = answer.json()
        return faults

    def set_kme_faults(self, kme: str, **faults: object) -> None:
        """Puts exactly these faults on a KME as a whole."""
        with self.http(self.operator, self.url(kme)) as http:
            answer = http.put("/admin/v1/faults", json=faults)
        assert answer.status_code == 200, answer.text

    def stored(self, kme: str, peer: str) -> int:
        """How many keys may be drawn at this end."""
        return int(self.admin_links(kme)[peer]["stored_key_count"])

    def wait_stored(self, kme: str, peer: str, at_least: int) -> None:
        """Waits until both ends hold so many keys."""
        for here, there in ((kme, peer), (peer, kme)):
            eventually(
                f"{at_least} keys at {here} for {there}",
                lambda here=here, there=there: self.stored(here, there) >= at_least,  # type: ignore[misc]
            )

    def _ready(self, name: str, seen: int) -> bool:
        ended = self._processes[name].poll()
        assert ended is None, f"{name} ended with {ended}: {self.log_file(name).read_text()[-2000:]}"
        return any(line["event"] == "kme.ready" for line in self.log(name)[seen:])

    def _write(self, name: str) -> None:
        leaf = self.authority.issue("kme", name)
        links = "\n".join(
            f'[[links]]\npeer = "{peer}"\npeer_address = "127.0.0.1:{self._link_port[peer]}"\n'
            f"{self._optics}{self._link}"
            for peer in self.names
            if {peer, name} in self._joined
        )
        saes = "\n".join(f'[[saes]]\nid = "{_node(kme)}"\nkme = "{kme}"' for kme in self.names)
        # An SAE of the last KME that takes part in nothing.
        saes += f'\n[[saes]]\nid = "bystander"\nkme = "{self.names[-1]}"'
        skip = f'[skip]\nlisten = "127.0.0.1:{self._skip_port[name]}"\n' if self._skip else ""
        self.config(name).write_text(
            f'[kme]\nid = "{name}"\nlisten = "127.0.0.1:{self._sae_port[name]}"\n'
            f'link_listen = "127.0.0.1:{self._link_port[name]}"\ndata_dir = "{self.data_dir(name)}"\n'
            'admins = ["spiffe://qkms.dev/operator/admin"]\n'
            f'[tls]\nca = "{leaf.ca}"\ncertificate = "{leaf.certificate}"\nprivate_key = "{leaf.private_key}"\n'
            f"[keys]\nmax_stored = 200\n{self._keys}\n{skip}{saes}\n{links}\n{self._network(name)}\n"
        )

    def _network(self, name: str) -> str:
        if self._relaying is None:
            return ""
        others = [sorted(pair) for pair in self._joined if name not in pair]
        return f"[network]\nlinks = {json.dumps(others)}\n{self._relaying}"


def _node(kme: str) -> str:
    return kme.replace("kme", "node")
