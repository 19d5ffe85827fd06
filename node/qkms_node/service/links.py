"""This node's QKD links: one per peer, watched so that status and seeding can look.

Asks the KME for the status of every link each `poll_s`, keeps the last answer
or error, and lets the monitor make of it what it does (`monitoring`). Drawing
and collecting keys go through the link with the admission rules applied, and
not at all while an alarm of its QBER forbids it. A link may have several KMEs,
each watched by itself, and may have keys that were drawn ahead. Knows nothing
of root epochs.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from qkms_node.service.admitted_key import AdmittedKey
from qkms_node.service.monitoring.link_view import LinkView
from qkms_node.service.monitoring.monitor import LinkMonitor
from qkms_node.service.overseeing import Overseer
from qkms_qkd.admission import AdmissionRules
from qkms_qkd.errors import LinkError
from qkms_qkd.failover import FailoverLink
from qkms_qkd.link import Link, LinkStatus
from qkms_qkd.oversight import Oversight
from qkms_qkd.prefetch.store import PrefetchError, PrefetchStore
from qkms_qkd.tls import TlsFilesError

log = structlog.get_logger(__name__)

KEY_BITS = 256

# Of the keys that were drawn here, the last so many are known when they come again.
REMEMBERED = 4_096

# Keys that the next one in store may be better than are thrown away in rounds: the first of one key, the others
# of up to so many.
DISCARD_ROUNDS = 16
DISCARD_BATCH = 32
DISCARDED = {
    "KEY_SUSPECT": "were distilled while the QBER was not in order",
    "KEY_STALE": "have grown too old",
}

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
    `stamp` changes when the certificate that the links were made with has been renewed. `prefetched`: where the
    links keep keys that were drawn ahead; it is closed with them. `kme_id`: the preferred KME, or the only one.
    """

    def __init__(
        self,
        kme_id: str,
        links: Mapping[str, Link],
        rules: AdmissionRules,
        poll_s: float,
        make: Callable[[str, str, Oversight], Link] | None = None,
        stamp: Callable[[], object] = lambda: None,
        monitor: LinkMonitor | None = None,
        prefetched: PrefetchStore | None = None,
    ) -> None:
        self.kme_id = kme_id
        self.prefetched = prefetched
        self._links = dict(links)
        self._rules = rules
        self._poll_s = poll_s
        self._make = make
        self._stamp = stamp
        self._made_for: dict[str, tuple[object, ...]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._given: deque[str] = deque(maxlen=REMEMBERED)
        self.monitor = monitor if monitor is not None else LinkMonitor.plain(rules.max_qber)
        self._overseers = {peer: Overseer(peer, rules, self.monitor, kme_id) for peer in links}
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
            self._retire(peer, self._links.pop(peer))
            self._made_for.pop(peer, None)
            self.observations.pop(peer, None)
            self.monitor.forget(peer, time.time())
        for peer, sae in peer_saes.items():
            wanted = (local_sae, sae, self._stamp())
            if self._made_for.get(peer) != wanted:
                overseer = Overseer(peer, self._rules, self.monitor, self.kme_id)
                try:
                    fresh = self._make(local_sae, sae, overseer)
                except TlsFilesError as error:
                    log.warning("link.certificate_unusable", peer=peer, error=str(error))
                    continue
                if peer in self._links:
                    self._retire(peer, self._links[peer])
                self._links[peer] = fresh
                self._overseers[peer] = overseer
                self._made_for[peer] = wanted
                self._meanwhile(self._observe(peer, fresh))

    def _retire(self, peer: str, link: Link) -> None:
        """Closes a link after the requests that it may still be carrying."""
        self._overseers.pop(peer).retire()

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
        return seen is not None and seen.status is not None and self._refusal(peer, seen.status) is None

    def is_exhausted(self, peer: str) -> bool:
        """Whether the last look found nothing wrong but too few keys in store."""
        seen = self.observations.get(peer)
        why = self._refusal(peer, seen.status) if seen is not None and seen.status is not None else None
        return why is not None and why.code == "STORE_EXHAUSTED"

    def problem(self, peer: str) -> str:
        """Why a link is not usable, in words; empty when it is."""
        if peer not in self._links:
            return f"there is no QKD link to {peer}"
        seen = self.observations.get(peer)
        if seen is None:
            return f"the link to {peer} has not been looked at yet"
        if seen.status is None:
            return seen.error
        why = self._refusal(peer, seen.status)
        return str(why) if why is not None else ""

    def view(self, peer: str) -> LinkView:
        """What the monitor knows of the link to `peer`, by the KME that serves if there are several."""
        seen = self.observations.get(peer)
        return self.monitor.view(peer, seen.status.kme if seen is not None and seen.status is not None else "")

    def _refusal(self, peer: str, status: LinkStatus) -> LinkError | None:
        """Why no key is drawn: of the KME that serves, or of each when none does."""
        overseer = self._overseers.get(peer)
        if overseer is None:
            return LinkError("-", "LINK_DOWN", f"this node has no QKD link to {peer}")
        why = overseer.refusal(status.kme, status)
        others = [kme.problem for kme in status.kmes if kme.kme_id != status.kme]
        return why and LinkError(why.kme, why.code, "; and ".join((why.message, *filter(None, others))))

    def ends(self, peer: str) -> str:
        """The KMEs at both ends of a link, as last seen, for messages that must not blame one of them."""
        seen = self.observations.get(peer)
        status = seen.status if seen is not None else None
        return f"KMEs {status.source_kme} and {status.target_kme}" if status is not None else f"KME {self.kme_id}"

    async def draw(self, peer: str, used: Callable[[str], bool] = lambda _: False) -> AdmittedKey:
        """A fresh key shared with `peer`, as master. Raises LinkError.

        One that was drawn here lately is refused, whatever for: a KME that delivers a key again would have the
        traffic of a link and a root epoch under the same. `used`: what the caller knows beyond that.
        Keys that are too old, or in doubt by the time they were distilled at, are thrown away, with those drawn
        beside them.
        """
        link, overseer = self._link(peer)
        status = self._at_hand(peer) or await self._look(peer, link)
        why = self._refusal(peer, status)
        if why is not None:
            raise why
        number = 1
        discarded = 0
        for _ in range(DISCARD_ROUNDS):
            asked_s = time.time()
            drawn = await link.draw(number, KEY_BITS)
            for key in drawn:
                if not key.prefetched:
                    overseer.took(key, drawn=True)
                try:
                    admitted = overseer.admitted(key, asked_s, lambda k: k in self._given or used(k))
                except LinkError as error:
                    if error.code not in DISCARDED:
                        raise
                    unfit = error
                    discarded += 1
                else:
                    self._given.append(key.key_id)
                    return admitted
            # Those drawn ahead are gone through one by one: there are few.
            batch = 1 if drawn[-1].prefetched else min(status.max_key_per_request, DISCARD_BATCH)
            number = max(1, batch)
        raise LinkError(
            unfit.kme,
            unfit.code,
            f"{discarded} keys for {peer} that {DISCARDED[unfit.code]} have been thrown away, and there are more; "
            "the next attempt goes on",
        )

    def _at_hand(self, peer: str) -> LinkStatus | None:
        """The last status, if it is recent and keys that were drawn ahead wait: they need no KME."""
        seen = self.observations.get(peer)
        if seen is None or seen.status is None or not seen.status.prefetched:
            return None
        return seen.status if 0 <= time.time() - seen.time_s <= 2 * self._poll_s else None

    async def collect(self, peer: str, key_id: str) -> AdmittedKey:
        """The key that `peer` drew as master, by its key_ID. Raises LinkError."""
        link, overseer = self._link(peer)
        asked_s = time.time()
        [key] = await link.collect([key_id], KEY_BITS)
        overseer.took(key, drawn=False)
        return overseer.admitted(key, asked_s, lambda _: False)

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
        if self.prefetched is not None:
            try:
                await self.prefetched.close()
            except PrefetchError as error:
                log.warning("prefetch.not_closed", error=str(error))
        self.monitor.keep(time.time())

    def _link(self, peer: str) -> tuple[Link, Overseer]:
        link = self._links.get(peer)
        if link is None:
            raise LinkError("-", "LINK_DOWN", f"this node has no QKD link to {peer}")
        return link, self._overseers[peer]

    async def _observe(self, peer: str, link: Link) -> None:
        try:
            await self._look(peer, link)
        except LinkError as error:
            known = self.observations.get(peer)
            if known is None or known.error != str(error):
                log.warning("link.failed", peer=peer, code=error.code, error=str(error))
            self.observations[peer] = Observation(None, str(error), time.time())
            self._note(peer, link, error)

    async def _look(self, peer: str, link: Link) -> LinkStatus:
        status = await link.status()
        known = self.observations.get(peer)
        if known is not None and known.status is None:
            log.info("link.recovered", peer=peer)
        self.observations[peer] = Observation(status, "", time.time())
        self._note(peer, link, status)
        return status

    def _note(self, peer: str, link: Link, seen: LinkStatus | LinkError) -> None:
        """Hands a look on to the monitor; a link of several KMEs has handed on those of each itself."""
        if self._links.get(peer) is not link:
            return
        if not isinstance(link, FailoverLink):
            self._overseers[peer].look("", seen)
            return
        kmes = () if isinstance(seen, LinkError) else seen.kmes
        self.monitor.serve(peer, next((kme.kme_id for kme in kmes if kme.serves), ""))
