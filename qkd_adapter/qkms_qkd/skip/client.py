"""Link to a KME over SKIP (draft-cisco-skip-02): GET over `exchange`, one key a request.

An SAE id is the system id of its end. SKIP has no way to ask for several keys, so `draw` and `collect` ask
one after another; if one of them fails, the keys before it are lost, as after any lost answer. Left
out: TLS-PSK, which Python's ssl offers from 3.13 on only (the certificates of qkms serve instead), and
/entropy, for which the node has no use.
"""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from qkms_qkd.errors import LinkError
from qkms_qkd.exchange import Exchange
from qkms_qkd.link import LinkStatus, QkdKey
from qkms_qkd.skip.messages import DEFAULT_BITS
from qkms_qkd.skip.reading import read_key, read_new_key, read_status
from qkms_qkd.tls import TlsFiles


class SkipLink:
    """The link from `local_sae` to `peer_sae` through the KME `kme_id` at `url`; satisfies Link.

    Parameters as of `etsi014.client.Etsi014Link`. Raises TlsFilesError.
    """

    def __init__(
        self,
        *,
        kme_id: str,
        url: str,
        local_sae: str,
        peer_sae: str,
        ca: str | Path,
        certificate: str | Path,
        private_key: str | Path,
        timeout_s: float = 5.0,
        kme_identity: str | None = None,
    ) -> None:
        self.kme_id = kme_id
        self.local_sae = local_sae
        self.peer_sae = peer_sae
        files = TlsFiles(Path(ca), Path(certificate), Path(private_key))
        self._kme = Exchange(kme_id, url, files, timeout_s, kme_identity)

    async def status(self) -> LinkStatus:
        """What the KME says of itself and the peer now. Raises LinkError."""
        answer = await self._kme.ask("GET", "capabilities")
        return read_status(self.kme_id, self.peer_sae, DEFAULT_BITS, answer)

    async def draw(self, number: int = 1, size_bits: int = DEFAULT_BITS) -> list[QkdKey]:
        """Exactly `number` fresh keys of `size_bits`, as master. Raises LinkError."""
        query = {"remoteSystemID": self.peer_sae, "size": str(size_bits)}
        keys: list[QkdKey] = []
        for _ in range(number):
            key = read_new_key(self.kme_id, await self._kme.ask("GET", "key", query=query), size_bits)
            if key.key_id.lower() in {known.key_id.lower() for known in keys}:
                raise LinkError(self.kme_id, "KEY_REPLAYED", f"key {key.key_id} came twice; it was not used")
            keys.append(key)
        return keys

    async def collect(self, key_ids: Sequence[str], size_bits: int = DEFAULT_BITS) -> list[QkdKey]:
        """The keys of these ids, in this order, as slave. Raises LinkError."""
        query = {"remoteSystemID": self.peer_sae}
        keys: list[QkdKey] = []
        for key_id in key_ids:
            path = f"key/{quote(key_id, safe='')}"
            answer = await self._kme.ask("GET", "key", path=path, query=query)
            keys.append(read_key(self.kme_id, answer, key_id, size_bits))
        return keys

    async def close(self) -> None:
        """Closes the connections to the KME."""
        await self._kme.close()
