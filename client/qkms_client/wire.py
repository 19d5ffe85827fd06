"""How both clients connect: credentials and channel options."""

import grpc

from qkms_client.profile import Profile

OPTIONS: tuple[tuple[str, int], ...] = (
    # Attempts are this client's own affair: gRPC must not repeat a call behind its back.
    ("grpc.enable_retries", 0),
    # Clients of one process do not share connections, nor their back-off.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A node that stops without closing its connections is noticed while a watch is open.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.max_receive_message_length", 16 * 1024 * 1024),
)


def credentials(profile: Profile) -> grpc.ChannelCredentials:
    """Mutual TLS from the profile's files. Raises ProfileInvalid."""
    ca, certificate, private_key = profile.read_tls()
    return grpc.ssl_channel_credentials(
        root_certificates=ca, private_key=private_key, certificate_chain=certificate
    )
