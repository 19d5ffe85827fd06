"""This node's QKD links: one per peer, watched so that status and seeding can look.

The monitor asks the KME for the status of every link each `poll_s` and keeps
the last answer or error. Drawing and collecting keys go through the link with
the admission rules applied. Knows nothing of root epochs.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from qkms_node.keys.secret import QkdSecret
from qkms_qkd.admission import AdmissionRules, admit, admit_link
from qkms_qkd.errors import LinkError
from qkms_qkd.link import Link, LinkStatus, QkdKey
from qkms_qkd.tls import TlsFilesError

log = structlog.get_logger(__name__)

KEY_BITS = 256

# A link that is replaced is closed when its last request has surely ended.
RETIRE_S = 10.0


@dataclass(frozen=True)
class Observation:
    """What was last seen of a link: a status or an error, and when (Unix seconds)."""

    status: LinkStatus | None
    error: str
    time_s: float


class Links:
    """The links from this node, by peer node id.

    `make` opens a link, from this node's SAE id and the peer's; without it the links stay as they are.
    `stamp` changes when the certificate that the links were made with has been renewed.
    """

    def __init__(
        self,
        kme_id: str,
        links: Mapping[str, Link],
        rules: AdmissionRules,
        poll_s: float,
        make: Callable[[str, str], Link] | None = None,
        stamp: Callable[[], object] = lambda: None,
    ) -> None:
        self.kme_id = kme_id
        self._links = dict(links)
        self._rules = rules
        self._poll_s = poll_s
        self._make = make
        self._stamp = stamp
        self._made_for: dict[str, tuple[object, ...]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.observations: dict[str, Observation] = {}

    @classmethod
    def none(cls) -> "Links":
        """The links of a node without QKD."""
        return cls("none", {}, AdmissionRules(), poll_s=3600)

    def follow(self, local_sae: str, peer_saes: Mapping[str, str]) -> None:
        """From now on has links to exactly these peers (node id -> SAE id), under the certificate of now."""
        if self._make is None:
            return
        for peer in [p for p in self._links if p not in peer_saes]:
            self._retire(self._links.pop(peer))
            self._made_for.pop(peer, None)
            self.observations.pop(peer, None)
        for peer, sae in peer_saes.items():
            wanted = (local_sae, sae, self._stamp())
            if self._made_for.get(peer) != wanted:
                try:
                    fresh = self._make(local_sae, sae)
                except TlsFilesError as error:
                    log.warning("link.certificate_unusable", peer=peer, error=str(error))
                    continue
                if peer in self._links:
                    self._retire(self._links[peer])
                self._links[peer] = fresh
                self._made_for[peer] = wanted
                self._meanwhile(self._observe(peer, fresh))

    def _retire(self, link: Link) -> None:
        """Closes a link after the requests that it may still be carrying."""

        async def close() -> None:
            await asyncio.sleep(RETIRE_S)
            await link.close()

        self._meanwhile(close())

    def _meanwhile(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @property
    def peers(self) -> frozenset[str]:
        """Node ids to which there is a link."""
        return frozenset(self._links)

    def usable(self, peer: str) -> bool:
        """Whether the last look found keys that would be admitted."""
        seen = self.observations.get(peer)
        if seen is None or seen.status is None or _is_empty(seen.status):
            return False
        try:
            admit_link(self._rules, seen.status)
        except LinkError:
            return False
        return True

    def problem(self, peer: str) -> str:
        """Why a link is not usable, in words; empty when it is."""
        if peer not in self._links:
            return f"there is no QKD link to {peer}"
        seen = self.observations.get(peer)
        if seen is None:
            return f"the link to {peer} has not been looked at yet"
        if seen.status is None:
            return seen.error
        try:
            admit_link(self._rules, seen.status)
        except LinkError as error:
            return str(error)
        if _is_empty(seen.status):
            return f"KME {seen.status.source_kme} has no key for {peer} in store"
        return ""

    def ends(self, peer: str) -> str:
        """The KMEs at both ends of a link, as last seen, for messages that must not blame one of them."""
        seen = self.observations.get(peer)
        status = seen.status if seen is not None else None
        return f"KMEs {status.source_kme} and {status.target_kme}" if status is not None else f"KME {self.kme_id}"

    async def draw(self, peer: str, used: Callable[[str], bool]) -> tuple[str, QkdSecret]:
        """A fresh key shared with `peer`, as master: its key_ID and the key. Raises LinkError."""
        link = self._link(peer)
        admit_link(self._rules, await self._look(peer, link))
        [key] = await link.draw(1, KEY_BITS)
        return self._admitted(key, link, used)

    async def collect(self, peer: str, key_id: str) -> QkdSecret:
        """The key that `peer` drew as master, by its key_ID. Raises LinkError."""
        link = self._link(peer)
        [key] = await link.collect([key_id], KEY_BITS)
        return self._admitted(key, link, lambda _: False)[1]

    async def look(self) -> None:
        """Asks for the status of every link once, and keeps what is seen."""
        await asyncio.gather(*(self._observe(peer, link) for peer, link in list(self._links.items())))

    async def watch(self) -> None:
        """Looks at every link each `poll_s`, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(self._poll_s)

    async def close(self) -> None:
        """Closes every link."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(link.close() for link in self._links.values()))

    def _link(self, peer: str) -> Link:
        link = self._links.get(peer)
        if link is None:
            raise LinkError("-", "LINK_DOWN", f"this node has no QKD link to {peer}")
        return link

    def _admitted(self, key: QkdKey, link: Link, used: Callable[[str], bool]) -> tuple[str, QkdSecret]:
        seen = {key.key_id} if used(key.key_id) else set()
        admit(self._rules, key, seen=seen, kme=self.kme_id)
        return key.key_id, QkdSecret(key.key)

    async def _observe(self, peer: str, link: Link) -> None:
        try:
            await self._look(peer, link)
        except LinkError as error:
            known = self.observations.get(peer)
            if known is None or known.error != str(error):
                log.warning("link.failed", peer=peer, code=error.code, error=str(error))
            self.observations[peer] = Observation(None, str(error), time.time())

    async def _look(self, peer: str, link: Link) -> LinkStatus:
        status = await link.status()
        known = self.observations.get(peer)
        if known is not None and known.status is None:
            log.info("link.recovered", peer=peer)
        self.observations[peer] = Observation(status, "", time.time())
        return status


def _is_empty(status: LinkStatus) -> bool:
    """Whether the KME says that it has no key; one that does not tell may have some."""
    return status.stored_key_count is not None and status.stored_key_count < 1
