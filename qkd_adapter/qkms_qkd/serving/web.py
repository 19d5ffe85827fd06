"""What faces share over HTTP: JSON answers, bounded bodies, the caller's certificate, listeners.

Nothing here decides anything; no answer holds a stack trace.
"""

import asyncio
import math
import ssl
import traceback
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import structlog
from aiohttp import web

from qkms_qkd.identity import PeerCertificate
from qkms_qkd.serving.supply import UnavailableError

log = structlog.get_logger(__name__)

BODY_TIMEOUT_S = 10.0
CODE = web.ResponseKey("code", str)
"""Where an answer has its stable code; it is not sent."""
_SHUTDOWN_S = 1.0
_Respond = Callable[[web.Request], Awaitable[web.StreamResponse]]


def json_answer(value: object, status: int = 200) -> web.Response:
    """A JSON body, which may hold a key and is for nobody's cache."""
    return web.Response(
        body=msgspec.json.encode(value),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def refusal(status: int, message: str, details: list[dict[str, Any]] | None = None) -> web.Response:
    """The error form of ETSI GS QKD 014 clause 6.5."""
    return json_answer({"message": message, "details": details or []}, status)


def no_body(status: int) -> web.Response:
    """A bare status."""
    return web.Response(status=status)


def unavailable(status: int, error: UnavailableError) -> web.Response:
    """The error form with the stable code in details, and Retry-After (whole seconds) when a time is known."""
    answer = refusal(status, str(error), [{"code": error.code}])
    if error.retry_after_s is not None:
        answer.headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    return answer


def answered(answer: web.Response, code: str = "OK") -> web.Response:
    """The answer, marked with its stable code for whoever counts and audits around a face, unless it has one."""
    if CODE not in answer:
        answer[CODE] = code
    return answer


def peer_certificate(request: web.Request) -> PeerCertificate:
    """The certificate the caller proved in the TLS handshake."""
    transport = request.transport
    certificate = transport.get_extra_info("peercert") if transport is not None else None
    return certificate or {}


async def bounded_body(request: web.Request) -> bytes:
    """The body, within the size limit of the application and the time limit here."""
    async with asyncio.timeout(BODY_TIMEOUT_S):
        return await request.read()


@web.middleware
async def plain_errors(request: web.Request, handler: _Respond) -> web.StreamResponse:
    """Turns what a face did not foresee into an answer of the same form, and into the log."""
    try:
        return await handler(request)
    except web.HTTPRequestEntityTooLarge:
        return refusal(400, "the request body is too large")
    except web.HTTPException as error:
        return refusal(error.status, error.reason)
    except TimeoutError:
        return refusal(400, "the request body did not arrive in time")
    except Exception as error:
        incident = uuid.uuid4().hex
        # Neither the exception's text nor a traceback with values: they might hold a secret.
        last = traceback.extract_tb(error.__traceback__)[-1]
        log.error(
            "face.internal_error",
            incident=incident,
            path=request.path,
            error=type(error).__name__,
            where=f"{Path(last.filename).name}:{last.lineno}",
        )
        return answered(refusal(503, f"internal error; the log has incident {incident}"), "INTERNAL")


async def listen(
    application: web.Application, host: str, port: int, context: ssl.SSLContext, drain_s: float = _SHUTDOWN_S
) -> web.AppRunner:
    """Serves the application over TLS until the runner's cleanup; requests in hand may then take `drain_s`.

    Raises OSError.
    """
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=drain_s)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=context).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner
