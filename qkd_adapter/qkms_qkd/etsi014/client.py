"""Link to a KME over ETSI GS QKD 014 v1.1.1: mutual TLS, POST with JSON, bounded time and size.

Sends exactly what the standard says and nothing more; what comes back is judged in `reading`.
Nothing is retried here: enc_keys and dec_keys consume keys, so repeating one after a lost answer is the
caller's decision. Left out: the GET forms of enc_keys and dec_keys (some KMEs ignore their
parameters) and additional slave SAEs.
"""

import asyncio
import ssl
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import httpx
import msgspec

from qkms_qkd.errors import LinkError
from qkms_qkd.etsi014.messages import KeyId, KeyIds
from qkms_qkd.etsi014.reading import HttpAnswer, collected, drawn, read_keys, read_status
from qkms_qkd.etsi014.transport import explained
from qkms_qkd.link import LinkStatus, QkdKey
from qkms_qkd.tls import TlsFiles, client_context

MAX_ANSWER_BYTES = 1 << 20


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
        self._base = f"{url.rstrip('/')}/api/v1/keys/{quote(peer_sae, safe='')}"
        self._timeout_s = timeout_s
        self._context = client_context(TlsFiles(Path(ca), Path(certificate), Path(private_key)), kme_identity)
        self._http = httpx.AsyncClient(
            verify=self._context,
            timeout=timeout_s,
            trust_env=False,
            follow_redirects=False,
            # No compression: a small answer must not unfold into a large one.
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )

    async def status(self) -> LinkStatus:
        """What the KME says of the link now. Raises LinkError."""
        answer = await self._ask("GET", "status", None)
        return read_status(self.kme_id, self.peer_sae, answer)

    async def draw(self, number: int = 1, size_bits: int = 256) -> list[QkdKey]:
        """Exactly `number` fresh keys of `size_bits`, as master (enc_keys). Raises LinkError."""
        body = msgspec.json.encode({"number": number, "size": size_bits})
        answer = await self._ask("POST", "enc_keys", body)
        return drawn(self.kme_id, read_keys(self.kme_id, answer, size_bits), number)

    async def collect(self, key_ids: Sequence[str], size_bits: int = 256) -> list[QkdKey]:
        """The keys of these ids, in this order, as slave (dec_keys). Raises LinkError."""
        body = msgspec.json.encode(KeyIds([KeyId(key_id) for key_id in key_ids]))
        answer = await self._ask("POST", "dec_keys", body)
        return collected(self.kme_id, read_keys(self.kme_id, answer, size_bits), key_ids)

    async def close(self) -> None:
        """Closes the connections to the KME."""
        await self._http.aclose()

    async def _ask(self, method: str, operation: str, body: bytes | None) -> HttpAnswer:
        url = f"{self._base}/{operation}"
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                self._http.stream(method, url, content=body, headers=headers) as response,
            ):
                return await self._bounded(response)
        except (TimeoutError, httpx.TimeoutException):
            raise LinkError(
                self.kme_id,
                "KME_UNREACHABLE",
                f"no answer to {operation} within {self._timeout_s:g} s; check that it runs and its load",
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, OSError) as error:
            fault = await explained(error, self._base, self._context)
            raise LinkError(self.kme_id, fault.code, f"{operation} failed: {fault.reason}") from error

    async def _bounded(self, response: httpx.Response) -> HttpAnswer:
        encoding = response.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            raise LinkError(self.kme_id, "KME_BAD_ANSWER", "answered compressed although that was excluded")
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise LinkError(self.kme_id, "KME_BAD_ANSWER", f"answered with over {MAX_ANSWER_BYTES} bytes")
        return HttpAnswer(response.status_code, response.headers.get("Content-Type", ""), bytes(body))
