"""The gRPC listeners: mutual TLS for services and operators, and one for those that have no certificate yet.

Both follow their certificate files (`server_credentials`).
"""

import grpc
import grpc.aio

from qkms_node.config import Config
from qkms_node.rpc.interceptor import CallInterceptor
from qkms_node.rpc.server_credentials import RenewedCertificates

# Requests are bounded: the largest is a plaintext and its authenticated data, 64 KiB each.
MAX_MESSAGE_BYTES = 512 * 1024

ENROL_MESSAGE_BYTES = 16 * 1024
ENROL_CALLS = 16


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
    _bind(server, "rpc.listen", config.rpc.listen, RenewedCertificates(config.tls))
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
    _bind(server, "enrol.listen", listen, RenewedCertificates(config.tls, mutual=False))
    return server


def _bind(server: grpc.aio.Server, field: str, listen: str, certificates: RenewedCertificates) -> None:
    try:
        server.add_secure_port(listen, certificates.credentials())
    except RuntimeError as error:
        raise OSError(f"{field}: {listen} cannot be bound; is another process using it?") from error
