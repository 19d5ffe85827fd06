"""Link to a KME over ETSI GS QKD 014 v1.1.1: POST with JSON over `exchange`.

Sends exactly what the standard says and nothing more; what comes back is judged in `reading`.
Nothing is retried (see `exchange`). Left out: the GET forms of enc_keys and dec_keys (some KMEs ignore their
parameters) and additional slave SAEs.
"""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import msgspec

from qkms_qkd.etsi014.messages import KeyId, KeyIds
from qkms_qkd.etsi014.reading import collected, drawn, read_keys, read_status
from qkms_qkd.exchange import Exchange
from qkms_qkd.link import LinkStatus, QkdKey
from qkms_qkd.tls import TlsFiles


class Etsi014Link:
    """The link from `local_sae` to `peer_sae` through the KME `kme_id` at `url`; satisfies Link.

    `ca`, `certificate` and `private_key` are PEM paths; `timeout_s` bounds each call as a whole.
    `kme_identity` is the URI SAN the KME's certificate must carry; None checks the host name alone.
    Raises TlsFilesError.
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
        self._kme = Exchange(
            kme_id,
            f"{url.rstrip('/')}/api/v1/keys/{quote(peer_sae, safe='')}",
            TlsFiles(Path(ca), Path(certificate), Path(private_key)),
            timeout_s,
            kme_identity,
        )

    async def status(self) -> LinkStatus:
        """What the KME says of the link now. Raises LinkError."""
        answer = await self._kme.ask("GET", "status")
        return read_status(self.kme_id, self.peer_sae, answer)

    async def draw(self, number: int = 1, size_bits: int = 256) -> list[QkdKey]:
        """Exactly `number` fresh keys of `size_bits`, as master (enc_keys). Raises LinkError."""
        body = msgspec.json.encode({"number": number, "size": size_bits})
        answer = await self._kme.ask("POST", "enc_keys", body=body)
        return drawn(self.kme_id, read_keys(self.kme_id, answer, size_bits), number)

    async def collect(self, key_ids: Sequence[str], size_bits: int = 256) -> list[QkdKey]:
        """The keys of these ids, in this order, as slave (dec_keys). Raises LinkError."""
        body = msgspec.json.encode(KeyIds([KeyId(key_id) for key_id in key_ids]))
        answer = await self._kme.ask("POST", "dec_keys", body=body)
        return collected(self.kme_id, read_keys(self.kme_id, answer, size_bits), key_ids)

    async def close(self) -> None:
        """Closes the connections to the KME."""
        await self._kme.close()
