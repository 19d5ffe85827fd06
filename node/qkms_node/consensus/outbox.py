"""Where the engine's messages wait until they may leave.

To PySyncObj this is the transport. Nothing reaches the network before
`release`, which the engine calls when no message can reveal a vote, a term or
an acknowledgement that a power loss could take back.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from pysyncobj.node import Node
from pysyncobj.transport import Transport

from qkms_node.consensus.messages import Message


class Network(Protocol):
    """Carries messages to connected peers: in order and at most once per connection."""

    def send(self, peer: str, messages: list[Message]) -> None:
        """Queues without blocking. Messages to a peer that is not connected are dropped."""
        ...

    def admit(self, members: Mapping[str, str]) -> None:
        """From now on connects to these (id -> host:port) and to nobody else; this member may be among them."""
        ...

    def flush(self) -> None:
        """Lets what is queued leave now, as far as it can without blocking."""
        ...


class Outbox(Transport):  # type: ignore[misc]  # the library is untyped
    """Gathers the messages of one tick. `translate` turns the library's own dicts into messages."""

    def __init__(self, network: Network, translate: Callable[[dict[str, Any]], Message]) -> None:
        super().__init__(None, None, [])
        self._network = network
        self._translate = translate
        self._waiting: dict[str, list[Message]] = {}

    def send(self, node: Node, message: Any) -> bool:
        """Queues a message that the library formed, for the end of the tick."""
        self.put(node.id, self._translate(message))
        return True

    def put(self, peer: str, message: Message) -> None:
        """Queues a message of ours."""
        self._waiting.setdefault(peer, []).append(message)

    def has(self, peer: str) -> bool:
        """Whether something waits for `peer`."""
        return peer in self._waiting

    def release(self) -> None:
        """Hands everything queued to the network, and lets it leave."""
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            for peer in sorted(waiting):
                self._network.send(peer, waiting[peer])
            self._network.flush()

    def drop(self, peer: str) -> None:
        """Forgets what waits for a peer whose connection is gone."""
        self._waiting.pop(peer, None)
