"""One request to a KME and its answer: mutual TLS, bounded time and size, every failure a LinkError.

Nothing is retried here: requests consume keys, so repeating one after a lost answer is the caller's
decision. What an answer means is judged elsewhere (see `answers`).
"""

import asyncio
import ssl
from collections.abc import Mapping
from urllib.parse import quote, urlencode

import httpx

from qkms_qkd.answers import HttpAnswer
from qkms_qkd.errors import LinkError
from qkms_qkd.tls import TlsFiles, client_context
from qkms_qkd.transport import explained

MAX_ANSWER_BYTES = 1 << 20


class Exchange:
    """Asks the KME `kme_id` under the URL `base`; `timeout_s` bounds each request as a whole.

    `kme_identity` is the URI SAN the KME's certificate must carry; None checks the host name alone.
    Raises TlsFilesError.
    """

    def __init__(
        self, kme_id: str, base: str, files: TlsFiles, timeout_s: float, kme_identity: str | None
    ) -> None:
        self.kme_id = kme_id
        self._base = base.rstrip("/")
        self._timeout_s = timeout_s
        self._context = client_context(files, kme_identity)
        self._http = httpx.AsyncClient(
            verify=self._context,
            timeout=timeout_s,
            trust_env=False,
            follow_redirects=False,
            # No compression: a small answer must not unfold into a large one.
            headers={"Accept": "application/json", "Accept-Encoding": "identity"},
        )

    async def ask(
        self,
        method: str,
        operation: str,
        *,
        path: str = "",
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> HttpAnswer:
        """The answer to one request, whatever its status; `operation` names it in errors and is the path
        unless that is given. The path is percent-encoded already, the query not. Raises LinkError.
        """
        url = f"{self._base}/{path or operation}"
        if query:
            # Not as HTML forms do it: a space as "+" is read as a plus by servers that go by RFC 3986.
            url += f"?{urlencode(query, quote_via=quote, safe='')}"
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

    async def close(self) -> None:
        """Closes the connections to the KME."""
        await self._http.aclose()

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
