"""How both clients connect: the options of their channels."""

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
