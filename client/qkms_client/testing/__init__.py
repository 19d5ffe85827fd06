"""A qkms for tests of services: one real node in this process, nothing on any other machine.

    with MemoryServer() as server, server.client("payments") as kms:
        kms.create_key("payments")

It is the node's own gRPC face, rules and cryptography behind mutual TLS on a
free loopback port, over a replica of one member in memory and a root without
QKD (grade PQC): a test sees the answers and the refusals that a cluster gives.
`cut` takes its quorum away. Needs the extra `qkms-client[testing]`.
"""

from qkms_client.testing.server import MemoryServer

__all__ = ["MemoryServer"]
