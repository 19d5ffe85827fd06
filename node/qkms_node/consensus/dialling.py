"""When and where to dial a member: addresses, name resolution, backoff.

Attempts to a member that does not answer grow apart up to a bound, with
jitter so that members that lost each other together do not return together.
Names are resolved on one thread of their own, because resolving blocks and
the engine's thread must not; numeric addresses need no thread.
"""

import ipaddress
import random
import socket
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

SocketAddress = tuple[socket.AddressFamily, tuple[str, int]]


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port` or `[v6]:port`. Raises ValueError."""
    host, separator, port = address.rpartition(":")
    if not separator or not host or not port.isdigit():
        raise ValueError(f"{address!r} is not host:port")
    return host.strip("[]"), int(port)


def _numeric(host: str, port: int) -> SocketAddress | None:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    return (socket.AF_INET if version == 4 else socket.AF_INET6), (host, port)


def _resolve(host: str, port: int) -> SocketAddress:
    family, _, _, _, found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    return family, (str(found[0]), int(found[1]))


class Resolver:
    """Socket addresses of `host:port` strings, without blocking. `wake` is called when one was found."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._thread: ThreadPoolExecutor | None = None
        self._asked: dict[str, Future[SocketAddress]] = {}

    def find(self, address: str) -> SocketAddress | None:
        """The address, or None while it is being looked up: ask again. Raises OSError when unknown."""
        host, port = split_address(address)
        numeric = _numeric(host, port)
        if numeric is not None:
            return numeric
        asked = self._asked.get(address)
        if asked is None:
            self._thread = self._thread or ThreadPoolExecutor(1, "qkms-resolve")
            asked = self._asked[address] = self._thread.submit(_resolve, host, port)
            asked.add_done_callback(lambda _: self._wake())
        if not asked.done():
            return None
        del self._asked[address]
        return asked.result()

    def close(self) -> None:
        """Abandons look-ups; one that blocks is not waited for."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)


class Backoff:
    """Times of the attempts to one member, in seconds of the caller's clock."""

    def __init__(self, shortest_s: float, longest_s: float, rng: random.Random) -> None:
        self._shortest = shortest_s
        self._longest = longest_s
        self._rng = rng
        self._step = shortest_s
        self.due_at = 0.0

    def failed(self, now: float) -> None:
        """The next attempt waits, up to twice as long as the one before."""
        self.due_at = now + self._step * (0.5 + self._rng.random() / 2)
        self._step = min(self._step * 2, self._longest)

    def reset(self, now: float) -> None:
        """The member is there: the next attempt is due at once, and backoff begins anew."""
        self._step = self._shortest
        self.due_at = now
