"""Free loopback ports."""

import random
import socket
from contextlib import ExitStack

# Below the range that the kernel takes the ports of outgoing connections from
# (ip_local_port_range, 32768 by default), so none of those takes a listener's port
# while its owner is being restarted.
RANGE = range(20_000, 32_000)
ATTEMPTS = 200


def free_ports(count: int, within: range = RANGE) -> list[int]:
    """`count` different loopback ports that nobody listens on at this moment."""
    found: list[int] = []
    with ExitStack() as held:
        for port in random.sample(within, min(len(within), count + ATTEMPTS)):
            probe = held.enter_context(socket.socket())
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
            if len(found) == count:
                return found
    raise OSError(f"only {len(found)} of {count} ports found free from {within.start} to {within.stop - 1}")
