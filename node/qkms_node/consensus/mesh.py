"""The network between members: mutual TLS, one route per peer, nothing blocks.

A route is a pair of connections: the dialled one carries what this node
sends, the accepted one what the peer sends. It is up while both are, and the
loss of either closes both: what a cut takes away is then always a tail, in
both directions, and delivery is in order and at most once while it is up.

Everything that a stranger can reach is bounded: handshakes by number and
time, frames by size. Who a peer is, its certificate says.
"""

import random
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from qkms_node.consensus.connection import Connection, ConnectionLost
from qkms_node.consensus.dialling import Backoff, Resolver
from qkms_node.consensus.identity import Contexts, PeerRefused, peer_id, require_member
from qkms_node.consensus.link_keys import LinkKeys
from qkms_node.consensus.messages import Hello, KeyAnswer, KeyOffer, LinkMessage, Message, Received
from qkms_node.consensus.peer_keys import PeerKeys
from qkms_node.consensus.settings import Limits, LinkSealing, Timing, Tls
from qkms_node.consensus.sockets import Sockets

_MAX_STRANGERS = 32
_MAX_EARLY_MESSAGES = 1024


class Events(Protocol):
    """What the owner is told, on the thread that calls `Mesh.poll`."""

    def on_connected(self, peer: str) -> None: ...
    def on_disconnected(self, peer: str) -> None: ...
    def on_message(self, peer: str, message: Message) -> None: ...


@dataclass
class _Route:
    """`greeted`: the dialled peer answered our Hello. `early`: arrived before the route was up.
    `sealed_only`: one of the ends wants nothing to pass but under QKD keys.
    """

    backoff: Backoff
    dialled: Connection | None = None
    accepted: Connection | None = None
    greeted: bool = False
    sealed_only: bool = False
    up: bool = False
    early: list[Message] = field(default_factory=list)


class Mesh:
    """This node's routes to the other members: those admitted, nobody at first.

    `dial`: where members are dialled from here, in place of the addresses that they are admitted with.
    `keys`: where QKD keys come from, by which routes are sealed as `sealing` says; without, TLS stands alone.
    """

    def __init__(
        self,
        node_id: str,
        cluster_id: str,
        tls: Tls,
        timing: Timing,
        limits: Limits,
        report: Callable[..., None],
        dial: Mapping[str, str] | None = None,
        keys: PeerKeys | None = None,
        sealing: LinkSealing | None = None,
    ) -> None:
        self._id = node_id
        self._cluster_id = cluster_id
        self._addresses: dict[str, str] = {}
        self._dial_instead = dial or {}
        self._trust_domain = tls.trust_domain
        self._tls = Contexts(tls, report)
        self._timing = timing
        self._report = report
        self._events: Events | None = None
        self._rng = random.Random()  # noqa: S311  # only spreads attempts in time
        self._routes: dict[str, _Route] = {}
        self._young: dict[Connection, float] = {}  # not greeted yet -> when that is given up
        sealing = sealing or LinkSealing()
        self._sealed_only = sealing.required
        self._keys = LinkKeys(node_id, cluster_id, sealing, keys, self, report) if keys is not None else None
        self._sockets = Sockets(
            self, limits.frame_bytes, limits.peer_buffer_bytes, timing.idle_s, sealed_only=self._sealed_only
        )
        self._resolver = Resolver(self._sockets.wake)

    def bind(self, listen: str) -> int:
        """Listens on `host:port` and returns the port. Raises OSError."""
        return self._sockets.listen(listen)

    def attach(self, events: Events) -> None:
        """Who is told; before the first `poll`."""
        self._events = events

    def admit(self, members: Mapping[str, str]) -> None:
        """From now on has routes to these (id -> host:port) and to nobody else; this node may be among them."""
        wanted = {
            peer: self._dial_instead.get(peer, address) for peer, address in members.items() if peer != self._id
        }
        for peer in [p for p, address in self._addresses.items() if wanted.get(p) != address]:
            self._take_down(peer, self._routes.pop(peer), "it is no member any more, or has moved")
            if self._keys is not None and peer not in wanted:
                self._keys.forget(peer)
        self._addresses = wanted
        shortest, longest = self._timing.reconnect_min_s, self._timing.reconnect_max_s
        for peer in wanted:
            if peer not in self._routes:
                self._routes[peer] = _Route(Backoff(shortest, longest, self._rng))

    def wake(self) -> None:
        """Makes `poll` return at once; from any thread."""
        self._sockets.wake()

    def send(self, peer: str, messages: list[Message]) -> None:
        """Queues without blocking; dropped when the route is not up."""
        route = self._routes.get(peer)
        if route is not None and route.up and route.dialled is not None:
            try:
                self._sockets.queue(route.dialled, messages)
            except ConnectionLost as problem:
                self.lost(route.dialled, str(problem))

    def flush(self) -> None:
        """Offers what is queued to the sockets."""
        self._sockets.flush()

    def poll(self, timeout_s: float) -> None:
        """Sends, dials what is due, waits up to `timeout_s` for something to happen, and delivers it."""
        now = time.monotonic()
        for connection in [c for c, deadline in self._young.items() if deadline <= now]:
            self.lost(connection, f"no member greeted within {self._timing.handshake_s:g} s")
        next_due = self._dial_due(now)
        if self._keys is not None:
            next_due = min(next_due, self._keys.poll(now))
        self._sockets.flush()
        next_give_up = min(self._young.values(), default=float("inf"))
        self._sockets.poll(max(0.0, min(timeout_s, next_due - now, next_give_up - now)))

    def close(self) -> None:
        """Closes everything; nobody is told."""
        self._sockets.close()
        self._resolver.close()

    def _dial_due(self, now: float) -> float:
        """Dials whom it is time for; returns when the next is due."""
        waiting = [(peer, route) for peer, route in self._routes.items() if route.dialled is None]
        if not waiting:
            return float("inf")
        for peer, route in waiting:
            if route.backoff.due_at <= now:
                self._dial(peer, route, now)
        later = (route.backoff.due_at for _, route in waiting if route.dialled is None)
        # One that is due and still not dialled waits for its name to be resolved: that wakes us.
        return min((due for due in later if due > now), default=float("inf"))

    def _dial(self, peer: str, route: _Route, now: float) -> None:
        try:
            address = self._resolver.find(self._addresses[peer])
            if address is None:
                return
            connection = self._sockets.connect(address, self._tls.client())
        except OSError as error:
            route.backoff.failed(now)
            self._report("consensus.dial_failed", peer=peer, problem=error.strerror or str(error))
            return
        route.dialled = connection
        connection.peer = peer
        self._young[connection] = now + self._timing.handshake_s
        self._sockets.queue(connection, [Hello(self._cluster_id, self._id, peer, self._sealed_only)])

    # From the sockets.

    def accepted(self, sock: socket.socket) -> None:
        """A stranger connected."""
        strangers = [c for c in self._young if c.accepted]
        if len(strangers) >= _MAX_STRANGERS:
            self.lost(strangers[0], "too many connections wait to be identified")
        connection = self._sockets.adopt(sock, self._tls.server(), accepted=True)
        self._young[connection] = time.monotonic() + self._timing.handshake_s

    def arrived(self, connection: Connection, messages: list[Received]) -> None:
        """Messages, the first of each connection a Hello."""
        try:
            for message in messages:
                if connection in self._young:
                    self._greet(connection, message)
                elif not connection.closed:
                    self._deliver(connection, message)
        except (PeerRefused, ConnectionLost) as problem:
            self.lost(connection, str(problem))

    def lost(self, connection: Connection, why: str) -> None:
        """Closes the connection, and with it the route that it belongs to."""
        if connection.closed:
            return
        self._young.pop(connection, None)
        self._sockets.drop(connection)
        route = self._routes.get(connection.peer or "")
        if route is None or connection not in (route.dialled, route.accepted):
            self._report("consensus.stranger_refused", problem=why)
            return
        self._take_down(connection.peer or "", route, why)

    def _take_down(self, peer: str, route: _Route, why: str) -> None:
        was_up = route.up
        for connection in (route.dialled, route.accepted):
            if connection is not None:
                self._young.pop(connection, None)
                self._sockets.drop(connection)
                if self._keys is not None:
                    self._keys.lost(connection)
        route.dialled = route.accepted = None
        route.greeted = route.sealed_only = route.up = False
        route.early.clear()
        route.backoff.failed(time.monotonic())
        if was_up:
            self._report("consensus.disconnected", peer=peer, problem=why)
            if self._events is not None:
                self._events.on_disconnected(peer)

    # Who it is.

    def _greet(self, connection: Connection, hello: Received) -> None:
        found = peer_id(connection.tls, self._trust_domain)
        require_member(found, frozenset(self._routes), self._id, connection.peer)
        if not isinstance(hello, Hello) or (hello.cluster_id, hello.sender, hello.receiver) != (
            self._cluster_id,
            found,
            self._id,
        ):
            raise PeerRefused(f"{found} greets as another member, or for another cluster or node: {hello}")
        if hello.sealed_only and self._keys is None:
            raise PeerRefused(
                f"{found} takes only what is under QKD keys; this node has no QKD link: give it one, "
                "or set raft.link_keys to prefer_qkd there"
            )
        del self._young[connection]
        route = self._routes[found]
        if connection.accepted:
            if route.accepted is not None:
                # The peer gave up the route that we still believed in.
                self._take_down(found, route, "the peer connected anew")
            connection.peer = found
            route.accepted = connection
            answer = Hello(self._cluster_id, self._id, found, self._sealed_only)
            self._sockets.queue(connection, [answer])
            route.backoff.reset(time.monotonic())
        else:
            route.greeted = True
            if self._keys is not None:
                self._keys.greeted(connection, found)
        route.sealed_only = self._sealed_only or hello.sealed_only
        self._open(found, route)

    def _open(self, peer: str, route: _Route) -> None:
        if route.up or not route.greeted or route.accepted is None or route.dialled is None:
            return
        if route.sealed_only and not route.dialled.sealing.on:
            return
        route.up = True
        route.backoff.reset(time.monotonic())
        self._report("consensus.connected", peer=peer)
        if self._events is not None:
            self._events.on_connected(peer)
            early, route.early = route.early, []
            for message in early:
                self._events.on_message(peer, message)

    def _deliver(self, connection: Connection, message: Received) -> None:
        if isinstance(message, KeyOffer | KeyAnswer):
            self._agree(connection, message)
            return
        if isinstance(message, Hello) or not connection.accepted or connection.peer is None:
            raise PeerRefused("a message that does not belong on this connection")
        route = self._routes[connection.peer]
        if route.up and self._events is not None:
            self._events.on_message(connection.peer, message)
        elif len(route.early) < _MAX_EARLY_MESSAGES:
            route.early.append(message)
        else:
            raise ConnectionLost("messages arrive and the way back does not open")

    # QKD keys for what is sent.

    @property
    def sealed_peers(self) -> frozenset[str]:
        """The peers to and from whom everything is under a QKD key."""
        return self._keys.both_ways if self._keys is not None else frozenset()

    def tell(self, connection: Connection, message: LinkMessage) -> None:
        """Queues an offer or an answer."""
        try:
            self._sockets.queue(connection, [message])
        except ConnectionLost as problem:
            self.lost(connection, str(problem))

    def sealed(self, peer: str) -> None:
        """What is sent to the peer is under a QKD key from now on."""
        route = self._routes.get(peer)
        if route is not None:
            self._open(peer, route)

    def _agree(self, connection: Connection, message: LinkMessage) -> None:
        if self._keys is not None:
            self._keys.received(connection, connection.peer or "", message)
        elif isinstance(message, KeyOffer) and connection.accepted:
            self.tell(connection, KeyAnswer(message.key_id, b"", "it has no QKD link"))
        else:
            raise PeerRefused("an answer about a key that was not offered")
