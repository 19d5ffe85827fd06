"""The listeners of [northbound]: HTTPS with mutual TLS, one for each protocol that is configured.

The certificate is the node's own, read anew when its files have changed.
"""

import ssl
from collections.abc import Callable

import structlog
from aiohttp import web

from qkms_node.access.call_log import CallLog
from qkms_node.config import Config
from qkms_node.config_quantum import FaceSection, NorthboundSection
from qkms_node.config_sections import TlsSection
from qkms_node.northbound.around import Around
from qkms_node.northbound.supply import ClusterSupply
from qkms_node.telemetry.metrics import Metrics
from qkms_node.telemetry.traces import Spans
from qkms_node.tls_files import Stamp, TlsFilesInvalid, check_pair, stamp
from qkms_qkd.serving.sae_face import SaeFace
from qkms_qkd.serving.skip_face import SkipFace
from qkms_qkd.serving.web import listen, plain_errors
from qkms_qkd.tls import TlsFiles, TlsFilesError, server_context

log = structlog.get_logger(__name__)

MAX_REQUEST_BYTES = 64 << 10


class Northbound:
    """Made with the node, listening from `start` to `stop`."""

    def __init__(
        self,
        config: Config,
        section: NorthboundSection,
        supply: ClusterSupply,
        calls: CallLog,
        metrics: Metrics,
        spans: Spans,
        now_ms: Callable[[], int],
    ) -> None:
        self._tls = config.tls
        self._drain_s = config.rpc.drain_ms / 1000
        faces: dict[str, tuple[FaceSection | None, SaeFace | SkipFace]] = {
            "etsi014": (section.etsi014, SaeFace(supply)),
            "skip": (section.skip, SkipFace(supply)),
        }
        self._applications: list[tuple[str, str, web.Application]] = []
        for protocol, (listener, face) in faces.items():
            if listener is None:
                continue
            around = Around(protocol, calls, metrics, spans, now_ms, config.limits.max_concurrent_calls)
            application = web.Application(
                middlewares=[around.serve, plain_errors], client_max_size=MAX_REQUEST_BYTES
            )
            face.add_routes(application.router)
            self._applications.append((protocol, listener.listen, application))
        self._runners: list[web.AppRunner] = []

    async def start(self) -> None:
        """Returns when every listener takes requests. Raises OSError, TlsFilesError."""
        for protocol, address, application in self._applications:
            host, _, port = address.rpartition(":")
            context = RenewedContext(self._tls)
            try:
                runner = await listen(application, host.strip("[]"), int(port), context, self._drain_s)
            except OSError as error:
                raise OSError(
                    f"northbound.{protocol}.listen: {address} cannot be bound: {error.strerror or error}"
                ) from error
            self._runners.append(runner)
            log.info("northbound.ready", protocol=protocol, listen=address)

    async def stop(self) -> None:
        """Lets requests in hand end within rpc.drain_ms."""
        while self._runners:
            await self._runners.pop().cleanup()


class RenewedContext(ssl.SSLContext):
    """The TLS context of a listener, which makes each connection by the files as they are then.

    Files that do not fit together, as half-way through a renewal, leave in force what was read before.
    Raises TlsFilesError when there is nothing to begin with.
    """

    _tls: TlsSection
    _seen: Stamp
    _in_force: ssl.SSLContext

    def __new__(cls, tls: TlsSection) -> "RenewedContext":
        context = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        context._tls = tls
        context._seen = stamp(tls)
        context._in_force = _made(tls)
        return context

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """As of the context in force."""
        now = stamp(self._tls)
        if now != self._seen:
            self._seen = now
            try:
                check_pair(self._tls)
                self._in_force = _made(self._tls)
            except (TlsFilesInvalid, TlsFilesError) as problem:
                log.warning("northbound.certificate_unusable", problem=str(problem))
        return self._in_force.wrap_bio(incoming, outgoing, server_side, server_hostname, session)


def _made(tls: TlsSection) -> ssl.SSLContext:
    context = server_context(TlsFiles(tls.ca, tls.certificate, tls.private_key))
    # Tickets would let a session outlive the certificate that it was checked with.
    context.num_tickets = 0
    return context
