"""Free loopback ports, none handed out twice by one process.

Between the choice of a port and its listener another process may choose it too.
Processes that start clusters side by side are kept apart by `QKMS_PORTS=first-last`.
"""

import os
import random
import socket
from contextlib import ExitStack

# Below the range that the kernel takes the ports of outgoing connections from
# (ip_local_port_range, 32768 by default), so none of those takes a listener's port
# while its owner is being restarted.
RANGE = range(20_000, 32_000)
ATTEMPTS = 200
VARIABLE = "QKMS_PORTS"

_given: set[int] = set()


def own_range() -> range:
    """The ports this process chooses from: those of QKMS_PORTS, else RANGE. Raises ValueError."""
    text = os.environ.get(VARIABLE)
    if text is None:
        return RANGE
    first, dash, last = text.partition("-")
    if not (dash and first.isdecimal() and last.isdecimal() and 1024 <= int(first) <= int(last) <= 65_535):
        raise ValueError(f"{VARIABLE}: {text!r} is not first-last, two ports from 1024 to 65535")
    return range(int(first), int(last) + 1)


def free_ports(count: int, within: range | None = None) -> list[int]:
    """`count` different loopback ports that nobody listens on at this moment, by default of `own_range`."""
    within = own_range() if within is None else within
    if len(_given.intersection(within)) > len(within) // 2:
        _given.clear()
    found: list[int] = []
    with ExitStack() as held:
        for port in random.sample(within, min(len(within), count + ATTEMPTS)):
            probe = held.enter_context(socket.socket())
            if port in _given:
                continue
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
            _given.add(port)
            if len(found) == count:
                return found
    raise OSError(f"only {len(found)} of {count} ports found free from {within.start} to {within.stop - 1}")
