"""TLS credentials of a gRPC listener that follow the certificate files.

gRPC asks for each handshake whether its certificates changed. What it is answered is not
as harmless as it looks (seen with grpcio 1.85.1 and 1.85.3): any configuration, be it the same as
before, replaces and frees what handshakes are begun from, under a lock that the beginning of a
handshake does not take. One that has asked, and has not begun, then ends the process by a
segmentation fault. So the answer is None while nothing changed, and late when something did:
gRPC asks under its lock, so that nobody else asks meanwhile, and who asked before has begun.

Leaves out how the files are replaced (`tls_files`) and when (`service.certificates`).
"""

import time

import grpc
import structlog

from qkms_node import tls_files

log = structlog.get_logger(__name__)

# A handshake begins in well under a millisecond after it asked; renewals are hours apart.
HANDSHAKES_BEGIN_S = 0.25


class RenewedCertificates:
    """Reads the files of `tls`, and again when they changed.

    Not `mutual`: no client certificate is asked for, and the CA is sent along, for callers who know its
    fingerprint only. Raises TlsFilesInvalid.
    """

    def __init__(self, tls: tls_files.TlsPaths, *, mutual: bool = True) -> None:
        self._tls = tls
        self._mutual = mutual
        self._seen = tls_files.stamp(tls)
        self._first = self._read()

    def credentials(self) -> grpc.ServerCredentials:
        """For one listener."""
        return grpc.dynamic_ssl_server_credentials(
            self._first,
            self.newer,  # type: ignore[arg-type]  # None is documented; the stubs forgot it
            require_client_authentication=self._mutual,
        )

    def newer(self) -> grpc.ServerCertificateConfiguration | None:
        """What the files say when they changed since they were read last; called by a thread of gRPC.

        Files that do not fit together, as half-way through a renewal, leave in force what was read before.
        """
        now = tls_files.stamp(self._tls)
        if now == self._seen:
            return None
        self._seen = now
        try:
            configuration = self._read()
        except tls_files.TlsFilesInvalid as problem:
            log.warning("rpc.certificate_unusable", problem=str(problem))
            return None
        time.sleep(HANDSHAKES_BEGIN_S)
        return configuration

    def _read(self) -> grpc.ServerCertificateConfiguration:
        pem = tls_files.read(self._tls)
        chain = pem.certificate if self._mutual else pem.certificate + pem.ca
        roots = pem.ca if self._mutual else None
        return grpc.ssl_server_certificate_configuration([(pem.private_key, chain)], root_certificates=roots)
