"""The gRPC listeners: mutual TLS for services and operators, and one for those that have no certificate yet.

Both read the certificate files anew when these have changed.
"""

import grpc
import grpc.aio
import structlog

from qkms_node import tls_files
from qkms_node.config import Config
from qkms_node.rpc.interceptor import CallInterceptor

log = structlog.get_logger(__name__)

# Requests are bounded: the largest is a plaintext and its authenticated data, 64 KiB each.
MAX_MESSAGE_BYTES = 512 * 1024

ENROL_MESSAGE_BYTES = 16 * 1024
ENROL_CALLS = 16


def credentials(config: Config, *, mutual: bool = True) -> grpc.ServerCredentials:
    """TLS from files looked at for each handshake, so that renewed ones need no restart.

    Files that do not fit together, as half-way through a renewal, leave in force what was read before.
    Not `mutual`: no client certificate is asked for, and the CA is sent along, for callers who know its
    fingerprint only. Raises TlsFilesInvalid.
    """

    def current() -> grpc.ServerCertificateConfiguration:
        pem = tls_files.read(config.tls)
        chain = pem.certificate if mutual else pem.certificate + pem.ca
        roots = pem.ca if mutual else None
        return grpc.ssl_server_certificate_configuration([(pem.private_key, chain)], root_certificates=roots)

    seen = tls_files.stamp(config.tls)
    in_force = current()

    def renewed() -> grpc.ServerCertificateConfiguration:
        nonlocal seen, in_force
        now = tls_files.stamp(config.tls)
        if now != seen:
            seen = now
            try:
                in_force = current()
            except tls_files.TlsFilesInvalid as problem:
                log.warning("rpc.certificate_unusable", problem=str(problem))
        return in_force

    return grpc.dynamic_ssl_server_credentials(in_force, renewed, require_client_authentication=mutual)


def make_server(config: Config, calls: CallInterceptor) -> grpc.aio.Server:
    """A server bound to the configured address, with no services yet. Raises OSError when it is taken."""
    server = grpc.aio.server(
        interceptors=[calls],
        options=[
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", 4 * 1024 * 1024),
            ("grpc.so_reuseport", 0),
            ("grpc.keepalive_time_ms", 30_000),
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ],
        maximum_concurrent_rpcs=config.limits.max_concurrent_calls,
    )
    _bind(server, "rpc.listen", config.rpc.listen, credentials(config))
    return server


def make_enrol_server(config: Config, listen: str, calls: CallInterceptor) -> grpc.aio.Server:
    """The enrolment listener: whoever reaches it may speak to it, so it takes little and few at once.

    `calls` is an interceptor made `anonymous`. Raises OSError when the address is taken.
    """
    server = grpc.aio.server(
        interceptors=[calls],
        options=[("grpc.max_receive_message_length", ENROL_MESSAGE_BYTES), ("grpc.so_reuseport", 0)],
        maximum_concurrent_rpcs=ENROL_CALLS,
    )
    _bind(server, "enrol.listen", listen, credentials(config, mutual=False))
    return server


def _bind(server: grpc.aio.Server, field: str, listen: str, tls: grpc.ServerCredentials) -> None:
    try:
        server.add_secure_port(listen, tls)
    except RuntimeError as error:
        raise OSError(f"{field}: {listen} cannot be bound; is another process using it?") from error
