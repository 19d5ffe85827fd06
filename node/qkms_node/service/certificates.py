"""This node's own certificate: renewed before it expires, and loudly missed when it is not.

When a third of its life is left, a new key is drawn and a certificate asked
for: of the CA beside this node, or of another node that may sign. The pair on
disk is replaced, and every listener and client takes it up with its next
connection; what is connected stays connected. When a sixth is left, and for
as long as it takes, log, status and health warn: fifteen days for ninety.

Renewing needs no quorum. Leaves out certificates of services and KMEs, whose
owners renew them; their files are read anew as well.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from qkms_node import tls_files
from qkms_node.config import Config
from qkms_node.csr import make_csr
from qkms_node.errors import QkmsError

log = structlog.get_logger(__name__)

RENEW_AT = 1 / 3
WARN_AT = 1 / 6
LOOK_S = 0.5
RETRY_MAX = timedelta(hours=1)
WARN_EVERY = timedelta(hours=6)

Renew = Callable[[bytes], Awaitable[bytes]]
"""From a request (DER) to a certificate (DER). Raises QkmsError."""


class Certificates:
    """Watches the pair of this node. `renew` asks for a new certificate."""

    def __init__(
        self, config: Config, renew: Renew, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._tls = config.tls
        self._node_id = config.node.id
        self._renew = renew
        self._now = now
        self._stamp: tls_files.Stamp | None = None
        self._begin = self._end = datetime.fromtimestamp(0, UTC)
        self._next_try = self._next_warning = self._begin
        self._failure = ""
        self._look()

    @property
    def expire_ms(self) -> int:
        """When the certificate ends, in milliseconds since the Unix epoch."""
        return int(self._end.timestamp() * 1000)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the operator should know by now; empty when all is well."""
        left = self._end - self._now()
        if left > (self._end - self._begin) * WARN_AT:
            return ()
        state = "has expired" if left <= timedelta(0) else f"expires in {_words(left)}"
        why = f"; renewal fails: {self._failure}" if self._failure else ""
        return (f"the certificate of {self._node_id} {state}, at {self._end:%Y-%m-%d %H:%M} UTC{why}",)

    async def run(self) -> None:
        """Runs for ever."""
        while True:
            await self.step()
            await asyncio.sleep(LOOK_S)

    async def step(self) -> None:
        """Looks at the files, renews when it is due, warns when it is late."""
        self._look()
        now = self._now()
        lifetime = self._end - self._begin
        if self._end - now <= lifetime * RENEW_AT and now >= self._next_try:
            self._next_try = now + min(RETRY_MAX, lifetime / 50)
            await self._replace()
        for warning in self.warnings if now >= self._next_warning else ():
            self._next_warning = now + WARN_EVERY
            log.warning("certificate.expires", warning=warning)

    async def _replace(self) -> None:
        try:
            key, request = make_csr(self._tls.trust_domain, self._node_id)
            certificate = x509.load_der_x509_certificate(await self._renew(request))
            tls_files.replace_pair(self._tls, certificate.public_bytes(serialization.Encoding.PEM), key)
        except (QkmsError, OSError, ValueError) as error:
            failure = error.message if isinstance(error, QkmsError) else str(error)
            if failure != self._failure:
                log.warning("certificate.renewal_failed", reason=failure)
            self._failure = failure
            return
        self._failure = ""
        self._look()
        log.info("certificate.renewed", until=self._end.isoformat())

    def _look(self) -> None:
        seen = tls_files.stamp(self._tls)
        if seen == self._stamp:
            return
        try:
            self._begin, self._end = tls_files.validity(self._tls)
            self._stamp = seen
        except tls_files.TlsFilesInvalid as problem:
            self._failure = str(problem)


def _words(left: timedelta) -> str:
    if left >= timedelta(days=2):
        return f"{left.days} days"
    if left >= timedelta(hours=2):
        return f"{left // timedelta(hours=1)} hours"
    return f"{max(1, left // timedelta(seconds=1))} s"
