"""Encryptors at a cluster: the nodes' northbound listeners, and clients that know only ETSI GS QKD 014.

An encryptor knows nothing of the cluster. It asks the node that it is told to ask, once, and says what it was
answered: status 0 stands for no answer at all.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import httpx

from qkms_chaos.cluster.driver import Cluster
from qkms_chaos.cluster.world import World
from qkms_client import Rule
from qkms_node.pki import Authority, Identity
from qkms_qkd.tls import TlsFiles, client_context

TIMEOUT_S = 15.0
POLICY = "encryptors"
NorthboundProtocol = Literal["etsi014", "skip"]


def northbound_urls(cluster: Cluster, protocol: NorthboundProtocol = "etsi014") -> dict[str, str]:
    """Where each node serves encryptors."""
    sites = [cluster.layout.site(node) for node in cluster.layout.nodes]
    ports = {s.node: s.northbound_port if protocol == "etsi014" else s.northbound_skip_port for s in sites}
    return {node: f"https://{cluster.network.host(node)}:{port}" for node, port in ports.items()}


def allow(world: World, name: str, rules: Sequence[Rule], *saes: str) -> None:
    """Gives these encryptors the rules, by a policy and a role of this name."""
    world.operator.create_policy(name, rules)
    world.operator.create_role(name, principals=[identity(sae).uri for sae in saes], policies=[name])


def identity(sae: str) -> Identity:
    """Whose certificate an SAE id like "sae:a" is read from."""
    return Identity("sae", sae.removeprefix("sae:"))


def encryptor_of(world: World, sae: str) -> "Encryptor":
    """An SAE that may ask every node of a cluster."""
    return Encryptor(sae, northbound_urls(world.cluster), world.cluster.authority)


@dataclass(frozen=True, repr=False)
class Answer:
    """What came back: the status, the stable code or message of a refusal, the keys by key_ID."""

    status: int
    said: str
    keys: dict[str, bytes]
    body: Any = None

    def __repr__(self) -> str:
        return f"Answer({self.status}, {self.said!r}, {len(self.keys)} keys)"


class Encryptor:
    """One SAE with its certificate, and the nodes' URLs; used from one event loop, as a context manager."""

    def __init__(self, sae: str, urls: Mapping[str, str], authority: Authority) -> None:
        self.sae = sae
        self._urls = urls
        files = authority.issue(identity(sae))
        self.files = TlsFiles(files.ca, files.certificate, files.private_key)
        self._http = httpx.AsyncClient(verify=client_context(self.files), timeout=TIMEOUT_S, trust_env=False)

    async def __aenter__(self) -> "Encryptor":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def draw(self, node: str, slave: str, *, patience_s: float = TIMEOUT_S, **body: object) -> Answer:
        """enc_keys as master."""
        return await self.ask("POST", node, slave, "enc_keys", body, patience_s)

    async def collect(self, node: str, master: str, *key_ids: str, patience_s: float = TIMEOUT_S) -> Answer:
        """dec_keys as slave."""
        asked = {"key_IDs": [{"key_ID": key_id} for key_id in key_ids]}
        return await self.ask("POST", node, master, "dec_keys", asked, patience_s)

    async def status(self, node: str, slave: str) -> Answer:
        """The pair's status."""
        return await self.ask("GET", node, slave, "status")

    async def ask(
        self,
        method: str,
        node: str,
        sae: str,
        operation: str,
        body: object = None,
        patience_s: float = TIMEOUT_S,
    ) -> Answer:
        """One request, never repeated; when the answer takes longer than `patience_s`, it hangs up."""
        url = f"{self._urls[node]}/api/v1/keys/{quote(sae, safe='')}/{operation}"
        try:
            timeout = httpx.Timeout(TIMEOUT_S, read=patience_s)
            answer = await self._http.request(method, url, json=body, timeout=timeout)
        except httpx.HTTPError as error:
            return Answer(0, type(error).__name__, {})
        if not answer.content:
            return Answer(answer.status_code, "", {})
        told = answer.json()
        if answer.status_code != 200:
            codes = [detail["code"] for detail in told["details"]]
            return Answer(answer.status_code, codes[0] if codes else told["message"], {}, told)
        keys = {key["key_ID"]: base64.b64decode(key["key"]) for key in told.get("keys", [])}
        return Answer(200, "", keys, told)
