"""Faults by the real Toxiproxy: one proxy before every listener for each who dials it.

A proxy carries both directions of the connections that one member dials to another. Nodes dial each other both
ways and send on what they dialled, so that a directed pair of nodes is one proxy's upstream and the other's
downstream; a client's or KME's requests and their answers are the two streams of one proxy.

Toxiproxy drops no packets: a cut swallows what is sent, and taking it away closes the connections that it was on.
"""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from toxiproxy import Proxy

from qkms_chaos.cluster.layout import Layout
from qkms_chaos.cluster.network import HOST, Loopback
from qkms_chaos.cluster.ports import free_ports
from qkms_chaos.faults.network import CLIENTS, Pair, pairs_of
from qkms_chaos.faults.toxiproxy_server import ToxiproxyServer

UPSTREAM, DOWNSTREAM = "upstream", "downstream"


class ToxiproxyNetwork(Loopback):
    """See FaultyNetwork."""

    kind = "toxiproxy"
    refuses = ()

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout)
        self._layout = layout
        self._pairs = pairs_of(layout)
        self._ports = dict(zip(self._pairs, free_ports(len(self._pairs)), strict=True))
        self._proxies: dict[Pair, Proxy] = {}
        self._toxics: dict[tuple[Pair, str], str] = {}
        self._ending = ExitStack()

    # Where everybody dials.

    def raft(self, caller: str, target: str) -> str:
        """See Network."""
        return self._before(caller, target)

    def rpc(self, target: str) -> str:
        """See Network."""
        return self._before(CLIENTS, target)

    def etsi014(self, caller: str, kme: str) -> str:
        """See Network."""
        return self._before(caller, kme)

    def kme_link(self, caller: str, target: str) -> str:
        """See Network."""
        return self._before(caller, target)

    def _before(self, caller: str, target: str) -> str:
        return f"{HOST}:{self._ports[caller, target]}"

    def __enter__(self) -> "ToxiproxyNetwork":
        server = self._ending.enter_context(ToxiproxyServer(self._layout.log("toxiproxy")))
        direct = Loopback(self._layout)
        for caller, target in self._pairs:
            listener = self._listener(direct, caller, target)
            self._proxies[caller, target] = server.create(
                f"{caller}-to-{target}", self._before(caller, target), listener
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.close()

    @staticmethod
    def _listener(direct: Loopback, caller: str, target: str) -> str:
        if caller == CLIENTS:
            return direct.rpc(target)
        if not target.startswith("kme"):
            return direct.raft(caller, target)
        return direct.kme_link(caller, target) if caller.startswith("kme") else direct.etsi014(caller, target)

    # What is done to them.

    def cut(self, pairs: Iterable[Pair]) -> None:
        """See FaultyNetwork."""
        self._put(pairs, "timeout", {"timeout": 0})

    def slow(self, pairs: Iterable[Pair], delay_ms: int, jitter_ms: int = 0) -> None:
        """See FaultyNetwork."""
        self._put(pairs, "latency", {"latency": delay_ms, "jitter": jitter_ms})

    def limit(self, pairs: Iterable[Pair], kib_per_s: int) -> None:
        """See FaultyNetwork."""
        self._put(pairs, "bandwidth", {"rate": kib_per_s})

    def reset(self, pairs: Iterable[Pair]) -> None:
        """See FaultyNetwork."""

        def reset(proxy: Proxy, stream: str) -> None:
            proxy.add_toxic(name=f"reset-{stream}", type="reset_peer", stream=stream, attributes={"timeout": 0})
            proxy.destroy_toxic(f"reset-{stream}")

        self._each(pairs, lambda _, proxy, stream: reset(proxy, stream))

    def heal(self) -> None:
        """See FaultyNetwork."""
        for (pair, stream), name in list(self._toxics.items()):
            self._proxies[pair].destroy_toxic(name)
            del self._toxics[pair, stream]

    def _put(self, pairs: Iterable[Pair], kind: str, attributes: dict[str, Any]) -> None:
        def put(pair: Pair, proxy: Proxy, stream: str) -> None:
            before = self._toxics.pop((pair, stream), None)
            if before is not None:
                proxy.destroy_toxic(before)
            name = f"{kind}-{stream}"
            proxy.add_toxic(name=name, type=kind, stream=stream, attributes=attributes)
            self._toxics[pair, stream] = name

        self._each(pairs, put)

    def _each(self, pairs: Iterable[Pair], do: Callable[[Pair, Proxy, str], None]) -> None:
        """Does it to every stream that carries what the first of a pair sends to the second."""
        for sender, receiver in pairs:
            for pair, stream in (((sender, receiver), UPSTREAM), ((receiver, sender), DOWNSTREAM)):
                if pair in self._proxies:
                    do(pair, self._proxies[pair], stream)
