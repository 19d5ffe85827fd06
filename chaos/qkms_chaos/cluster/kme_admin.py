"""The fault switches of the simulated KMEs, over their admin API."""

import ssl
from typing import Any

import httpx

from qkms_chaos.cluster.layout import Layout
from qkms_chaos.cluster.network import Network
from qkms_node.pki import Material

TIMEOUT_S = 5.0


class KmeAdmin:
    """Speaks to every KME of a layout as the operator. Calls raise httpx.HTTPError."""

    def __init__(self, layout: Layout, network: Network, operator: Material) -> None:
        self._layout = layout
        self._network = network
        tls = ssl.create_default_context(cafile=str(operator.ca))
        tls.load_cert_chain(operator.certificate, operator.private_key)
        self._http = httpx.Client(verify=tls, timeout=TIMEOUT_S, trust_env=False)

    def links(self, kme: str) -> Any:
        """What the KME reports of its links."""
        return self._http.get(self._url(kme, "links")).raise_for_status().json()

    def cut(self, kme: str, peer: str) -> None:
        """Breaks the quantum channel between two KMEs."""
        self.set_faults(kme, peer, cut=True)

    def eavesdrop(self, kme: str, peer: str, fraction: float) -> None:
        """Measures and resends a fraction (0 to 1) of the pulses: adds a quarter of it to the QBER."""
        self.set_faults(kme, peer, intercept_resend=fraction)

    def heal(self, kme: str, peer: str) -> None:
        """Takes every fault off the link between two KMEs."""
        self.set_faults(kme, peer)

    def set_faults(self, kme: str, peer: str, **faults: bool | float) -> None:
        """Puts exactly these faults on a link; a fault not named is taken off."""
        self._http.put(self._url(kme, f"links/{peer}/faults"), json=faults).raise_for_status()

    def set_kme_faults(self, kme: str, **faults: bool | float) -> None:
        """Puts exactly these faults on a KME as a whole; a fault not named is taken off."""
        self._http.put(self._url(kme, "faults"), json=faults).raise_for_status()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def _url(self, kme: str, path: str) -> str:
        return f"https://{self._network.host(kme)}:{self._layout.site(kme).etsi014_port}/admin/v1/{path}"
