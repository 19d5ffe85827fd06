"""Why a KME gave no HTTP answer: which error code it amounts to, and what to look at.

In TLS 1.3 a server judges our certificate after our handshake is done. Its refusal may reach us as a
broken connection only: we were already writing, or the server closes without an alert (Python's asyncio
does). `explained` then connects once more and sends nothing: a server that takes us waits for a request.
"""

import asyncio
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from qkms_qkd.errors import LinkErrorCode

_PROBE_S = 1.0
_CLOSED = "the KME closed the connection right after the handshake, as one does that refuses our certificate"


@dataclass(frozen=True, slots=True)
class TransportFault:
    """A stable code and the reason in words."""

    code: LinkErrorCode
    reason: str


async def explained(error: Exception, url: str, context: ssl.SSLContext) -> TransportFault:
    """What this failure of a request to `url` means."""
    tls_error = _tls_error(error)
    refusal = "" if tls_error is None else _tls_reason(tls_error)
    if tls_error is None and isinstance(error, httpx.ReadError | httpx.WriteError | httpx.RemoteProtocolError):
        refusal = await _refused_after_handshake(url, context)
    if refusal:
        return TransportFault(
            "KME_UNAUTHORIZED",
            f"TLS: {refusal}; check the CA and certificates of both ends and their validity",
        )
    if isinstance(error, httpx.RemoteProtocolError | httpx.DecodingError):
        return TransportFault("KME_BAD_ANSWER", f"the answer broke off or is not HTTP ({_words(error)})")
    address = httpx.URL(url)
    return TransportFault(
        "KME_UNREACHABLE",
        f"{_words(error)}; check the address {address.host}:{address.port or 443} and that the KME runs",
    )


async def _refused_after_handshake(url: str, context: ssl.SSLContext) -> str:
    """What a fresh connection learns of a refusal; empty when the server waits for a request as it should."""
    address = httpx.URL(url)
    try:
        async with asyncio.timeout(_PROBE_S):
            reader, writer = await asyncio.open_connection(address.host, address.port or 443, ssl=context)
            try:
                await reader.read(1)
            finally:
                writer.close()
    except ssl.SSLError as error:
        return _tls_reason(error)
    except (TimeoutError, ConnectionRefusedError):
        return ""
    except OSError:
        return _CLOSED
    return _CLOSED


def _tls_error(error: Exception) -> ssl.SSLError | None:
    return next((cause for cause in _causes(error) if isinstance(cause, ssl.SSLError)), None)


def _tls_reason(error: ssl.SSLError) -> str:
    # These attributes are there only when OpenSSL itself raised the error.
    verdict = getattr(error, "verify_message", None) or getattr(error, "reason", None)
    return str(verdict or error.strerror or error)


def _words(error: Exception) -> str:
    """The first message in the chain of causes; some layers raise without one."""
    return next((text for cause in _causes(error) if (text := str(cause))), type(error).__name__)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and everything it came from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__
